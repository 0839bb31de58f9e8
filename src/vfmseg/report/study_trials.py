"""Turns the trials of a study into tables of a page: what failed and why, where they ran, how each is made again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vfmseg.report.numbers import duration, points
from vfmseg.report.study_tables import MOST_ROWS, Cell, Table, table_of
from vfmseg.studies.folder import trial_folder
from vfmseg.studies.plan_file import Plan
from vfmseg.studies.store import Row

_VERSIONS = ("host", "device", "vfmseg", "commit", "torch", "timm", "precision", "accelerator")


def trouble_table(rows: Sequence[Row], plan: Plan) -> Table | None:
    """Return trials that failed, were left out or stopped by a race, equal reasons together; None without any."""
    of: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["status"] in ("failed", "damaged", "left out") or is_stopped(row):
            of.setdefault((str(row["status"]), str(row["reason"])), []).append(row)
    if not of:
        return None
    found = [
        (
            f"{status} ({len(own)})",
            reason,
            "; ".join(label(row, plan) for row in own[:5]) + (" …" if len(own) > 5 else ""),
        )
        for (status, reason), own in sorted(of.items())
    ]
    return table_of("Trials without a score, and why", ("What", "Why", "Which"), found, is_words=True)


def is_stopped(row: Row) -> bool:
    """Return whether a race stopped the trial before its end."""
    return str(row["status"]).startswith("stopped")


def shares_features(rows: Sequence[Row]) -> bool:
    """Return whether a trial has read features of a frozen encoder that another one had computed."""
    return any(float(row.get("features/read") or 0) > 0 for row in rows)


def environment_table(rows: Sequence[Row]) -> Table:
    """Return the machines and versions that trials ran with, and how many trials each."""
    found = []
    for key in _VERSIONS:
        counts = Counter(str(row[key]) for row in rows if row.get(key) not in (None, ""))
        if counts:
            words = [
                f"{value} ({count})" if len(counts) > 1 else value for value, count in counts.most_common(8)
            ]
            found.append(
                (key, ", ".join(words) + (f" and {len(counts) - 8} more" if len(counts) > 8 else ""))
            )
    return table_of(
        "Where the trials ran; numbers of trials in brackets", ("What", "Value"), found, is_words=True
    )


def trials_table(rows: Sequence[Row], plan: Plan, results: Path) -> Table:
    """Return the first trials with their scores and the command that makes each again."""
    found = []
    for row in rows[:MOST_ROWS]:
        score = next(
            (row.get(key.replace("best/", "val/", 1)) for key in row if key.startswith("best/")), None
        )
        seconds = row.get("cost/seconds")
        recipe = trial_folder(results, str(row["id"])) / "recipe.yaml"
        command = f"vfmseg fit -c {shlex.quote(str(recipe))} --out runs/{row['id']}"
        found.append(
            (
                Cell(label(row, plan)),
                Cell(str(row["status"])),
                Cell(points(score) if isinstance(score, float) else "–"),
                Cell(duration(float(seconds)) if seconds else "–"),
                Cell(command, is_code=True) if row["status"] in ("done", "failed") else Cell("–"),
            )
        )
    left_out = len(rows) - len(found)
    note = f"{left_out:,} more rows are in trials.csv, in the same form." if left_out > 0 else ""
    header = ("Trial", "Status", "Score", "Time", "Command that makes it again")
    return Table("Trials in the order of the study", header, tuple(found), note)


def label(row: Row, plan: Plan) -> str:
    """Return a trial's levels in a word each."""
    if row["prepares"]:
        return f"prepare {row['prepares']}"
    return " ".join(f"{'seed ' if axis == 'seed' else ''}{row[f'axis.{axis}']}" for axis in plan.axes)
