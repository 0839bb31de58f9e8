"""The mask classification loss against transformers' Mask2FormerLoss and EomtLoss, forward and backward.

Run: python benchmarks/mask_loss.py [--repeats 7] [--threads 2] [--out FILE.json]
Five layers, batch 4, 200 queries, 160 x 160 mask logits, 14 to 18 segments of a 640 x 640 image each. Sides
take turns in one process; printed are medians, their 10th and 90th percentiles and ratios. Before timing, the
losses must agree within 2 %: the points are random, and each side draws its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch
import transformers
from torch import Tensor
from transformers.models.eomt.configuration_eomt import EomtConfig
from transformers.models.eomt.modeling_eomt import EomtLoss
from transformers.models.mask2former.configuration_mask2former import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from vfmseg.losses.criterion import MaskCriterion
from vfmseg.types import MaskLogits, Targets

LAYERS, BATCH, QUERIES, CLASSES, GRID, IMAGE, SEGMENTS = 5, 4, 200, 133, 160, 640, (14, 15, 16, 18)
WEIGHTS = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    id_maps = [voronoi(segments) for segments in SEGMENTS]
    labels = [torch.randint(0, CLASSES, (segments,)) for segments in SEGMENTS]
    masks = [
        (ids == torch.arange(n)[:, None, None]).float() for ids, n in zip(id_maps, SEGMENTS, strict=True)
    ]
    mask_logits = [torch.randn(BATCH, QUERIES, GRID, GRID, requires_grad=True) for _ in range(LAYERS)]
    class_logits = [torch.randn(BATCH, QUERIES, CLASSES + 1, requires_grad=True) for _ in range(LAYERS)]
    leaves = mask_logits + class_logits

    criterion = MaskCriterion(num_classes=CLASSES, average="batch")
    targets = tuple(
        Targets(ids.to(torch.uint8), classes) for ids, classes in zip(id_maps, labels, strict=True)
    )
    output = tuple(MaskLogits(m, c) for m, c in zip(mask_logits, class_logits, strict=True))

    def peer(loss: torch.nn.Module) -> Callable[[], Tensor]:
        earlier = [
            {"masks_queries_logits": m, "class_queries_logits": c}
            for m, c in zip(mask_logits[:-1], class_logits[:-1], strict=True)
        ]

        def run() -> Tensor:
            parts = loss(mask_logits[-1], class_logits[-1], masks, labels, earlier)
            return sum(
                (WEIGHTS[next(w for w in WEIGHTS if w in name)] * value for name, value in parts.items()),
                torch.zeros(()),
            )

        return run

    sides: dict[str, Callable[[], Tensor]] = {
        "vfmseg": lambda: criterion(output, targets)[0],
        "transformers Mask2FormerLoss": peer(Mask2FormerLoss(Mask2FormerConfig(num_labels=CLASSES), WEIGHTS)),
        "transformers EomtLoss": peer(EomtLoss(EomtConfig(num_labels=CLASSES), WEIGHTS)),
    }
    ours = sides["vfmseg"]().item()
    for name, side in sides.items():
        if abs(side().item() / ours - 1) > 0.02:
            raise SystemExit(f"{name} gives {side().item()}, vfmseg {ours}")

    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(options.repeats + 1):
        for name, side in sides.items():
            for leaf in leaves:
                leaf.grad = None
            start = time.perf_counter()
            side().backward()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    result = {
        "benchmark": "mask_loss",
        "settings": vars(options),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "seconds": {
            name: {
                "median": round(median[name], 4),
                "p10": round(sorted(times)[len(times) // 10], 4),
                "p90": round(sorted(times)[-1 - len(times) // 10], 4),
                "ratio_to_vfmseg": round(median[name] / median["vfmseg"], 2),
            }
            for name, times in seconds.items()
        },
    }
    print(json.dumps(result, indent=2))
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


def voronoi(segments: int) -> Tensor:
    """Return an (IMAGE, IMAGE) map of the nearest of ``segments`` random centres."""
    centres = torch.rand(segments, 2) * IMAGE
    axis = torch.arange(IMAGE) + 0.5
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(-1, 2)
    return torch.cdist(pixels, centres).argmin(1).view(IMAGE, IMAGE)


if __name__ == "__main__":
    main()
