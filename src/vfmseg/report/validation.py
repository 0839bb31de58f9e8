"""Turns ``validation.json`` into the counts of its task, with classes and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfmseg.report.files import read_object, unreadable
from vfmseg.report.measures import MEASURES

Colour = tuple[int, int, int]
_THRESHOLDS = 10
"""IoU .50:.05:.95, over which AP is averaged."""


@dataclass(frozen=True)
class ImageRecord:
    """One validation image with its score, and its picture where one was drawn."""

    name: str
    score: float
    """In 0..1, by which images are ranked."""
    details: Mapping[str, float]
    """Further numbers in 0..1, by name."""
    picture: str | None
    """Path below the run folder of a JPEG: image, ground truth and prediction side by side."""


@dataclass(frozen=True, eq=False)
class PixelCounts:
    """What the semantic task counts."""

    confusion: NDArray[np.int64]
    """(K, K) pixels, rows ground truth, columns predictions."""
    scored: tuple[int, ...] | None = None
    """Ids of the classes that are scored, where the data lacks some of the model's; None: all."""


@dataclass(frozen=True, eq=False)
class SegmentCounts:
    """What the panoptic task counts."""

    counts: NDArray[np.float64]
    """(4, K) IoU sum of the matched pairs, true positives, false positives, false negatives."""
    is_thing: tuple[bool, ...]
    """K flags."""


@dataclass(frozen=True, eq=False)
class ObjectCounts:
    """What the instance task finds."""

    ap: NDArray[np.float64]
    """(K, 10) average precision in 0..1 at IoU .50:.05:.95; NaN for classes without an object."""
    num_objects: NDArray[np.int64]
    """(K,) objects to find."""


Counts = PixelCounts | SegmentCounts | ObjectCounts


@dataclass(frozen=True, eq=False)
class ValidationRecord:
    """What ``validation.json`` holds."""

    step: int | None
    task: str
    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    counts: Counts
    images: tuple[ImageRecord, ...]
    """Worst first."""
    unscored: tuple[str, ...]
    """Names of images without anything to score."""


def read_validation(path: Path) -> ValidationRecord | None:
    """Return what the file holds; None where there is no file.

    Raises:
        CheckpointError: It cannot be read, or its parts do not fit together.
    """
    content = read_object(path)
    if content is None:
        return None
    _refuse_missing(path, content, "task", "class_names", "colours", "images")
    try:
        return _parse(path, content)
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(path, f"it is not of the form that `vfmseg fit` writes ({error!r})") from error


def _parse(path: Path, content: dict[str, Any]) -> ValidationRecord:
    task, names, colours = content["task"], content["class_names"], content["colours"]
    if task not in MEASURES:
        raise unreadable(path, f"its task is {task!r}, which is none of {', '.join(MEASURES)}")
    if len(colours) != len(names):
        raise unreadable(path, f"it names {len(names)} classes, but has {len(colours)} colours")
    images = [_image(one) for one in content["images"]]
    return ValidationRecord(
        step=content.get("step"),
        task=task,
        class_names=tuple(names),
        colours=tuple((int(r), int(g), int(b)) for r, g, b in colours),
        counts=_counts(path, task, content, len(names)),
        images=tuple(sorted(images, key=lambda image: image.score)),
        unscored=tuple(content.get("unscored", ())),
    )


def _image(one: dict[str, Any]) -> ImageRecord:
    details = {key: float(one[key]) for key in one if key not in ("name", "score", "picture")}
    return ImageRecord(one["name"], float(one["score"]), details, one.get("picture"))


def _counts(path: Path, task: str, content: dict[str, Any], classes: int) -> Counts:
    def array(key: str, *shape: int) -> NDArray[Any]:
        _refuse_missing(path, content, key)
        found = np.asarray(content[key])
        if found.shape != shape:
            raise unreadable(path, f"it names {classes} classes, but its {key} has the shape {found.shape}")
        return found

    if task == "panoptic":
        counts = array("panoptic_counts", 4, classes).astype(np.float64)
        return SegmentCounts(counts, tuple(array("is_thing", classes).astype(bool).tolist()))
    if task == "instance":
        ap = array("ap_by_threshold", classes, _THRESHOLDS).astype(np.float64)  # None becomes NaN
        return ObjectCounts(ap, array("num_objects", classes).astype(np.int64))
    scored = content.get("scored")
    ids = None if scored is None else tuple(content["class_names"].index(name) for name in scored)
    return PixelCounts(array("confusion", classes, classes).astype(np.int64), ids)


def _refuse_missing(path: Path, content: dict[str, Any], *keys: str) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise unreadable(path, f"it lacks {', '.join(map(repr, missing))}")
