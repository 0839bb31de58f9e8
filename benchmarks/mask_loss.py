"""The mask classification loss against transformers' Mask2FormerLoss and EomtLoss, forward and backward.

Run: python benchmarks/mask_loss.py [--repeats 7] [--threads 2] [--out FILE.json]
Five layers, batch 4, 200 queries, 160 x 160 mask logits, 14 to 18 segments of a 640 x 640 image each. Before timing, the
losses must agree within 2 %: the points are random, and each side draws its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import torch
from torch import Tensor
from transformers.models.eomt.configuration_eomt import EomtConfig
from transformers.models.eomt.modeling_eomt import EomtLoss
from transformers.models.mask2former.configuration_mask2former import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from vfmseg.losses.criterion import MaskCriterion
from vfmseg.types import MaskLogits, Targets

BASE = "transformers Mask2FormerLoss"
LAYERS, BATCH, QUERIES, CLASSES, GRID, IMAGE, SEGMENTS = 5, 4, 200, 133, 160, 640, (14, 15, 16, 18)
WEIGHTS = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}


def main() -> None:
    options = measuring.parse(measuring.parser(__doc__, repeats=7))
    torch.manual_seed(0)

    id_maps = [voronoi(segments) for segments in SEGMENTS]
    labels = [torch.randint(0, CLASSES, (segments,)) for segments in SEGMENTS]
    masks = [
        (ids == torch.arange(n)[:, None, None]).float() for ids, n in zip(id_maps, SEGMENTS, strict=True)
    ]
    mask_logits = [torch.randn(BATCH, QUERIES, GRID, GRID, requires_grad=True) for _ in range(LAYERS)]
    class_logits = [torch.randn(BATCH, QUERIES, CLASSES + 1, requires_grad=True) for _ in range(LAYERS)]

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

    losses: dict[str, Callable[[], Tensor]] = {
        BASE: peer(Mask2FormerLoss(Mask2FormerConfig(num_labels=CLASSES), WEIGHTS)),
        "transformers EomtLoss": peer(EomtLoss(EomtConfig(num_labels=CLASSES), WEIGHTS)),
        "vfmseg": lambda: criterion(output, targets)[0],
    }
    ours = losses["vfmseg"]().item()
    for name, loss in losses.items():
        if abs(loss().item() / ours - 1) > 0.02:
            raise SystemExit(f"{name} gives {loss().item()}, vfmseg {ours}")

    sides = {name: partial(gradients, loss, mask_logits + class_logits) for name, loss in losses.items()}
    found = {"5 layers": measuring.compare(sides, BASE, repeats=options.repeats)}
    measuring.report("mask_loss", options, f"{BASE} in the same round", found)


def gradients(loss: Callable[[], Tensor], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(), leaves)


def voronoi(segments: int) -> Tensor:
    """Return an (IMAGE, IMAGE) map of the nearest of ``segments`` random centres."""
    centres = torch.rand(segments, 2) * IMAGE
    axis = torch.arange(IMAGE) + 0.5
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(-1, 2)
    return torch.cdist(pixels, centres).argmin(1).view(IMAGE, IMAGE)


if __name__ == "__main__":
    main()
