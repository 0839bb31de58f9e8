"""Turns per-class sums of matched segments into panoptic quality: PQ, SQ, RQ, over all, things and stuff.

Per class, with TP matched pairs, FP predicted and FN true segments left over (Kirillov et al. 2019, section 4.2):
SQ = sum of the IoU of the pairs / TP, RQ = TP / (TP + FP / 2 + FN / 2), PQ = SQ x RQ. What is reported is the
mean over classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfmseg.errors import LabelError
from vfmseg.metrics.checks import checked_names
from vfmseg.metrics.scores import Absent, ScoreTable


@dataclass(frozen=True)
class Quality:
    """Means over a group of classes, floats in 0..1; NaN where the group has no class to average."""

    pq: float
    sq: float
    rq: float
    num_classes: int
    """Classes that the means are over."""


@dataclass(frozen=True, eq=False)
class PanopticScores:
    """The numbers of one panoptic evaluation. Ratios are floats in 0..1; NaN marks an absent class."""

    names: tuple[str, ...]
    """K class names, in the order of the ids."""
    is_thing: tuple[bool, ...]
    """K flags: thing or stuff."""
    absent: Absent
    """How :attr:`absent_classes` entered the means."""
    absent_classes: tuple[str, ...]
    """Names of the classes without any segment to count, neither true nor predicted."""
    iou_sum: NDArray[np.float64]
    """(K,) sum of the IoU of the matched pairs."""
    true_positives: NDArray[np.int64]
    """(K,) matched pairs."""
    false_positives: NDArray[np.int64]
    """(K,) predicted segments without a match, those that void or a crowd forgives left out."""
    false_negatives: NDArray[np.int64]
    """(K,) true segments without a match, crowds left out."""
    pq: NDArray[np.float64]
    """(K,)"""
    sq: NDArray[np.float64]
    """(K,) 0 for a class that occurs but was never matched."""
    rq: NDArray[np.float64]
    """(K,)"""
    overall: Quality
    things: Quality
    stuff: Quality

    def record(self) -> dict[str, Any]:
        """Return the counts that all numbers can be made of again, as plain values."""
        counts = (self.iou_sum, self.true_positives, self.false_positives, self.false_negatives)
        return {
            "panoptic_counts": [row.tolist() for row in counts],
            "is_thing": list(self.is_thing),
            "absent": list(self.absent_classes),
        }

    def table(self) -> ScoreTable:
        """Return PQ, SQ and RQ by class, and their means over all classes, things and stuff."""
        numbers = zip(self.pq, self.sq, self.rq, strict=True)
        groups = (("mean", self.overall), ("things", self.things), ("stuff", self.stuff))
        return ScoreTable(
            ("PQ", "SQ", "RQ"),
            tuple((n, tuple(float(v) for v in row)) for n, row in zip(self.names, numbers, strict=True)),
            tuple((name, (q.pq, q.sq, q.rq)) for name, q in groups),
            self.absent_classes,
        )

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row, ``{"val/pq": 0.52, "val/pq_things": 0.58, "val/pq/road": 0.9, ...}``.

        Absent classes, and the means of things or stuff where none occurs, are None.
        """
        row: dict[str, float | None] = {}
        for group, quality in (("", self.overall), ("_things", self.things), ("_stuff", self.stuff)):
            row[f"{prefix}/pq{group}"] = _or_none(quality.pq)
            row[f"{prefix}/sq{group}"] = _or_none(quality.sq)
            row[f"{prefix}/rq{group}"] = _or_none(quality.rq)
        for name, value in zip(self.names, self.pq.tolist(), strict=True):
            row[f"{prefix}/pq/{name}"] = _or_none(value)
        return row


def panoptic_scores(
    counts: ArrayLike, names: Sequence[str], is_thing: Sequence[bool], *, absent: Absent = "exclude"
) -> PanopticScores:
    """Return all scores of the counts of one evaluation.

    Args:
        counts: (4, K) rows IoU sum, true positives, false positives, false negatives; a CPU tensor is fine.
        names: K class names, all different.
        is_thing: K flags.
        absent: What classes without a segment do to the means, see :data:`vfmseg.metrics.scores.Absent`.

    Raises:
        LabelError: The names do not fit the counts, or no segment was counted.
    """
    table = np.asarray(counts, np.float64)
    checked = checked_names(names, table.shape[1])
    if not table[1:].any():
        raise LabelError(
            "No segment was counted, so there is nothing to score: the label maps hold only 255 (no segment) "
            "or crowds and nothing was predicted, or no image was given. `vfmseg check-data` shows which classes "
            "they hold; validate on images with segments."
        )
    pq, sq, rq = _per_class(table)
    there = ~np.isnan(pq)
    things = np.asarray(is_thing, bool)

    def mean(group: NDArray[np.bool_]) -> Quality:
        return _mean(pq, sq, rq, group if absent == "zero" else group & there)

    return PanopticScores(
        names=checked,
        is_thing=tuple(things.tolist()),
        absent=absent,
        absent_classes=tuple(name for name, present in zip(checked, there, strict=True) if not present),
        iou_sum=table[0],
        true_positives=table[1].astype(np.int64),
        false_positives=table[2].astype(np.int64),
        false_negatives=table[3].astype(np.int64),
        pq=pq,
        sq=sq,
        rq=rq,
        overall=mean(np.ones_like(there)),
        things=mean(things),
        stuff=mean(~things),
    )


def image_quality(counts: ArrayLike) -> Quality:
    """Return the quality of one image from its own (4, K) counts: what ranks the best and the worst images.

    The means are over the classes that have a segment to count in this image.

    Raises:
        LabelError: The image has no segment to count; ask ``counts.any()`` first where that may happen.
    """
    pq, sq, rq = _per_class(np.asarray(counts, np.float64))
    there = ~np.isnan(pq)
    if not there.any():
        raise LabelError(
            "The image has no segment to count, so it has no score: its label map holds only 255 "
            "(no segment) or crowds, and nothing was predicted that they do not forgive."
        )
    return _mean(pq, sq, rq, there)


def _per_class(
    counts: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return PQ, SQ and RQ, (K,) each, NaN for classes without a segment."""
    iou, tp, fp, fn = counts
    weight = tp + 0.5 * fp + 0.5 * fn
    there = weight > 0
    pq, rq = (np.divide(part, weight, out=np.full(len(weight), np.nan), where=there) for part in (iou, tp))
    sq = np.divide(iou, tp, out=np.where(there, 0.0, np.nan), where=tp > 0)
    return pq, sq, rq


def _mean(
    pq: NDArray[np.float64], sq: NDArray[np.float64], rq: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> Quality:
    """Return the means of the chosen classes, absent ones as 0."""
    if not chosen.any():
        return Quality(np.nan, np.nan, np.nan, 0)
    means = [float(np.nan_to_num(values[chosen]).mean()) for values in (pq, sq, rq)]
    return Quality(means[0], means[1], means[2], int(chosen.sum()))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
