"""Rankings of settings in, what something cheaper would have said in their place out: a cheap setting, or fewer steps."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vfmseg.errors import StudyError
from vfmseg.studies.analysis_agreement import common_scores, tau_of, tau_of_scores
from vfmseg.studies.analysis_ranking import RankedSetting
from vfmseg.studies.folder import trial_folder
from vfmseg.studies.statistics.agreement import MIN_MODELS
from vfmseg.studies.store import Row

_TIME = "cost/seconds_alone"
_MOST_READ = 500
"""Runs whose validations are read."""
_MOST_STEPS = 8
"""Validations that are compared with the end."""


@dataclass(frozen=True, kw_only=True)
class ProxyResult:
    """How well a cheap setting stands for a dear one."""

    setting: str
    against: str
    tau: float | None
    cost_share: float
    """Time of its trials over the time of the others'."""
    choice: str
    """The model that it puts first; of equal ones that which is worst in the dear setting."""
    regret: float
    """Score that this choice loses in the dear setting, in 0..1; 0 if it is right."""


@dataclass(frozen=True, kw_only=True)
class EarlyRanking:
    """How well an earlier validation stands for the end of the same runs."""

    step: int
    """Reached on the schedule of the whole training."""
    share: float
    """Of the training steps of these runs, in 0..1."""
    tau: float | None
    choice: str
    """The model that it puts first; of equal ones that which is worst at the end."""
    regret: float
    """Score that this choice loses at the end, in 0..1; 0 if it is right."""
    runs: int
    """Whose validations were read: the same number of each model, as far as they have so many."""


def proxies_of(ranked: Sequence[RankedSetting], reference: RankedSetting | None) -> tuple[ProxyResult, ...]:
    """Return how well cheap settings stand for the reference and for the dearest one, of those with a known time."""
    timed = [
        (one, float(np.mean(seconds)))
        for one in ranked
        if one.setting.target is None and (seconds := _seconds(one)) is not None
    ]
    if len(timed) < 2:
        return ()
    dearest = max(timed, key=lambda pair: pair[1])[0]
    found = []
    for full in {id(one): one for one in (reference, dearest) if one is not None}.values():
        for cheap, _ in timed:
            models, x, y = common_scores(cheap, full)
            if cheap is full or not models:
                continue
            spent, whole = (
                [one.setting.cost(model, _TIME) or 0.0 for model in models] for one in (cheap, full)
            )
            if min(*spent, *whole) <= 0 or sum(spent) >= sum(whole):
                continue
            choice = _choice(x, y)
            found.append(
                ProxyResult(
                    setting=cheap.setting.name,
                    against=full.setting.name,
                    tau=tau_of(cheap, full),
                    cost_share=sum(spent) / sum(whole),
                    choice=models[choice],
                    regret=float(y.max() - y[choice]),
                )
            )
    return tuple(found)


def _seconds(one: RankedSetting) -> list[float] | None:
    values = [one.setting.cost(model, _TIME) for model in one.setting.models]
    return (
        None if any(value is None for value in values) else [value for value in values if value is not None]
    )


def fewer_steps(reference: RankedSetting | None, results: Path) -> tuple[tuple[EarlyRanking, ...], str]:
    """Return how earlier validations of the reference rank the models, and in words why that is not known, if need be.

    Args:
        reference: Nothing is said without it, or of fewer than three models.
        results: Folder of results, for the ``metrics.csv`` of the reference's runs.

    Raises:
        StudyError: a ``metrics.csv`` is damaged.
    """
    if reference is None or len(reference.setting.models) < MIN_MODELS:
        return (), ""
    setting = reference.setting
    each = _MOST_READ // len(setting.models)
    if not each:
        return (), f"Rankings at fewer steps are made of up to {_MOST_READ} models."
    curves = {
        model: [_curve(row, setting.column, results) for row in rows[:each]]
        for model, rows in setting.runs.items()
    }
    runs = [curve for of_model in curves.values() for curve in of_model]
    if not any(len(curve) > 1 for curve in runs):
        return (), ""
    shared = set.intersection(*(set(curve) for curve in runs))
    first_end = min(max(curve, default=0) for curve in runs)
    steps = sorted(step for step in shared if step < first_end)
    if not steps:
        return (
            (),
            f"Rankings at fewer steps are not known: the runs of {setting.name} share no validation before the end.",
        )
    steps_of_all = sum(map(max, runs))
    ends = _means({model: [curve[max(curve)] for curve in own] for model, own in curves.items()})
    found = []
    for place in sorted({round(place) for place in np.linspace(0, len(steps) - 1, _MOST_STEPS)}):
        step = steps[place]
        early = _means({model: [curve[step] for curve in own] for model, own in curves.items()})
        choice = _choice(early, ends)
        found.append(
            EarlyRanking(
                step=step,
                share=step * len(runs) / steps_of_all,
                tau=tau_of_scores(early, ends),
                choice=setting.models[choice],
                regret=float(ends.max() - ends[choice]),
                runs=len(runs),
            )
        )
    return tuple(found), ""


def _choice(cheap: np.ndarray, dear: np.ndarray) -> int:
    """Return the place of the model that the cheap scores put first; of equal ones that which the dear ones put last."""
    firsts = np.flatnonzero(cheap == cheap.max())
    return int(firsts[np.argmin(dear[firsts])])


def _means(scores: Mapping[str, Sequence[float]]) -> np.ndarray:
    return np.array([statistics.fmean(own) for own in scores.values()])


def _curve(row: Row, column: str, results: Path) -> dict[int, float]:
    """Return step -> score of a run's validations; nothing where it kept none.

    The reader of :mod:`vfmseg.training` would load Lightning, which takes longer than a report.
    """
    path = trial_folder(results, str(row["id"])) / "metrics.csv"
    found: dict[int, float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                if (text := line.get(column)) and math.isfinite(score := float(text)):
                    found[int(line["step"])] = score
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, csv.Error) as error:
        raise StudyError(
            f"{path} is damaged ({error}). Delete the trial's folder {path.parent} to have it run again."
        ) from error
    return found
