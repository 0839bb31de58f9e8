"""One mIoU update from class maps: vfmseg against byte pairs with NumPy, torch.bincount, torchmetrics.

Run: python benchmarks/miou_update.py [--repeats 25] [--out FILE.json]
The maps are generated: regions of some tens of pixels, predictions that follow them with shifted borders and 10 % wrong
regions. All counters must agree before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import cv2
import numpy as np
import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from vfmseg.metrics.mean_iou import confusion_of

BASE = "torchmetrics"
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


COUNTERS: dict[str, Counter] = {
    BASE: torchmetrics_update,
    "torch.bincount": torch_bincount,
    "numpy byte pairs": numpy_pairs,
    "vfmseg": confusion_of,
}


def main() -> None:
    options = measuring.parse(measuring.parser(__doc__, repeats=25, threads=1, cases=list(CASES)))
    found = {}
    for case in options.cases:
        height, width, num_classes = CASES[case]
        maps = class_maps(height, width, num_classes)
        sides = {name: partial(count, *maps, num_classes) for name, count in COUNTERS.items()}
        expected = sides["vfmseg"]()
        for name, side in sides.items():
            if not torch.equal(side(), expected):
                raise SystemExit(f"{name} counts differently on {case}")
        found[case] = measuring.compare(sides, BASE, repeats=options.repeats)
    measuring.report("miou_update", options, f"{BASE} in the same round", found)


if __name__ == "__main__":
    main()
