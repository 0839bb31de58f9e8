"""A folder of results in, one flat table out: a row for every combination, whatever became of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vfmseg.errors import StudyError
from vfmseg.models.writing import whole_file
from vfmseg.studies.costs import cost_of
from vfmseg.studies.folder import (
    FAILURE,
    FEATURES,
    RESULT,
    SPEED,
    STOPPED,
    TARGETS,
    TARGETS_RESULT,
    TRIALS,
    is_done,
    read_json,
    trial_folder,
)
from vfmseg.studies.plan_file import PLAN, Plan, Planned, plan_of, read_plan
from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import Trial

CSV, PARQUET = "trials.csv", "trials.parquet"
Row = dict[str, Any]
"""Column -> value; what a trial does not have is missing."""
_FROM_ENVIRONMENT = ("host", "device", "commit", "vfmseg", "torch", "timm")


def table(study: Study, trials: Sequence[Trial], results: Path) -> list[Row]:
    """Return a row for every trial: levels, status, scores, cost, sizes, versions.

    A trial of which a file is damaged has the status ``damaged``, and the reason names the file.
    """
    return rows_of(plan_of(study, trials), results)


def rows_of(plan: Plan, results: Path) -> list[Row]:
    """Return the table of a folder of results whose plan was read; see :func:`table`."""
    return [_row(plan, trial, results) for trial in plan.trials]


def write_rows(rows: Sequence[Row], results: Path) -> Path:
    """Write ``trials.csv``, and ``trials.parquet`` where pyarrow is installed; return the former's path.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    path = results / CSV
    _write_parquet(rows, columns, results / PARQUET)
    # last: by its age it is decided whether both are written anew
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def refresh_table(results: Path, rows: Sequence[Row] | None = None) -> None:
    """Write the table anew where a trial has come further since it was written, or where there is none.

    Args:
        results: folder of results.
        rows: the table, if it has just been read.

    Raises:
        StudyError: the folder holds no study, or its plan is damaged.
        ResourceError: the disk is full or the folder cannot be written.
    """
    path = results / CSV
    if path.is_file() and path.stat().st_mtime_ns >= _last_change(results):
        return
    write_rows(rows_of(read_plan(results), results) if rows is None else rows, results)


def _last_change(results: Path) -> int:
    """Return when a file of a trial was last made or replaced, or the plan was, in nanoseconds."""
    places = [results / PLAN, *(results / TRIALS).glob("*"), *(results / TRIALS).glob(f"*/{TARGETS}")]
    return max((place.stat().st_mtime_ns for place in places if place.exists()), default=0)


def _row(plan: Plan, trial: Planned, results: Path) -> Row:
    row: Row = {"id": trial.id, "study": plan.name, "prepares": trial.prepares or ""}
    row |= {f"axis.{axis}": trial.levels.get(axis, "") for axis in plan.axes}
    if trial.skipped is not None:
        return row | {"status": "left out", "reason": trial.skipped}
    row |= {f"recipe.{key}": value for key, value in trial.keys.items()}
    try:
        return row | _outcome(plan, trial, results)
    except StudyError as damaged:  # of one trial among thousands
        return row | {"status": "damaged", "reason": str(damaged)}


def _outcome(plan: Plan, trial: Planned, results: Path) -> Row:
    row: Row
    folder = trial_folder(results, trial.id)
    targets = {} if trial.prepares is not None else plan.targets
    failure = read_json(folder / FAILURE)
    if is_done(folder, {name: dict(keys) for name, keys in targets.items()}):
        row = {"status": "done", "reason": ""}
    elif failure is not None:
        row = {"status": "failed", "reason": failure["error"]}
    elif (stopped := read_json(folder / STOPPED)) is not None:
        row = {"status": f"stopped at {stopped['step']}", "reason": stopped["reason"]}
        row |= stopped["scores"]
    else:
        return {"status": "waiting", "reason": ""}
    row |= read_json(folder / RESULT) or {}
    row |= read_json(folder / SPEED) or {}
    scored = read_json(folder / TARGETS_RESULT) if targets else None
    for name, of_target in (scored or {}).get("targets", {}).items():
        row |= {f"target/{name}/{key}": value for key, value in of_target.items() if "/" in key}
    row |= {f"cost/{key}": value for key, value in cost_of(folder).items()}
    row |= {f"features/{key}": value for key, value in (read_json(folder / FEATURES) or {}).items()}
    environment = read_json(folder / "environment.json") or {}
    return row | {key: environment[key] for key in _FROM_ENVIRONMENT if key in environment}


def _write_parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:  # an extra: trials.csv holds the same
        path.unlink(missing_ok=True)  # of an earlier table
        return
    whole = pyarrow.table({column: _of_one_type([row.get(column) for row in rows]) for column in columns})
    with whole_file(path) as partial:
        pyarrow.parquet.write_table(whole, partial)


def _of_one_type(values: list[Any]) -> list[Any]:
    """Return a column as Parquet takes it: numbers of both kinds as floats, and words for all where one is a word."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2:
        return values
    kind = float if kinds == {int, float} else str
    return [None if value is None else kind(value) for value in values]
