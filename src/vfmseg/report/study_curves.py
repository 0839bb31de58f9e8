"""Turns the ``metrics.csv`` of a setting's trials into training curves, a line a model, the mean over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from vfmseg.report.charts import Point, Series, line_chart
from vfmseg.report.curves import Chart
from vfmseg.report.run_folder import History, read_history
from vfmseg.studies.analysis_files import metric_title
from vfmseg.studies.analysis_ranking import SettingRanking
from vfmseg.studies.analysis_settings import Setting
from vfmseg.studies.folder import trial_folder

_MOST_LINES = 5
"""In one chart."""
MOST_MODELS = 15


def study_curves(setting: Setting, ranking: SettingRanking, results: Path) -> list[Chart]:
    """Return charts of loss and score over steps, of the models that rank first.

    Raises:
        CheckpointError: a ``metrics.csv`` cannot be read.
    """
    models = [one.model for one in ranking.models[:MOST_MODELS]]
    histories = {
        model: [
            found
            for row in setting.runs[model]
            if (found := read_history(trial_folder(results, str(row["id"])) / "metrics.csv")) is not None
        ]
        for model in models
    }
    charts = []
    for title, column, is_share in (
        (metric_title(setting.metric), f"val/{setting.metric}", True),
        ("Loss", "train/loss", False),
    ):
        for start in range(0, len(models), _MOST_LINES):
            few = models[start : start + _MOST_LINES]
            series = _series(few, histories, column)
            if max((len(one.points) for one in series), default=0) < 2:
                continue
            # a single line has no legend
            ranks = (
                f"ranks {start + 1} to {start + len(few)}" if len(few) > 1 else f"rank {start + 1}: {few[0]}"
            )
            drawn = line_chart(f"{title}, {ranks}", series, is_share=is_share, smooth=not is_share)
            charts.append(Chart(title, ranks, drawn))
    return charts


def _series(models: Sequence[str], histories: Mapping[str, Sequence[History]], column: str) -> list[Series]:
    found = []
    for model in models:
        runs = [dict(one.columns[column]) for one in histories[model] if column in one.columns]
        if not runs:
            continue
        steps = sorted(set(runs[0]).intersection(*runs[1:]))
        points: list[Point] = [(step, statistics.fmean(run[step] for run in runs)) for step in steps]
        if points:
            found.append(Series(model, tuple(points)))
    return found
