"""Turns a run folder into one record of what the run says about itself; what is missing stays None.

Nothing here needs torch: a report is written in a moment, also on a machine that could not train.
"""

from __future__ import annotations

import csv
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from vfmseg.errors import CheckpointError
from vfmseg.report.files import read_json, read_object, unreadable
from vfmseg.report.measures import MEASURES, Measure
from vfmseg.report.validation import ValidationRecord, read_validation

RECIPE_FILE = "recipe.yaml"
Level = Literal["problem", "warning", "note"]


@dataclass(frozen=True)
class History:
    """The columns of ``metrics.csv``."""

    columns: dict[str, tuple[tuple[float, float], ...]]
    """Per column, in the file's order, the (step, value) pairs of its non-empty, finite cells."""
    not_finite: dict[str, tuple[int, int]]
    """Per column that held NaN or infinity: how many such cells, and the step of the first."""
    last_step: int
    last_time_s: float | None

    def last(self, column: str) -> float | None:
        """Return the latest value of a column, or None where it was never logged."""
        values = self.columns.get(column, ())
        return values[-1][1] if values else None


@dataclass(frozen=True)
class Finding:
    """One thing to know about a run."""

    level: Level
    text: str
    items: tuple[str, ...] = ()
    """What the text counts, listed in full."""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """Everything a report says about one run."""

    folder: Path
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any] | None
    history: History | None
    result: dict[str, Any] | None
    """None while the run is still training, or where it was stopped."""
    validation: ValidationRecord | None
    overlays: dict[str, tuple[tuple[int, Path], ...]]
    """Per validation image that is drawn again and again: its (step, picture) pairs, by step."""
    noted: tuple[Finding, ...]
    """What the run itself noted in ``findings.json``, such as images it skipped."""

    @property
    def task(self) -> str:
        """What was validated, or else what the recipe says; recipes that say nothing are semantic."""
        if self.validation is not None:
            return self.validation.task
        return str(self.recipe.get("task", "semantic"))

    @property
    def measure(self) -> Measure:
        """The number that the run is judged by."""
        return MEASURES[self.task]

    def setting(self, dotted: str) -> Any:
        """Return a value of the recipe by its dotted name, such as ``"encoder.name"``, or None."""
        value: Any = self.recipe
        for key in dotted.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def found(self, key: str) -> Any:
        """Return a value of ``result.json``, or None where there is none yet."""
        return None if self.result is None else self.result.get(key)


def read_run(folder: str | Path) -> RunRecord:
    """Read a run folder; only ``recipe.yaml`` must be there.

    Raises:
        CheckpointError: The folder does not exist or is no run, or one of its files cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"There is no run folder {str(folder)!r}. Give the folder that `vfmseg fit` wrote: "
            "`vfmseg report runs/NAME`, or what `vfmseg validate --out` wrote."
        )
    if not (folder / RECIPE_FILE).is_file():
        inside = sorted(path.parent for path in folder.glob(f"*/{RECIPE_FILE}"))[:3]
        hint = (
            f" There are runs inside it: type `vfmseg report {shlex.quote(str(inside[0]))}`."
            if inside
            else ""
        )
        raise CheckpointError(
            f"{str(folder)!r} is no run folder: {RECIPE_FILE} is missing, which `vfmseg fit` writes first. "
            "Give the folder that `vfmseg fit` wrote (it holds recipe.yaml, metrics.csv and checkpoints/): "
            f"`vfmseg report runs/NAME`, or what `vfmseg validate --out` wrote.{hint}"
        )
    try:
        recipe_text = (folder / RECIPE_FILE).read_text(encoding="utf-8")
        recipe = yaml.safe_load(recipe_text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date such as 2026-13-01
        raise unreadable(folder / RECIPE_FILE, f"it is not YAML ({error})", needed=True) from error
    if not isinstance(recipe, dict):
        kind = type(recipe).__name__
        raise unreadable(folder / RECIPE_FILE, f"it holds a {kind}, not a mapping", needed=True)
    if recipe.get("task", "semantic") not in list(MEASURES):
        reason = f"its task is {recipe['task']!r}, which is none of {', '.join(MEASURES)}"
        raise unreadable(folder / RECIPE_FILE, reason, needed=True)
    return RunRecord(
        folder=folder,
        recipe=recipe,
        recipe_text=recipe_text,
        environment=read_object(folder / "environment.json"),
        history=read_history(folder / "metrics.csv"),
        result=read_object(folder / "result.json"),
        validation=read_validation(folder / "validation.json"),
        overlays=_find_overlays(folder / "predictions"),
        noted=_read_findings(folder / "findings.json"),
    )


def _read_findings(path: Path) -> tuple[Finding, ...]:
    found = read_json(path) or []
    levels = get_args(Level)
    if not isinstance(found, list) or any(
        not isinstance(one, dict) or one.get("level") not in levels or "text" not in one for one in found
    ):
        shape = '[{"level": "warning", "text": "...", "items": ["..."]}]'
        raise unreadable(path, f"it is not of the form {shape} with the levels {', '.join(levels)}")
    return tuple(Finding(one["level"], one["text"], tuple(one.get("items", ()))) for one in found)


def read_history(path: Path) -> History | None:
    """Return what ``metrics.csv`` holds; None where there is no file.

    Raises:
        CheckpointError: It cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return _parse_history(path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise unreadable(path, f"it is not CSV ({error})") from error


def _parse_history(path: Path) -> History:
    columns: dict[str, list[tuple[float, float]]] = {}
    not_finite: dict[str, tuple[int, int]] = {}
    last_step, last_time_s = 0, None
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "step" not in (reader.fieldnames or ()):
            raise unreadable(path, "its first line names no column 'step'")
        for row in reader:
            if reader.restkey in row:
                raise unreadable(
                    path, f"line {reader.line_num} has more cells than the first line has columns"
                )
            # a row that is being written just now may lack its last cells, which DictReader gives as None
            cells = {name: _number(path, reader.line_num, name, text) for name, text in row.items() if text}
            step = cells.pop("step", math.nan)
            if not math.isfinite(step):
                raise unreadable(path, f"line {reader.line_num} has no step")
            last_step, last_time_s = int(step), cells.pop("time_s", last_time_s)
            for name, value in cells.items():
                if math.isfinite(value):
                    columns.setdefault(name, []).append((step, value))
                else:
                    count, first = not_finite.get(name, (0, int(step)))
                    not_finite[name] = (count + 1, first)
        order = [name for name in reader.fieldnames or () if name in columns]
    return History({name: tuple(columns[name]) for name in order}, not_finite, last_step, last_time_s)


def _number(path: Path, line: int, column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise unreadable(
            path, f"line {line}, column {column!r} holds {text!r}, which is no number"
        ) from error


def _find_overlays(predictions: Path) -> dict[str, tuple[tuple[int, Path], ...]]:
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(predictions.glob("step_*/*.jpg")):
        step = path.parent.name.removeprefix("step_")
        if step.isdigit():
            found.setdefault(path.stem, []).append((int(step), path))
    return {stem: tuple(sorted(pictures)) for stem, pictures in sorted(found.items())}
