"""A study's trials in, who races whom out: rules, the models of each setting, their rungs and their scores there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vfmseg.errors import StudyError
from vfmseg.runs.recipe import in_steps
from vfmseg.studies.folder import RESULT, trial_folder
from vfmseg.studies.study_file import SEED, Study
from vfmseg.studies.trials import Trial


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a race is run."""

    shares: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2)
    """Shares of a trial's steps, increasing, below 1; the first validation at or after each is a rung."""
    eta: float = 2.0
    """What the number of models is divided by at a rung, where the noise allows."""
    confidence: float = 0.95
    """Of all decisions in a setting together."""


@dataclass
class Contest:
    """The race in one setting."""

    setting: str
    runs: dict[str, tuple[Trial, ...]]
    """Model -> its trials, one a seed."""
    alive: list[str] = field(default_factory=list)
    """Models still trained, in the order of the study."""
    stopped_at: dict[str, int] = field(default_factory=dict)
    """Model -> step of the rung at which it left."""
    rungs: list[dict[str, Any]] = field(default_factory=list)
    """What each rung decided."""
    winners: tuple[str, ...] = ()
    """Models that may be the best; none before the race has ended."""

    @property
    def cost_share(self) -> float:
        """Steps trained over those of training every model to the end."""
        spent = total = 0
        for model, trials in self.runs.items():
            for trial in trials:
                assert trial.recipe is not None
                steps = trial.recipe.training.steps
                total += steps
                spent += min(self.stopped_at.get(model, steps), steps)
        return spent / total


def contests_of(study: Study, trials: Sequence[Trial]) -> list[Contest]:
    """Return what races against what: the models of each setting.

    Raises:
        StudyError: a model has one seed, which does not tell chance from difference, or fewer than another one.
    """
    found: dict[str, dict[str, list[Trial]]] = {}
    for trial in trials:
        if trial.prepares is None and not trial.is_left_out:
            setting = " ".join(trial.levels[axis] for axis in study.setting_axes)
            found.setdefault(setting, {}).setdefault(trial.levels[study.ranked], []).append(trial)
    if SEED not in study.axes or len(study.axes[SEED]) < 2:
        raise StudyError(
            f"The study {study.name} has one seed, which does not tell chance from difference, so a race could stop "
            "nobody. Add an axis such as `seed: [0, 1, 2]`, or leave --race out."
        )
    for setting, runs in found.items():
        seeds = sorted({len(own) for own in runs.values()})
        if seeds[0] < 2 or len(seeds) > 1:
            where = f" of {setting}" if setting else ""
            raise StudyError(
                f"The study {study.name} leaves models{where} {' or '.join(map(str, seeds))} seeds. A race needs as many "
                "of each, two at least: change what `skip` leaves out, or leave --race out."
            )
    return [
        Contest(setting, {model: tuple(own) for model, own in runs.items()}, list(runs))
        for setting, runs in found.items()
    ]


def rung_step(trial: Trial, share: float) -> int | None:
    """Return the step of the first validation at or after a share of a trial's steps; None where that is its end."""
    assert trial.recipe is not None
    training = trial.recipe.training
    every = in_steps(training.validate_every, training.steps)
    step = math.ceil(share * training.steps / every) * every
    return step if step < training.steps else None


def refuse_without_rungs(contests: Sequence[Contest], rules: Rules) -> None:
    """Raise StudyError where a trial has no validation before its end."""
    first = rules.shares[0]
    for contest in contests:
        for trials in contest.runs.values():
            for trial in trials:
                if rung_step(trial, first) is None:
                    raise StudyError(
                        f"Trial {trial.label} ({trial.id}) is not validated before its end, so a race cannot judge it. "
                        f"Set training.validate_every {first} in the study's keys, or leave --race out."
                    )


def scores_of(contest: Contest, steps: Mapping[str, int] | None, results: Path) -> dict[str, list[float]]:
    """Return what models in the race scored at their trials' steps, or at the end; without those that lack a score."""
    found = {}
    for model in contest.alive:
        trials = [t for t in contest.runs[model] if steps is None or t.id in steps]
        scores = [score_at(t, None if steps is None else steps[t.id], results) for t in trials]
        known = [score for score in scores if score is not None]
        if len(known) == len(contest.runs[model]):
            found[model] = known
    return found


def headline_of(trial: Trial) -> str:
    """Return the number that a trial is judged by, such as ``val/miou``."""
    from vfmseg.tasks.catalog import build_task

    assert trial.recipe is not None
    return build_task(trial.recipe.task).headline


def score_at(trial: Trial, step: int | None, results: Path) -> float | None:
    """Return what the validation of a step found, or the last one of a finished run; None where there is none."""
    from vfmseg.training.callbacks.history import read_rows

    folder = trial_folder(results, trial.id)
    column, finished = headline_of(trial), (folder / RESULT).is_file()
    rows = [row for row in read_rows(folder / "metrics.csv") if row.get(column) is not None]
    if step is not None:
        rows = [row for row in rows if (row["step"] or 0) <= step]
        # a run that stopped early has no later one
        rows = [row for row in rows if row["step"] == step] or (rows[-1:] if finished else [])
    elif not finished:
        rows = []
    return float(rows[-1][column] or 0.0) if rows else None
