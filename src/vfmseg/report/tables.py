"""Turns scores into the tables of a report, and tables into CSV and Markdown files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfmseg.metrics.scores import SegmentationScores
from vfmseg.report.numbers import percent

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassRow:
    """One class of the per-class table; ratios in 0..1, None where there is nothing to divide by."""

    name: str
    colour: Colour
    iou: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    share: float
    """Of the labelled pixels of the ground truth."""
    pixels: int


@dataclass(frozen=True)
class Confusion:
    """One way in which the model is wrong."""

    truth: str
    predicted: str
    share_of_truth: float
    """Share of the pixels of ``truth`` that were predicted as ``predicted``."""
    share_of_errors: float
    """Share of all wrong pixels."""


def class_rows(scores: SegmentationScores, colours: Sequence[Colour]) -> list[ClassRow]:
    """Return one row per class, best IoU first, absent classes last."""
    pixels = scores.confusion.sum(1)
    rows = [
        ClassRow(
            name=name,
            colour=colours[i],
            iou=_or_none(scores.iou[i]),
            f1=_or_none(scores.f1[i]),
            precision=_or_none(scores.precision[i]),
            recall=_or_none(scores.recall[i]),
            share=float(pixels[i] / pixels.sum()),
            pixels=int(pixels[i]),
        )
        for i, name in enumerate(scores.names)
    ]
    return sorted(rows, key=lambda row: (row.iou is None, -(row.iou or 0.0)))


def top_confusions(confusion: NDArray[np.int64], names: Sequence[str], most: int = 10) -> list[Confusion]:
    """Return the commonest mistakes, at most ``most``, by pixels."""
    errors = confusion.copy()
    np.fill_diagonal(errors, 0)
    truth, wrong = confusion.sum(1), errors.sum()
    order = np.argsort(-errors, axis=None, kind="stable")[:most]
    pairs = [(int(flat // len(names)), int(flat % len(names))) for flat in order]
    return [
        Confusion(names[i], names[j], float(errors[i, j] / truth[i]), float(errors[i, j] / wrong))
        for i, j in pairs
        if errors[i, j]
    ]


def write_classes_csv(path: Path, rows: Iterable[ClassRow]) -> None:
    """Write the per-class table: ratios in 0..1, empty where undefined."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "iou", "f1", "precision", "recall", "share_of_pixels", "pixels"])
        for row in rows:
            ratios = (row.iou, row.f1, row.precision, row.recall)
            cells = ["" if ratio is None else f"{ratio:.6f}" for ratio in ratios]
            writer.writerow([row.name, *cells, f"{row.share:.6f}", row.pixels])


def write_confusion_csv(path: Path, confusion: NDArray[np.int64], names: Sequence[str]) -> None:
    """Write the confusion matrix in pixels: a row per class of the ground truth, a column per prediction."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ground truth \\ predicted", *names])
        for name, counts in zip(names, confusion.tolist(), strict=True):
            writer.writerow([name, *counts])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: bool) -> str:
    """Return a Markdown table; where ``numeric``, all columns but the first are right-aligned."""
    lines = [header, [":---", *["---:" if numeric else ":---"] * (len(header) - 1)]]
    lines += [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def markdown_classes(rows: Iterable[ClassRow]) -> str:
    """Return the per-class table in percent."""
    header = ["class", "IoU", "F1", "precision", "recall", "share of pixels"]
    return markdown_table(
        header,
        [
            [row.name, *(percent(v, 1) for v in (row.iou, row.f1, row.precision, row.recall, row.share))]
            for row in rows
        ],
        numeric=True,
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
