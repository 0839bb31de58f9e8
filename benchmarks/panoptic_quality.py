"""One update of panoptic quality against torchmetrics, and against counting the colours of written PNGs.

Run: python benchmarks/panoptic_quality.py [--repeats 7] [--out FILE.json]
Generated maps of 15 segments at 640 x 480 and 30 at 2048 x 1024, predictions with shifted borders and some wrong
classes, without crowds and unlabelled pixels, so that all peers count the same; they must, before anything is
timed. "ids from RGB PNGs" is what an evaluation of written files does before it can match: decode two colour PNGs,
make ids of the colours, count the distinct pairs of ids. It stands for panopticapi, which is not installed.
"""

from __future__ import annotations

from collections.abc import Callable

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.detection import PanopticQuality as TorchmetricsPanopticQuality

from vfmseg.metrics.panoptic_quality import PanopticQuality
from vfmseg.types import PanopticMap, Targets

BASE = "torchmetrics PanopticQuality"
CASES = {"640x480, 15 segments": (480, 640, 15), "2048x1024, 30 segments": (1024, 2048, 30)}
NUM_CLASSES, NUM_THINGS = 133, 80
IS_THING = [label < NUM_THINGS for label in range(NUM_CLASSES)]


def main() -> None:
    options = measuring.parse(measuring.parser(__doc__, repeats=7, threads=1, cases=list(CASES)))
    found = {
        case: measuring.compare(sides_of(*CASES[case]), BASE, repeats=options.repeats)
        for case in options.cases
    }
    measuring.report("panoptic_quality", options, f"{BASE} in the same round", found)


def sides_of(height: int, width: int, segments: int) -> dict[str, Callable[[], object]]:
    """Return the peers on one image, after making sure that they count the same."""
    rng = np.random.default_rng(0)
    true = voronoi(rng, height, width, segments)
    predicted = np.roll(true, (3, 5), (0, 1))
    classes = rng.permutation(NUM_CLASSES)[:segments]  # all different, so that stuff has one segment a class
    found = np.where(rng.random(segments) < 0.2, rng.permutation(NUM_CLASSES)[:segments], classes)
    found = np.where(np.bincount(found, minlength=NUM_CLASSES)[found] > 1, classes, found)
    targets = Targets(torch.from_numpy(true.astype(np.uint8)), torch.from_numpy(classes))
    prediction = PanopticMap(torch.from_numpy(predicted), torch.from_numpy(found), torch.ones(segments))
    maps = [
        torch.from_numpy(np.stack([table[ids], ids], axis=-1)[None].astype(np.int64))
        for table, ids in ((found, predicted), (classes, true))
    ]
    pngs = [png(predicted), png(true)]

    def ours() -> torch.Tensor:
        return PanopticQuality(IS_THING).update(prediction, targets)

    def theirs() -> TorchmetricsPanopticQuality:
        metric = TorchmetricsPanopticQuality(range(NUM_THINGS), range(NUM_THINGS, NUM_CLASSES))
        metric.update(*maps)
        return metric

    def from_files() -> object:
        ids = [ids_of(written) for written in pngs]
        return np.unique(ids[0].astype(np.uint64) * 256**3 + ids[1], return_counts=True)

    counts, metric = ours().numpy(), theirs()
    names = ("iou_sum", "true_positives", "false_positives", "false_negatives")
    for row, name in zip(counts, names, strict=True):
        if not np.allclose(row, getattr(metric, name).numpy(), rtol=0, atol=1e-6):
            raise SystemExit(f"torchmetrics counts other {name}")
    return {BASE: theirs, "ids from RGB PNGs": from_files, "vfmseg": ours}


def voronoi(rng: np.random.Generator, height: int, width: int, segments: int) -> NDArray[np.int32]:
    """Return an (H, W) map of the nearest of random centres."""
    centres = rng.random((segments, 2)) * (height, width)
    y, x = np.mgrid[:height, :width]
    distances = [(y - top) ** 2 + (x - left) ** 2 for top, left in centres]
    return np.argmin(distances, axis=0).astype(np.int32)


def png(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the bytes of a PNG with ids spread over the three colours, as COCO panoptic writes them."""
    spread = (ids + 1) * 65793 % 256**3
    colours = np.stack([spread // 256**2, spread // 256 % 256, spread % 256], axis=-1).astype(np.uint8)
    return cv2.imencode(".png", colours)[1]


def ids_of(written: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the (H, W) ids of a colour PNG."""
    colours = cv2.imdecode(written, cv2.IMREAD_COLOR).astype(np.uint32)
    return colours[..., 0] * 256**2 + colours[..., 1] * 256 + colours[..., 2]


if __name__ == "__main__":
    main()
