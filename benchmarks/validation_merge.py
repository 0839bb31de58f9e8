"""Times the way from window logits to classes: the published steps against ``merge_to_classes``.

Usage: ``python benchmarks/validation_merge.py [--threads 1] [--repeats 7] [--json FILE]``. The published way
upsamples every window, adds up, divides, resizes and takes the argmax, on whole arrays. Logits at the patch
grid are random (an untrained model, the worst case: every class may win anywhere) or generated as a trained
model's (regions that stand out, noise between the other classes). Peers alternate. Times are CPU seconds over
all threads, so that other programs matter little; wall-clock medians stand beside them.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfmseg.transforms.sliding_window import WindowPlan, plan_windows
from vfmseg.transforms.window_merge import merge, merge_to_classes

CASES = {  # image size, crop, classes
    "683x512, 150 classes": ((512, 683), 512, 150),
    "512x683 portrait, 150 classes": ((683, 512), 512, 150),
    "640x480, 150 classes": ((480, 640), 512, 150),
    "2048x1024, 19 classes": ((1024, 2048), 1024, 19),
}
PATCH = 16


def published(logits: Tensor, plan: WindowPlan) -> Tensor:
    """Merge step by step on whole arrays: (n, K, h, w) -> (K, H, W)."""
    crops = F.interpolate(logits, plan.crop_size, mode="bilinear")
    summed = torch.zeros(logits.shape[1], *plan.resized_size)
    counts = torch.zeros(1, *plan.resized_size)
    places = [(top, left) for top in plan.rows.starts for left in plan.columns.starts]
    for crop, (top, left) in zip(crops, places, strict=True):
        place = np.s_[:, top : top + plan.crop_size[0], left : left + plan.crop_size[1]]
        summed[place] += crop
        counts[place] += 1
    return F.interpolate((summed / counts)[None], plan.image_size, mode="bilinear")[0]


def random_logits(plan: WindowPlan, num_classes: int) -> Tensor:
    grid = [crop // PATCH for crop in plan.crop_size]
    return torch.randn(plan.num_windows, num_classes, *grid)


def trained_logits(plan: WindowPlan, num_classes: int) -> Tensor:
    """Give ten a patch's class (its share of the patch, where regions meet), and noise to every class."""
    logits = 1.5 * random_logits(plan, num_classes)
    few = torch.randint(num_classes, (1, 1, 5, 7)).float()
    regions = F.interpolate(few, plan.resized_size, mode="nearest")[0, 0].long()
    places = [(top, left) for top in plan.rows.starts for left in plan.columns.starts]
    for window, (top, left) in zip(logits, places, strict=True):
        seen = regions[top : top + plan.crop_size[0], left : left + plan.crop_size[1]]
        shares = F.one_hot(seen, num_classes).permute(2, 0, 1).float()
        window += 10 * F.avg_pool2d(shares, PATCH)
    return logits


def times(peers: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    for repeat in range(repeats + 1):
        for name, work in peers.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if repeat:  # the first one warms up
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    reference = np.array(seconds["published"])
    return {
        name: {
            "cpu_ms": round(float(np.median(np.array(taken)[:, 1])) * 1e3, 1),
            "wall_ms": round(float(np.median(np.array(taken)[:, 0])) * 1e3, 1),
            "published_cpu_ratio": round(float(np.median(reference[:, 1] / np.array(taken)[:, 1])), 1),
        }
        for name, taken in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    results: dict[str, object] = {}
    for case, (size, crop, num_classes) in CASES.items():
        plan = plan_windows(size, (crop, crop))
        for kind, make in (("untrained", random_logits), ("trained", trained_logits)):
            logits = make(plan, num_classes)
            expected = published(logits, plan)
            found = merge_to_classes(logits, plan).classes
            agreement = (found == expected.argmax(0)).float().mean().item()
            off = (merge(logits, plan) - expected).abs().max().item()
            if agreement < 0.9999 or off > 1e-5:
                raise SystemExit(f"{case}: {agreement:.4%} of the classes agree, logits differ by {off:.1e}")
            peers: dict[str, Callable[[], object]] = {
                "published": lambda: published(logits, plan).argmax(0),  # noqa: B023 (used at once)
                "merge_to_classes": lambda: merge_to_classes(logits, plan),  # noqa: B023
                "with softmax confidence": lambda: merge_to_classes(logits, plan, confidence="softmax"),  # noqa: B023
                "merge (logits only)": lambda: merge(logits, plan),  # noqa: B023
            }
            results[f"{case}, {kind}"] = {
                "agreement": agreement,
                "largest_difference": off,
                **times(peers, options.repeats),
            }
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }
    summary = {
        "threads": options.threads,
        "repeats": options.repeats,
        "versions": versions,
        "results": results,
    }
    report = json.dumps(summary, indent=2)
    print(report)
    if options.json:
        options.json.write_text(report + "\n")


if __name__ == "__main__":
    main()
