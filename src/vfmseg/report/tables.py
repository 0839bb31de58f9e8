"""Turns scores into the tables of a report, and tables into CSV and Markdown files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vfmseg.report.files import write_whole
from vfmseg.report.numbers import percent, points

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Column:
    """One number of every class."""

    key: str
    """In classes.csv."""
    title: str
    """In report.md."""
    head: Markup | None
    """On the page; None for what only the CSV file has."""
    is_count: bool = False
    """A whole number, and not a ratio in 0..1."""
    bar: Literal["", "score", "share"] = ""
    """How its bar is drawn: as what the classes are judged by, or as their share of the whole."""

    def page_cell(self, value: float | None) -> str:
        """Return a number as the page writes it: ratios in percent without the sign, undefined ones as a dash."""
        return f"{value:,.0f}" if self.is_count and value is not None else points(value)


@dataclass(frozen=True)
class ClassRow:
    """One class of the per-class table."""

    name: str
    colour: Colour
    values: tuple[float | None, ...]
    """By column; None where there is nothing to divide by."""

    @property
    def score(self) -> float | None:
        """What the class is judged by: the first column."""
        return self.values[0]


@dataclass(frozen=True)
class ClassGroup:
    """Classes that stand together, best first, those without a score last."""

    rows: tuple[ClassRow, ...]
    kind: str = ""
    """What each of its classes is, such as ``"thing"``; empty where classes are not told apart."""
    title: str = ""


@dataclass(frozen=True)
class ClassTable:
    """The numbers of all classes."""

    columns: tuple[Column, ...]
    groups: tuple[ClassGroup, ...]
    means: tuple[tuple[str, tuple[float | None, ...]], ...]
    """Of all classes, then of groups: a name, and by column the mean; NaN of no class, None where none is given."""

    @property
    def heads(self) -> list[Column]:
        """The columns that the page has."""
        return [column for column in self.columns if column.head is not None]

    def on_page(self, values: Sequence[float | None]) -> list[tuple[Column, float | None]]:
        """Return the columns that the page has, each with its number."""
        return [
            (column, value)
            for column, value in zip(self.columns, values, strict=True)
            if column.head is not None
        ]

    @property
    def rows(self) -> list[ClassRow]:
        """All classes, in the order of the page."""
        return [row for group in self.groups for row in group.rows]

    @property
    def scored(self) -> list[ClassRow]:
        """The classes with a score, best first."""
        rows = [row for row in self.rows if row.score is not None]
        return sorted(rows, key=lambda row: -(row.score or 0.0))


def class_rows(
    names: Sequence[str], colours: Sequence[Colour], *columns: Sequence[float] | NDArray[np.number]
) -> tuple[ClassRow, ...]:
    """Return one row per class, highest first number first, undefined ones (NaN) last.

    Args:
        names: K class names.
        colours: K colours.
        columns: K numbers each.
    """
    numbers = zip(*columns, strict=True)
    rows = [
        ClassRow(name, colour, tuple(None if math.isnan(v) else float(v) for v in values))
        for name, colour, values in zip(names, colours, numbers, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (row.score is None, -(row.score or 0.0))))


@dataclass(frozen=True)
class Confusion:
    """One way in which the model is wrong."""

    truth: str
    predicted: str
    share_of_truth: float
    """Share of the pixels of ``truth`` that were predicted as ``predicted``."""
    share_of_errors: float
    """Share of all wrong pixels."""


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


def write_classes_csv(path: Path, table: ClassTable) -> None:
    """Write the per-class table: ratios in 0..1, empty where undefined; means are left to result.json."""
    kinds = any(group.kind for group in table.groups)
    rows: list[list[object]] = [
        ["class", *(["kind"] if kinds else []), *(column.key for column in table.columns)]
    ]
    for group in table.groups:
        for row in group.rows:
            cells = [_csv_cell(*pair) for pair in zip(table.columns, row.values, strict=True)]
            rows.append([row.name, *([group.kind] if kinds else []), *cells])
    _write_csv(path, rows)


def _csv_cell(column: Column, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if column.is_count else f"{value:.6f}"


def write_confusion_csv(path: Path, confusion: NDArray[np.int64], names: Sequence[str]) -> None:
    """Write the confusion matrix in pixels: a row per class of the ground truth, a column per prediction."""
    rows = [[name, *counts] for name, counts in zip(names, confusion.tolist(), strict=True)]
    _write_csv(path, [["ground truth \\ predicted", *names], *rows])


def _write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_whole(path, text.getvalue())


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: bool) -> str:
    """Return a Markdown table; where ``numeric``, all columns but the first are right-aligned."""
    lines = [header, [":---", *["---:" if numeric else ":---"] * (len(header) - 1)]]
    lines += [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def markdown_classes(table: ClassTable) -> str:
    """Return the per-class table with its means, ratios in percent."""

    def cells(values: Sequence[float | None], undefined: str) -> list[str]:
        pairs = table.on_page(values)
        return [undefined if value is None else _markdown_cell(column, value) for column, value in pairs]

    rows = [
        [f"{row.name} ({group.kind})" if group.kind else row.name, *cells(row.values, "–")]
        for group in table.groups
        for row in group.rows
    ]
    means = [[f"**{name}**", *cells(values, "")] for name, values in table.means]
    header = ["class", *(column.title for column in table.heads)]
    return markdown_table(header, [*rows, *means], numeric=True)


def _markdown_cell(column: Column, value: float) -> str:
    return f"{value:,.0f}" if column.is_count else percent(value, 1)
