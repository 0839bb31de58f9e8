"""Times one mIoU update from class maps: vfmseg against byte pairs with NumPy, torch.bincount, torchmetrics.

Usage: ``python benchmarks/miou_update.py [--repeats 25]``. The maps are generated: regions of some tens of
pixels, predictions that follow them with shifted borders and 10 % wrong regions. All counters must agree
before anything is timed. Peers alternate; printed are medians with the spread (10th and 90th percentile).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torchmetrics
from torchmetrics.classification import MulticlassConfusionMatrix

from vfmseg.metrics.mean_iou import confusion_of

CASES = {"683x512, 150 classes": (512, 683, 150), "2048x1024, 19 classes": (1024, 2048, 19)}
Counter = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def class_maps(height: int, width: int, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    regions = rng.integers(0, num_classes, (height // 32, width // 32), np.uint8)
    truth = cv2.resize(regions, (width, height), interpolation=cv2.INTER_NEAREST)
    wrong = np.where(rng.random(regions.shape) < 0.1, rng.integers(0, num_classes, regions.shape), regions)
    predicted = cv2.resize(wrong.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    truth[: height // 20] = 255
    return torch.from_numpy(np.roll(predicted, (2, 3), (0, 1))), torch.from_numpy(truth)


def numpy_pairs(classes: torch.Tensor, id_map: torch.Tensor, num_classes: int) -> torch.Tensor:
    pairs = np.stack([classes.numpy().ravel(), id_map.numpy().ravel()], axis=1).view(np.uint16).ravel()
    table = np.bincount(pairs, minlength=65536).reshape(256, 256)
    return torch.from_numpy(table[:num_classes, :num_classes])


def torch_bincount(classes: torch.Tensor, id_map: torch.Tensor, num_classes: int) -> torch.Tensor:
    counted = id_map != 255
    index = id_map[counted].long() * num_classes + classes[counted]
    return torch.bincount(index, minlength=num_classes**2).view(num_classes, num_classes)


def torchmetrics_update(classes: torch.Tensor, id_map: torch.Tensor, num_classes: int) -> torch.Tensor:
    metric = MulticlassConfusionMatrix(num_classes, ignore_index=255, validate_args=False)
    metric.update(classes[None].long(), id_map[None].long())
    return metric.confmat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=25)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    peers: dict[str, Counter] = {
        "vfmseg": confusion_of,
        "numpy byte pairs": numpy_pairs,
        "torch.bincount": torch_bincount,
        "torchmetrics": torchmetrics_update,
    }
    results: dict[str, dict[str, dict[str, float]]] = {}
    for case, (height, width, num_classes) in CASES.items():
        classes, id_map = class_maps(height, width, num_classes)
        expected = confusion_of(classes, id_map, num_classes)
        for name, count in peers.items():
            if not torch.equal(count(classes, id_map, num_classes), expected):
                raise SystemExit(f"{name} counts differently on {case}")
        seconds: dict[str, list[float]] = {name: [] for name in peers}
        for _ in range(repeats):
            for name, count in peers.items():
                start = time.perf_counter()
                count(classes, id_map, num_classes)
                seconds[name].append(time.perf_counter() - start)
        ours = float(np.median(seconds["vfmseg"]))
        results[case] = {
            name: {
                "median_ms": round(float(np.median(times)) * 1e3, 3),
                "p10_ms": round(float(np.quantile(times, 0.1)) * 1e3, 3),
                "p90_ms": round(float(np.quantile(times, 0.9)) * 1e3, 3),
                "ratio_to_vfmseg": round(float(np.median(times)) / ours, 2),
            }
            for name, times in seconds.items()
        }
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "torchmetrics": torchmetrics.__version__,
    }
    print(json.dumps({"threads": 1, "repeats": repeats, "versions": versions, "results": results}, indent=2))


if __name__ == "__main__":
    main()
