"""Turns a confusion matrix into the numbers that are reported: mIoU, accuracies, F1, baselines.

Definitions, with TP, FP and FN counted over all pixels of a set (never averaged over images): IoU is
TP / (TP + FP + FN) (PASCAL VOC challenge; Cityscapes, Cordts et al. 2016, section 4.2), precision
TP / (TP + FP), recall or class accuracy TP / (TP + FN), F1 2 TP / (2 TP + FP + FN); frequency-weighted
IoU weighs each class by its share of the ground truth (Long et al. 2015, section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfmseg.errors import LabelError

Absent = Literal["exclude", "zero"]
"""What a class that occurs neither in the ground truth nor in the predictions does to a mean.

``"exclude"`` leaves it out and names it (cityscapesScripts, mmsegmentation); ``"zero"`` counts it as 0
(torchmetrics, and with it the published numbers of EoMT and benchmark-vfm-ss).
"""


@dataclass(frozen=True)
class ScoreTable:
    """Scores by class, for people and pages. Numbers are in 0..1; NaN where there is nothing to score."""

    columns: tuple[str, ...]
    """What the numbers are called."""
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    """A class and its numbers."""
    means: tuple[tuple[str, tuple[float, ...]], ...]
    """Groups of classes and their means, the group of all classes first."""
    absent: tuple[str, ...]
    """Classes left out of the means, as they never occur."""


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """The numbers of one evaluation. Everything is a float in 0..1; NaN marks a ratio of nothing."""

    names: tuple[str, ...]
    """K class names, in the order of the ids."""
    confusion: NDArray[np.int64]
    """(K, K) pixels: rows are the ground truth, columns the predictions."""
    absent_classes: tuple[str, ...]
    """Names of the classes that occur neither in the ground truth nor in the predictions."""
    absent: Absent
    """How :attr:`absent_classes` entered the means."""
    iou: NDArray[np.float64]
    """(K,) per class; NaN for absent classes."""
    precision: NDArray[np.float64]
    """(K,) per class; NaN for classes that were never predicted."""
    recall: NDArray[np.float64]
    """(K,) per class, also called class accuracy; NaN for classes that the ground truth never has."""
    f1: NDArray[np.float64]
    """(K,) per class; NaN for absent classes."""
    miou: float
    pixel_accuracy: float
    mean_class_accuracy: float
    """Mean recall."""
    mean_precision: float
    """Mean over the classes that were predicted; a class that never was pulls down recall and F1 instead."""
    mean_f1: float
    frequency_weighted_iou: float

    @property
    def num_pixels(self) -> int:
        """Labelled pixels that were counted."""
        return int(self.confusion.sum())

    def record(self) -> dict[str, Any]:
        """Return the counts that all numbers can be made of again, as plain values."""
        return {"confusion": self.confusion.tolist(), "absent": list(self.absent_classes)}

    def table(self) -> ScoreTable:
        """Return IoU, F1, precision and recall by class."""
        numbers = zip(self.iou, self.f1, self.precision, self.recall, strict=True)
        return ScoreTable(
            ("IoU", "F1", "precision", "recall"),
            tuple((n, tuple(float(v) for v in row)) for n, row in zip(self.names, numbers, strict=True)),
            (("mean", (self.miou, self.mean_f1, self.mean_precision, self.mean_class_accuracy)),),
            self.absent_classes,
        )

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row, ``{"val/miou": 0.71, "val/iou/road": 0.98, ...}``; absent classes are None."""
        means = {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_class_accuracy": self.mean_class_accuracy,
            "precision": self.mean_precision,
            "f1": self.mean_f1,
            "frequency_weighted_iou": self.frequency_weighted_iou,
        }
        row: dict[str, float | None] = {f"{prefix}/{key}": value for key, value in means.items()}
        for name, value in zip(self.names, self.iou.tolist(), strict=True):
            row[f"{prefix}/iou/{name}"] = None if np.isnan(value) else value
        return row


@dataclass(frozen=True)
class ImageScore:
    """How well one image was segmented: what ranks the best and the worst images. Floats in 0..1."""

    miou: float
    """Mean IoU over the classes that occur in this image's ground truth or prediction."""
    pixel_accuracy: float
    """Share of the labelled pixels that got their class."""


def scores(confusion: ArrayLike, names: Sequence[str], *, absent: Absent = "exclude") -> SegmentationScores:
    """Return all scores of a confusion matrix.

    Args:
        confusion: (K, K) whole numbers, rows ground truth, columns predictions; a CPU tensor is fine.
        names: K class names, all different, as they become keys of the flat row.
        absent: What absent classes do to the means, see :data:`Absent`.

    Raises:
        LabelError: The matrix does not fit the names, two classes have one name, or no pixel was counted.
    """
    matrix = _square(confusion)
    if len(names) != len(matrix):
        raise LabelError(
            f"The confusion matrix counts {len(matrix)} classes, but {len(names)} class names were given. "
            "Give one name per class, in the order of the ids."
        )
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise LabelError(
            f"Two classes are called {twice[0]!r}: scores are reported by name, so every class needs "
            "its own. Rename one in the data set's class list."
        )
    if not matrix.any():
        raise LabelError(
            "No labelled pixel was counted, so there is nothing to score: the label maps hold only 255 "
            "(ignore), or no image was given. `vfmseg check-data` shows which ids the label maps hold."
        )
    hits = np.diagonal(matrix)
    truth, predicted = matrix.sum(1), matrix.sum(0)
    present = (truth + predicted) > 0
    iou = _ratio(hits, truth + predicted - hits)
    precision, recall = _ratio(hits, predicted), _ratio(hits, truth)
    f1 = _ratio(2 * hits, truth + predicted)
    return SegmentationScores(
        names=tuple(names),
        confusion=matrix,
        absent_classes=tuple(name for name, there in zip(names, present, strict=True) if not there),
        absent=absent,
        iou=iou,
        precision=precision,
        recall=recall,
        f1=f1,
        miou=_mean(iou, absent),
        pixel_accuracy=float(hits.sum() / matrix.sum()),
        mean_class_accuracy=_mean(recall, absent),
        mean_precision=_mean(precision, absent),
        mean_f1=_mean(f1, absent),
        frequency_weighted_iou=float((truth * np.nan_to_num(iou)).sum() / truth.sum()),
    )


def image_score(confusion: ArrayLike) -> ImageScore:
    """Return the score of one image from its own (K, K) confusion.

    Raises:
        LabelError: The image has no labelled pixel; ask ``confusion.any()`` first where that may happen.
    """
    matrix = _square(confusion)
    if not matrix.any():
        raise LabelError(
            "The image has no labelled pixel, so it has no score: its label map holds only 255 (ignore)."
        )
    hits = np.diagonal(matrix)
    iou = _ratio(hits, matrix.sum(1) + matrix.sum(0) - hits)
    return ImageScore(_mean(iou, "exclude"), float(hits.sum() / matrix.sum()))


def majority_baseline(counts: ArrayLike, *, absent: Absent = "exclude") -> float:
    """Return the mIoU of predicting the most frequent class everywhere: what a model must beat.

    That class then has TP = its pixels and FP = all others, so its IoU is its share of the pixels;
    every other class has IoU 0.

    Args:
        counts: (K, K) confusion matrix (its rows are summed) or (K,) labelled pixels per class.
        absent: As in :func:`scores`; classes that the ground truth never has are absent here.

    Raises:
        LabelError: No pixel was counted.
    """
    table = np.asarray(counts).astype(np.int64)
    pixels = table.sum(1) if table.ndim == 2 else table
    if not pixels.any():
        raise LabelError("No labelled pixel was counted, so there is no most frequent class to predict.")
    classes = len(pixels) if absent == "zero" else np.count_nonzero(pixels)
    return float(pixels.max() / pixels.sum() / classes)


def _square(confusion: ArrayLike) -> NDArray[np.int64]:
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise LabelError(
            f"A confusion matrix has one row and one column per class; got an array of shape {matrix.shape}."
        )
    return matrix.astype(np.int64)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64], absent: Absent) -> float:
    return float(np.nan_to_num(values).mean() if absent == "zero" else values[~np.isnan(values)].mean())
