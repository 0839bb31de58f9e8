"""Scores of models under several seeds in, their means, spread and t intervals out.

A score is a random number: another seed gives another one. Here it is taken as normal, with the same standard
deviation for every model, which is therefore estimated from all models together ("pooled"): with 3 seeds a model's own
standard deviation is wrong by half of itself more often than not, that of 10 models with 3 seeds each is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vfmseg.errors import StudyError, nearest

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """One model over its seeds, in the unit of the scores."""

    model: str
    n: int
    """How many seeds there are."""
    mean: float
    sd: float | None
    """Standard deviation of the sample (divisor n - 1); None with one seed."""
    lower: float | None
    upper: float | None
    """The t interval of the mean, from this model's seeds alone; None with one seed. It is about one model: whether two
    models differ is not to be read from it (:func:`~vfmseg.studies.statistics.ranks.rank_models`)."""


@dataclass(frozen=True, kw_only=True)
class SeedTable:
    """Scores of J models under S seeds; a cell without a run is NaN."""

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: Floats
    """(J, S) scores, NaN where there is no run."""

    def __post_init__(self) -> None:
        """Refuse a table that has no meaning.

        Raises:
            StudyError: another shape than models x seeds, a name that occurs twice, a score that is infinite, or a
                model without any.
        """
        if self.scores.shape != (len(self.models), len(self.seeds)):
            raise StudyError(
                f"A table of {len(self.models)} models and {len(self.seeds)} seeds has as many rows and columns, "
                f"not the shape {self.scores.shape}."
            )
        check_names("Model", self.models)
        check_names("Seed", self.seeds)
        if np.isinf(self.scores).any():
            raise StudyError("A score is infinite. Give NaN, or no cell, for a run without a score.")
        without = [model for model, n in zip(self.models, self.counts, strict=True) if n == 0]
        if without:
            raise StudyError(
                f"There is no score of {', '.join(without)}. Run them, or leave them out of the ranking."
            )

    @property
    def counts(self) -> NDArray[np.int64]:
        """(J,) how many seeds each model has."""
        return np.isfinite(self.scores).sum(axis=1)

    @property
    def means(self) -> Floats:
        """(J,) mean of each model over the seeds it has."""
        return np.nansum(self.scores, axis=1) / self.counts


@dataclass(frozen=True, kw_only=True)
class PooledSpread:
    """How much a score changes with the seed."""

    variance: float
    """Of one run's score, in the square of the score's unit."""
    dof: int
    """Degrees of freedom of the estimate."""


def seed_table(cells: Iterable[tuple[str, int, float]]) -> SeedTable:
    """Return the table of ``(model, seed, score)`` cells; models and seeds stand in the order of their first cell.

    Raises:
        StudyError: no cells, a cell given twice, an infinite score, or a model without a score.
    """
    found: dict[tuple[str, int], float] = {}
    for model, seed, score in cells:
        if (model, seed) in found:
            raise StudyError(f"Model {model}, seed {seed} is given twice. Keep one of the two runs.")
        found[model, seed] = score
    if not found:
        raise StudyError("There are no scores. Run the study first.")
    models = tuple(dict.fromkeys(model for model, _ in found))
    seeds = tuple(dict.fromkeys(seed for _, seed in found))
    scores = np.array([[found.get((model, seed), np.nan) for seed in seeds] for model in models], dtype=float)
    return SeedTable(models=models, seeds=seeds, scores=scores)


def summarize_seeds(table: SeedTable, *, confidence: float = 0.95) -> tuple[SeedSummary, ...]:
    """Return mean, spread and t interval of every model, in the order of the table.

    Args:
        table: The scores.
        confidence: Of each interval alone, in 0..1.

    Raises:
        StudyError: ``confidence`` is outside 0..1.
    """
    check_confidence(confidence)
    return tuple(
        _summary(model, row[np.isfinite(row)], confidence)
        for model, row in zip(table.models, table.scores, strict=True)
    )


def _summary(model: str, scores: Floats, confidence: float) -> SeedSummary:
    n, mean = len(scores), float(scores.mean())
    if n == 1:
        return SeedSummary(model=model, n=1, mean=mean, sd=None, lower=None, upper=None)
    sd = float(scores.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / n**0.5
    return SeedSummary(model=model, n=n, mean=mean, sd=sd, lower=mean - half, upper=mean + half)


def pooled_spread(table: SeedTable, *, shared_seeds: bool = False) -> PooledSpread:
    """Return the variance between the seeds of a model, from all models together.

    Args:
        table: The scores.
        shared_seeds: A seed moves all models alike (it draws the training images, say): what a seed adds to every
            model is taken out first. The table must then be complete.

    Raises:
        StudyError: no model has two seeds; ``shared_seeds`` with missing cells or with one model.
    """
    scores = table.scores
    if shared_seeds:
        if np.isnan(scores).any() or min(scores.shape) < 2:
            raise StudyError(
                "shared_seeds compares models under the same seeds: it needs two models, two seeds and no missing "
                f"cell, not {table.counts.tolist()} seeds. Run the missing seeds, or leave shared_seeds out."
            )
        residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
        dof = (scores.shape[0] - 1) * (scores.shape[1] - 1)
    else:
        residuals = scores - table.means[:, None]
        dof = int((table.counts - 1).sum())
    if dof == 0:
        raise StudyError(
            "No model has two seeds, so nothing is known about the spread between seeds. Run at least one model "
            "with a second seed, or rank by images (image_noise)."
        )
    return PooledSpread(variance=float(np.nansum(residuals**2)) / dof, dof=dof)


def check_confidence(confidence: float) -> None:
    """Raise StudyError unless ``confidence`` lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise StudyError(f"A confidence of {confidence} is not between 0 and 1. Give 0.95 for 95 %.")


def places_of(models: Sequence[str], *wanted: str) -> tuple[int, ...]:
    """Return where models stand among ``models``; raise StudyError for one that is not there."""
    for model in wanted:
        if model not in models:
            raise StudyError(f"There is no model {model}.{nearest(model, models)}")
    return tuple(models.index(model) for model in wanted)


def check_names(kind: str, names: Iterable[str | int]) -> None:
    """Raise StudyError if a name occurs twice."""
    listed = list(names)
    twice = sorted({str(name) for name in listed if listed.count(name) > 1})
    if twice:
        raise StudyError(f"{kind} {', '.join(twice)} occurs twice. Give each a name of its own.")
