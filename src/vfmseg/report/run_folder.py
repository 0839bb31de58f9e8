"""Turns a run folder into one record of what the run says about itself; what is missing stays None.

Nothing here needs torch: a report is written in a moment, also on a machine that could not train.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from vfmseg.errors import CheckpointError

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


@dataclass(frozen=True)
class ImageRecord:
    """One validation image with its score in 0..1, and its picture where one was drawn."""

    name: str
    miou: float
    pixel_accuracy: float
    picture: str | None
    """Path below the run folder of a JPEG: image, ground truth and prediction side by side."""


@dataclass(frozen=True, eq=False)
class ValidationRecord:
    """What ``validation.json`` holds."""

    step: int | None
    class_names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    confusion: NDArray[np.int64]
    """(K, K), rows ground truth, columns predictions."""
    images: tuple[ImageRecord, ...]
    """Worst first."""
    unscored: tuple[str, ...]
    """Names of images without a labelled pixel."""


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
            "`vfmseg report runs/NAME`."
        )
    if not (folder / RECIPE_FILE).is_file():
        inside = sorted(path.parent for path in folder.glob(f"*/{RECIPE_FILE}"))[:3]
        hint = f" There are runs inside it: type `vfmseg report {inside[0]}`." if inside else ""
        raise CheckpointError(
            f"{str(folder)!r} is no run folder: {RECIPE_FILE} is missing, which `vfmseg fit` writes first. "
            "Give the folder that `vfmseg fit` wrote (it holds recipe.yaml, metrics.csv and checkpoints/): "
            f"`vfmseg report runs/NAME`.{hint}"
        )
    recipe_text = (folder / RECIPE_FILE).read_text(encoding="utf-8")
    try:
        recipe = yaml.safe_load(recipe_text)
    except yaml.YAMLError as error:
        raise _unreadable(folder / RECIPE_FILE, f"it is not YAML ({error})") from error
    if not isinstance(recipe, dict):
        raise _unreadable(folder / RECIPE_FILE, f"it holds a {type(recipe).__name__}, not a mapping")
    return RunRecord(
        folder=folder,
        recipe=recipe,
        recipe_text=recipe_text,
        environment=_read_object(folder / "environment.json"),
        history=_read_history(folder / "metrics.csv"),
        result=_read_object(folder / "result.json"),
        validation=_read_validation(folder / "validation.json"),
        overlays=_find_overlays(folder / "predictions"),
        noted=_read_findings(folder / "findings.json"),
    )


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unreadable(path, f"it is not JSON ({error})") from error


def _read_object(path: Path) -> dict[str, Any] | None:
    content = _read_json(path)
    if content is not None and not isinstance(content, dict):
        raise _unreadable(path, f"it holds a {type(content).__name__}, not an object")
    return content


def _read_findings(path: Path) -> tuple[Finding, ...]:
    found = _read_json(path) or []
    levels = get_args(Level)
    if not isinstance(found, list) or any(
        one.get("level") not in levels or "text" not in one for one in found
    ):
        shape = '[{"level": "warning", "text": "...", "items": ["..."]}]'
        raise _unreadable(path, f"it is not of the form {shape} with the levels {', '.join(levels)}")
    return tuple(Finding(one["level"], one["text"], tuple(one.get("items", ()))) for one in found)


def _read_history(path: Path) -> History | None:
    if not path.is_file():
        return None
    columns: dict[str, list[tuple[float, float]]] = {}
    not_finite: dict[str, tuple[int, int]] = {}
    last_step, last_time_s = 0, None
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "step" not in (reader.fieldnames or ()):
            raise _unreadable(path, "its first line names no column 'step'")
        for row in reader:
            if reader.restkey in row:
                raise _unreadable(
                    path, f"line {reader.line_num} has more cells than the first line has columns"
                )
            # a row that is being written just now may lack its last cells, which DictReader gives as None
            cells = {name: _number(path, reader.line_num, name, text) for name, text in row.items() if text}
            step = cells.pop("step", math.nan)
            if not math.isfinite(step):
                raise _unreadable(path, f"line {reader.line_num} has no step")
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
        raise _unreadable(
            path, f"line {line}, column {column!r} holds {text!r}, which is no number"
        ) from error


def _read_validation(path: Path) -> ValidationRecord | None:
    content = _read_object(path)
    if content is None:
        return None
    missing = [key for key in ("class_names", "colours", "confusion", "images") if key not in content]
    if missing:
        raise _unreadable(path, f"it lacks {', '.join(map(repr, missing))}")
    names, colours, confusion = content["class_names"], content["colours"], np.asarray(content["confusion"])
    if len(colours) != len(names) or confusion.shape != (len(names), len(names)):
        raise _unreadable(
            path,
            f"it names {len(names)} classes, but has {len(colours)} colours and a confusion of shape "
            f"{confusion.shape}",
        )
    images = [
        ImageRecord(one["name"], one["miou"], one["pixel_accuracy"], one.get("picture"))
        for one in content["images"]
    ]
    return ValidationRecord(
        step=content.get("step"),
        class_names=tuple(names),
        colours=tuple((int(r), int(g), int(b)) for r, g, b in colours),
        confusion=confusion.astype(np.int64),
        images=tuple(sorted(images, key=lambda image: image.miou)),
        unscored=tuple(content.get("unscored", ())),
    )


def _find_overlays(predictions: Path) -> dict[str, tuple[tuple[int, Path], ...]]:
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(predictions.glob("step_*/*.jpg")):
        step = path.parent.name.removeprefix("step_")
        if step.isdigit():
            found.setdefault(path.stem, []).append((int(step), path))
    return {stem: tuple(sorted(pictures)) for stem, pictures in sorted(found.items())}


def _unreadable(path: Path, reason: str) -> CheckpointError:
    way_out = (
        "Restore it" if path.name == RECIPE_FILE else "Restore it, or remove it to get a report without it"
    )
    return CheckpointError(f"{str(path)!r} cannot be read: {reason}. {way_out}.")
