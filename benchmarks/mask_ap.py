"""Mask AP of images with 100 predictions at 640 x 480: vfmseg, packing included, pycocotools, encoding included.

Run: python benchmarks/mask_ap.py [--images 5] [--repeats 7] [--out FILE.json]
From boolean masks to the twelve numbers, per image. Each image has 15 objects of 80 classes (with a few crowds);
half of the predictions follow an object, the rest are other ellipses. Both sides get the ground truth ready in their own
form (packed masks; run lengths in an indexed COCO), as a data set holds it. All numbers must agree before
anything is timed. A second case has objects of one class only, so that every mask is compared with every object.
The times are of all images.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import NamedTuple

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vfmseg.metrics.average_precision import AveragePrecision, truth_of_masks
from vfmseg.types import Instances

BASE = "pycocotools"
CASES = {"80 classes": 80, "1 class": 1}
HEIGHT, WIDTH, NUM_FOUND, NUM_TRUE = 480, 640, 100, 15


class Scene(NamedTuple):
    """One image: scored and true masks."""

    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    true_masks: NDArray[np.bool_]
    true_labels: NDArray[np.int64]
    is_crowd: NDArray[np.bool_]


def main() -> None:
    parser = measuring.parser(__doc__, repeats=7, threads=1, cases=list(CASES))
    parser.add_argument("--images", type=int, default=5)
    options = measuring.parse(parser)
    found = {}
    for case in options.cases:
        rng = np.random.default_rng(0)
        scenes = [scene(rng, CASES[case]) for _ in range(options.images)]
        found[case] = measuring.compare(sides_of(scenes, CASES[case]), BASE, repeats=options.repeats)
    measuring.report("mask_ap", options, f"{BASE} in the same round", found)


def scene(rng: np.random.Generator, num_classes: int) -> Scene:
    """Generate one image."""
    shapes = [ellipse(rng) for _ in range(NUM_TRUE)]
    true_labels = rng.integers(0, num_classes, NUM_TRUE)
    chosen = rng.integers(0, NUM_TRUE, NUM_FOUND)
    follows = rng.random(NUM_FOUND) < 0.5
    found = [moved(rng, shapes[i]) if f else ellipse(rng) for i, f in zip(chosen, follows, strict=True)]
    labels = np.where(follows, true_labels[chosen], rng.integers(0, num_classes, NUM_FOUND))
    scores = np.sort(rng.random(NUM_FOUND, np.float32))[::-1].copy()
    return Scene(drawn(found), labels, scores, drawn(shapes), true_labels, rng.random(NUM_TRUE) < 0.05)


def ellipse(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return centre x, y and half axes x, y in pixels, sizes spread as COCO's are."""
    axes = np.exp(rng.normal(3.5, 0.9, 2)).clip(3, 200)
    return np.concatenate([rng.random(2) * (WIDTH, HEIGHT), axes])


def moved(rng: np.random.Generator, shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an ellipse that differs by a few per cent of its size."""
    return shape + rng.normal(0, 0.1, 4) * np.tile(shape[2:], 2)


def drawn(shapes: list[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Return the (S, H, W) masks of ellipses."""
    masks = np.zeros((len(shapes), HEIGHT, WIDTH), np.uint8)
    for mask, (x, y, half_x, half_y) in zip(masks, shapes, strict=True):
        centre, axes = (round(x), round(y)), (max(round(half_x), 1), max(round(half_y), 1))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    return masks.astype(bool)


def sides_of(scenes: list[Scene], num_classes: int) -> dict[str, Callable[[], list[float]]]:
    """Return the peers, after making sure that they give the same numbers."""
    names = [str(label) for label in range(num_classes)]
    truths = [truth_of_masks(*(torch.from_numpy(part) for part in one[3:])) for one in scenes]
    coco = indexed(scenes, num_classes)

    def ours() -> list[float]:
        metric = AveragePrecision(num_classes)
        for one, truth in zip(scenes, truths, strict=True):
            packed = torch.from_numpy(np.packbits(one.masks, axis=-1))
            labels, scores = torch.from_numpy(one.labels), torch.from_numpy(one.scores)
            metric.update(Instances(packed, labels, scores, (HEIGHT, WIDTH)), truth)
        row = list(metric.scores(names).row().values())[:12]
        return [-1.0 if value is None else value for value in row]

    def theirs() -> list[float]:
        found = []
        for number, one in enumerate(scenes, 1):
            encoded = rle.encode(np.asfortranarray(one.masks.transpose(1, 2, 0), np.uint8))
            found += [
                {"image_id": number, "category_id": label, "score": score, "segmentation": mask}
                for label, score, mask in zip(one.labels.tolist(), one.scores.tolist(), encoded, strict=True)
            ]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(coco, coco.loadRes(found), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats.tolist()

    if not np.allclose(ours(), theirs(), rtol=0, atol=1e-12):
        raise SystemExit(f"vfmseg gives {ours()}, pycocotools {theirs()}")
    return {BASE: theirs, "vfmseg": ours}


def indexed(scenes: list[Scene], num_classes: int) -> COCO:
    """Return the ground truth as pycocotools holds it."""
    annotations = []
    for number, one in enumerate(scenes, 1):
        encoded = rle.encode(np.asfortranarray(one.true_masks.transpose(1, 2, 0), np.uint8))
        for mask, label, crowd in zip(encoded, one.true_labels.tolist(), one.is_crowd.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label,
                    "iscrowd": int(crowd),
                    "area": float(rle.area(mask)),
                    "segmentation": mask,
                }
            )
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": number, "height": HEIGHT, "width": WIDTH} for number in range(1, len(scenes) + 1)],
        "categories": [{"id": label, "name": str(label)} for label in range(num_classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


if __name__ == "__main__":
    main()
