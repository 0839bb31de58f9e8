"""Turns what a validation counted into scores that are told alike for every task: a headline, tiles, a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vfmseg.errors import LabelError
from vfmseg.metrics.checks import checked_names
from vfmseg.metrics.panoptic_scores import Quality, panoptic_scores
from vfmseg.metrics.scores import majority_baseline, scores
from vfmseg.metrics.shared_scores import shared_scores
from vfmseg.report.numbers import percent
from vfmseg.report.tables import ClassGroup, ClassTable, Column, class_rows
from vfmseg.report.validation import ObjectCounts, PixelCounts, SegmentCounts, ValidationRecord


@dataclass(frozen=True)
class Tile:
    """One of the numbers beside the headline."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """What a trivial prediction scores."""

    score: float
    """Of predicting the most frequent class everywhere, in 0..1."""
    majority_class: str


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of one validation, whatever its task."""

    score: float
    """The headline number, in 0..1."""
    tiles: tuple[Tile, ...]
    """Six of them."""
    table: ClassTable
    counted: str
    """What was counted, in what order classes stand, and the units."""
    never_found: tuple[str, ...]
    """Classes that were there to be found, and score 0."""
    absent: tuple[str, ...]
    """Classes left out of the means."""
    baseline: Baseline | None = None
    confusion: NDArray[np.int64] | None = None
    """(K, K) pixels, rows ground truth, columns predictions; None for tasks without one."""


def evaluate(validation: ValidationRecord) -> Evaluation:
    """Return the scores of a validation.

    Raises:
        LabelError: Two of its classes have one name, or it counted nothing.
    """
    match validation.counts:
        case PixelCounts() as pixels:
            return _semantic(validation, pixels)
        case SegmentCounts() as segments:
            return _panoptic(validation, segments)
        case ObjectCounts() as objects:
            return _instance(validation, objects)


def _semantic(validation: ValidationRecord, pixels: PixelCounts) -> Evaluation:
    names, colours, chosen = validation.class_names, validation.colours, pixels.scored
    found = scores(pixels.confusion, names)
    truth = found.confusion.sum(1)
    if chosen is not None:  # what is left out would count as 0 wherever it is predicted
        found = shared_scores(pixels.confusion, names, chosen, ignored_share=0.0)
        truth, colours = truth[list(chosen)], tuple(colours[i] for i in chosen)
    columns = (
        Column("iou", "IoU", Markup("IoU"), bar="score"),
        Column("f1", "F1", Markup("F1")),
        Column("precision", "precision", _abbreviated("Prec.", "Precision")),
        Column("recall", "recall", Markup("Recall")),
        Column(
            "share_of_pixels",
            "share of pixels",
            Markup('Share<span class="long"> of pixels</span>'),
            bar="share",
        ),
        Column("pixels", "pixels", None, is_count=True),
    )
    numbers = (found.iou, found.f1, found.precision, found.recall, truth / truth.sum(), truth)
    rows = class_rows(found.names, colours, *numbers)
    means = (found.miou, found.mean_f1, found.mean_precision, found.mean_class_accuracy, None, None)
    table = ClassTable(columns, (ClassGroup(rows),), (("Mean", means),))
    tiles = (
        Tile("Pixel accuracy", percent(found.pixel_accuracy, 1)),
        Tile("Mean class accuracy", percent(found.mean_class_accuracy, 1)),
        Tile("Mean F1", percent(found.mean_f1, 1)),
        Tile("Frequency-weighted IoU", percent(found.frequency_weighted_iou, 1)),
        *_extremes(table),
    )
    return Evaluation(
        score=found.miou,
        tiles=tiles,
        table=table,
        counted=f"{found.num_pixels:,} labelled pixels, sorted by IoU. All values in percent.",
        never_found=_zeros(found.names, found.iou, truth),
        absent=found.absent_classes,
        baseline=Baseline(majority_baseline(found.confusion), found.names[int(truth.argmax())]),
        confusion=found.confusion,
    )


def _panoptic(validation: ValidationRecord, segments: SegmentCounts) -> Evaluation:
    found = panoptic_scores(segments.counts, validation.class_names, segments.is_thing)
    true = found.true_positives + found.false_negatives
    columns = (
        Column("pq", "PQ", _abbreviated("PQ", "Panoptic quality: SQ times RQ"), bar="score"),
        Column("sq", "SQ", _abbreviated("SQ", "Segmentation quality: mean IoU of the matched segments")),
        Column("rq", "RQ", _abbreviated("RQ", "Recognition quality: F1 of finding the segments")),
        Column("true_positives", "TP", _abbreviated("TP", "Segments found"), is_count=True),
        Column("false_positives", "FP", _abbreviated("FP", "Segments that are not there"), is_count=True),
        Column("false_negatives", "FN", _abbreviated("FN", "Segments not found"), is_count=True),
    )
    counts = (found.true_positives, found.false_positives, found.false_negatives)
    numbers = [np.asarray(column, np.float64) for column in (found.pq, found.sq, found.rq, *counts)]
    groups, means = [], [("Mean", _means(found.overall))]
    for kind, title, quality, wanted in (
        ("thing", "Things", found.things, True),
        ("stuff", "Stuff", found.stuff, False),
    ):
        chosen = [i for i, is_thing in enumerate(found.is_thing) if is_thing is wanted]
        if chosen:
            names, colours = zip(*((found.names[i], validation.colours[i]) for i in chosen), strict=True)
            rows = class_rows(names, colours, *(column[chosen] for column in numbers))
            groups.append(ClassGroup(rows, kind, title))
            means.append((f"Mean of {title.lower()}", _means(quality)))
    table = ClassTable(columns, tuple(groups), tuple(means))
    tiles = (
        Tile("PQ of things", percent(found.things.pq, 1)),
        Tile("PQ of stuff", percent(found.stuff.pq, 1)),
        Tile("Segmentation quality (SQ)", percent(found.overall.sq, 1)),
        Tile("Recognition quality (RQ)", percent(found.overall.rq, 1)),
        *_extremes(table),
    )
    return Evaluation(
        score=found.overall.pq,
        tiles=tiles,
        table=table,
        counted=(
            f"{int(true.sum()):,} true segments, sorted by PQ. PQ, SQ and RQ in percent; segments found (TP), "
            "found where there are none (FP), and missed (FN)."
        ),
        never_found=_zeros(found.names, found.pq, true),
        absent=found.absent_classes,
    )


def _instance(validation: ValidationRecord, objects: ObjectCounts) -> Evaluation:
    names, there = checked_names(validation.class_names, len(objects.ap)), objects.num_objects > 0
    if not there.any():
        raise LabelError("No object was counted, so there is nothing to score: the labels hold no objects.")
    ap, ap50, ap75 = objects.ap.mean(1), objects.ap[:, 0], objects.ap[:, 5]
    columns = (
        Column("ap", "AP", _abbreviated("AP", "Average precision, mean over IoU 0.50 to 0.95"), bar="score"),
        Column("ap50", "AP50", _abbreviated("AP50", "Average precision at IoU 0.50")),
        Column("ap75", "AP75", _abbreviated("AP75", "Average precision at IoU 0.75")),
        Column("objects", "objects", Markup("Objects"), is_count=True),
    )
    rows = class_rows(names, validation.colours, ap, ap50, ap75, objects.num_objects)
    means = [float(numbers[there].mean()) for numbers in (ap, ap50, ap75)]
    table = ClassTable(columns, (ClassGroup(rows),), (("Mean", (*means, None)),))
    never = _zeros(names, ap, objects.num_objects)
    tiles = (
        Tile("AP50", percent(means[1], 1)),
        Tile("AP75", percent(means[2], 1)),
        Tile("Objects", f"{int(objects.num_objects.sum()):,}"),
        Tile("Classes found", f"{int(there.sum()) - len(never)}", f"of {int(there.sum())}"),
        *_extremes(table),
    )
    return Evaluation(
        score=means[0],
        tiles=tiles,
        table=table,
        counted=(
            f"{int(objects.num_objects.sum()):,} objects to find, sorted by AP. AP is the mean over IoU 0.50 to 0.95, "
            "AP50 and AP75 are taken at one IoU; all three in percent."
        ),
        never_found=never,
        absent=tuple(name for name, found in zip(names, there, strict=True) if not found),
    )


def _abbreviated(short: str, long: str) -> Markup:
    return Markup('<abbr title="{}">{}</abbr>').format(long, short)


def _means(quality: Quality) -> tuple[float | None, ...]:
    return (quality.pq, quality.sq, quality.rq, None, None, None)


def _extremes(table: ClassTable) -> tuple[Tile, Tile]:
    best, worst = table.scored[0], table.scored[-1]
    return (
        Tile("Best class", percent(best.score, 1), best.name),
        Tile("Worst class", percent(worst.score, 1), worst.name),
    )


def _zeros(names: tuple[str, ...], numbers: NDArray[np.float64], true: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(n for n, value, count in zip(names, numbers, true, strict=True) if count and value == 0)
