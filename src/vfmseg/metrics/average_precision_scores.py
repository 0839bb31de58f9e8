"""Turns records of matched masks into average precision and recall, as the COCO detection task defines them.

Per class, IoU threshold and size range, all scored masks of all images are ranked by score; AP is the precision
averaged over 101 levels of recall, precision at a level being the best one at that recall or a higher one, AR the
recall that is reached in the end. What is reported is the mean over classes and over the thresholds .50:.05:.95.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfmseg.errors import LabelError
from vfmseg.metrics.checks import checked_names
from vfmseg.metrics.instance_matching import IOU_THRESHOLDS, MAX_DETECTIONS, NUM_FLAGS, SIZE_RANGES
from vfmseg.metrics.scores import ScoreTable

RECALL_LEVELS = np.linspace(0, 1, 101)
"""(R,)"""


@dataclass(frozen=True, eq=False)
class AveragePrecisionScores:
    """The numbers of one evaluation of scored masks, floats in 0..1; NaN where there is no object to find."""

    names: tuple[str, ...]
    """K class names, in the order of the ids."""
    absent_classes: tuple[str, ...]
    """Names of the classes without an object to find; they are left out of every mean."""
    precision: NDArray[np.float64]
    """(T, R, K, A) per IoU threshold, recall level, class and size range, with 100 masks per image and class."""
    recall: NDArray[np.float64]
    """(T, K, A, 3) per IoU threshold, class, size range, and number of masks per image and class (1, 10, 100)."""
    num_objects: NDArray[np.int64]
    """(K, A) objects to find, crowds left out."""
    ap_per_class: NDArray[np.float64]
    """(K,)"""
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    """Objects of up to 32 x 32 pixels."""
    ap_medium: float
    """Objects of 32 x 32 to 96 x 96 pixels."""
    ap_large: float
    ar1: float
    """Recall with one mask per image and class."""
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float

    def record(self) -> dict[str, Any]:
        """Return what the tables and curves of a report are made of, as plain values; undefined is None."""
        by_threshold = np.array([[_mean(p) for p in of_class] for of_class in self._by_class()])
        return {
            "ap_by_threshold": [[_or_none(float(v)) for v in row] for row in by_threshold],
            "num_objects": self.num_objects[:, 0].tolist(),
            "absent": list(self.absent_classes),
        }

    def table(self) -> ScoreTable:
        """Return AP, AP50 and AP75 by class, and their means."""
        rows = [(_mean(of_class), _mean(of_class[0]), _mean(of_class[5])) for of_class in self._by_class()]
        return ScoreTable(
            ("AP", "AP50", "AP75"),
            tuple(zip(self.names, rows, strict=True)),
            (("mean", (self.ap, self.ap50, self.ap75)),),
            self.absent_classes,
        )

    def _by_class(self) -> list[NDArray[np.float64]]:
        """Return (T, R) precision of every class, objects of all sizes."""
        return [self.precision[:, :, label, 0] for label in range(len(self.names))]

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row, ``{"val/ap": 0.44, "val/ap50": 0.66, "val/ap/car": 0.5, ...}``; undefined is None."""
        row = {f"{prefix}/{key}": _or_none(getattr(self, key)) for key in _MEANS}
        for name, value in zip(self.names, self.ap_per_class.tolist(), strict=True):
            row[f"{prefix}/ap/{name}"] = _or_none(value)
        return row


_MEANS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)


def average_precision_scores(
    records: NDArray[np.void],
    num_objects: NDArray[np.int64],
    names: Sequence[str],
    *,
    recall_levels: NDArray[np.float64] = RECALL_LEVELS,
) -> AveragePrecisionScores:
    """Return all scores of the records of one evaluation.

    Args:
        records: One ``RECORD`` of :mod:`vfmseg.metrics.instance_matching` per scored mask, in any order.
        num_objects: (K, A) true masks that count, per class and size range.
        names: K class names, all different.
        recall_levels: (R,) levels at which precision is read.

    Raises:
        LabelError: The names do not fit the counts, or there was no object to find.
    """
    checked = checked_names(names, len(num_objects))
    if not num_objects.any():
        raise LabelError(
            "No object was counted, so there is nothing to score: the labels hold no objects or only crowds, or no "
            "image was given. `vfmseg check-data` shows which classes they hold; validate on images with objects."
        )
    # Equal scores keep the order of the images, and within one image that of the prediction, as in pycocotools.
    order = np.lexsort((records["rank"], records["image"], -records["score"], records["label"]))
    records = records[order]
    starts = np.searchsorted(records["label"], np.arange(len(checked) + 1))
    thresholds, ranges = len(IOU_THRESHOLDS), len(SIZE_RANGES)
    precision = np.full((thresholds, len(recall_levels), len(checked), ranges), np.nan)
    recall = np.full((thresholds, len(checked), ranges, len(MAX_DETECTIONS)), np.nan)
    for label in np.flatnonzero(num_objects.any(1)).tolist():
        curves, reached = _of_class(
            records[starts[label] : starts[label + 1]], num_objects[label], recall_levels
        )
        precision[:, :, label], recall[:, label] = curves, reached
    return AveragePrecisionScores(
        names=checked,
        absent_classes=tuple(name for name, n in zip(checked, num_objects[:, 0], strict=True) if not n),
        precision=precision,
        recall=recall,
        num_objects=num_objects,
        ap_per_class=np.array([_mean(precision[:, :, label, 0]) for label in range(len(checked))]),
        ap=_mean(precision[..., 0]),
        ap50=_mean(precision[0, ..., 0]),
        ap75=_mean(precision[5, ..., 0]),
        ap_small=_mean(precision[..., 1]),
        ap_medium=_mean(precision[..., 2]),
        ap_large=_mean(precision[..., 3]),
        ar1=_mean(recall[..., 0, 0]),
        ar10=_mean(recall[..., 0, 1]),
        ar100=_mean(recall[..., 0, 2]),
        ar_small=_mean(recall[..., 1, 2]),
        ar_medium=_mean(recall[..., 2, 2]),
        ar_large=_mean(recall[..., 3, 2]),
    )


def _of_class(
    records: NDArray[np.void], num_objects: NDArray[np.int64], recall_levels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (T, R, A) precision and (T, A, 3) recall of one class from its records, best score first."""
    flags = np.arange(NUM_FLAGS, dtype=np.uint64)
    matched, ignored = (
        (records[kind][:, None] >> flags & np.uint64(1)).astype(bool) for kind in ("matched", "ignored")
    )
    objects = np.repeat(num_objects, len(IOU_THRESHOLDS))  # (A * T,)
    hit = matched & ~ignored
    hits, counted = (np.cumsum(values, axis=0, dtype=np.int64) for values in (hit, ~ignored))
    precision = np.divide(hits, counted, out=np.zeros(hits.shape), where=counted > 0)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    best_from_here = np.concatenate([best_from_here, np.zeros((1, NUM_FLAGS))])  # beyond the last recall
    curves = np.full((NUM_FLAGS, len(recall_levels)), np.nan)
    reached = np.full((NUM_FLAGS, len(MAX_DETECTIONS)), np.nan)
    for flag in np.flatnonzero(objects).tolist():
        recall = hits[:, flag] / objects[flag]
        curves[flag] = best_from_here[np.searchsorted(recall, recall_levels), flag]
        for column, most in enumerate(MAX_DETECTIONS):
            reached[flag, column] = hit[records["rank"] < most, flag].sum() / objects[flag]
    shape = (len(SIZE_RANGES), len(IOU_THRESHOLDS), -1)
    return curves.reshape(shape).transpose(1, 2, 0), reached.reshape(shape).transpose(1, 0, 2)


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
