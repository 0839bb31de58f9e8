"""The same models scored in two settings in, how far the two rankings agree out, with intervals and a p value.

Three intervals answer three questions; none stands for another:

- *other models*: had other models of the same kind been compared, what would the coefficient be? (resampled models)
- *same models, other runs*: which coefficients of the true scores do noisy scores leave plausible? (drawn scores)
- *bounds*: between what does tau-b of the true scores surely lie? (pairs whose order is sure in both settings)
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.bootstrap import percentile_interval
from vfmseg.studies.statistics.correlation import Coefficient, correlate
from vfmseg.studies.statistics.noise import ScoreNoise
from vfmseg.studies.statistics.ranks import rank_models
from vfmseg.studies.statistics.seeds import check_confidence

Floats = NDArray[np.float64]

MIN_MODELS = 3
"""With two models a coefficient is 1 or -1 by chance alone."""
MIN_RESAMPLED_MODELS = 5
"""With fewer, resampled models are mostly repetitions of one or two."""
_MAX_ENUMERATED = 8
"""8! = 40,320 orders are enumerated; more models are permuted at random."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Bounds of a coefficient in -1..1."""

    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two settings order the same J models alike: 1 the same order, 0 no relation, -1 reversed."""

    coefficient: Coefficient
    models: int
    """J."""
    value: float | None
    """None where it has no meaning; ``reason`` says why."""
    p: float | None
    """Two-sided, of "the orders have nothing to do with each other", by permutation."""
    is_exact: bool
    """All J! orders were counted (up to 8 models); otherwise ``p`` is from random ones."""
    other_models: Interval | None
    """Percentile interval over resampled models. Rough below about 20 models; None below 5."""
    reason: str
    """Why something is None; empty otherwise."""


def agreement(
    first: ArrayLike,
    second: ArrayLike,
    *,
    coefficient: Coefficient = "kendall",
    confidence: float = 0.95,
    draws: int = 4_000,
    rng_seed: int = 0,
) -> Agreement:
    """Compare the orders of J models in two settings.

    Args:
        first: (J,) scores in one setting, higher is better.
        second: (J,) scores of the same models in the other one.
        coefficient: ``kendall`` tau-b, ``weighted`` (exchanges at the top weigh more) or ``spearman``.
        confidence: Of the interval, in 0..1.
        draws: Resampled sets of models, and random orders where J! are too many.
        rng_seed: The same seed gives the same result.

    Returns:
        No value below 3 models, or where one setting gives all models the same score.

    Raises:
        StudyError: vectors of different length, scores that are missing, a confidence outside 0..1.
    """
    check_confidence(confidence)
    x, y = (np.asarray(scores, dtype=float) for scores in (first, second))
    if x.ndim != 1 or x.shape != y.shape:
        raise StudyError(f"Two settings need one score each of the same models, not {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise StudyError("A model has no score in one of the settings. Compare the models that have both.")
    count = len(x)

    def undefined(reason: str) -> Agreement:
        return Agreement(
            coefficient=coefficient,
            models=count,
            value=None,
            p=None,
            is_exact=False,
            other_models=None,
            reason=reason,
        )

    if count < MIN_MODELS:
        return undefined(f"{count} models have no order to compare: {MIN_MODELS} or more are needed.")
    for name, scores in (("first", x), ("second", y)):
        if (scores == scores[0]).all():
            return undefined(f"All models have the same score in the {name} setting.")
    value = float(correlate(x, y[None], coefficient)[0])
    rng = np.random.default_rng(rng_seed)
    p = _permutation_p(x, y, coefficient, abs(value), draws, rng)
    reason = ""
    interval = None
    if count < MIN_RESAMPLED_MODELS:
        reason = f"{count} models are too few to be resampled: {MIN_RESAMPLED_MODELS} or more are needed."
    else:
        drawn = rng.integers(count, size=(draws, count))
        resampled = correlate(x[drawn], y[drawn], coefficient)
        # A set in which all are tied has no order; that happens to few sets, and they say nothing.
        lower, upper = percentile_interval(resampled[np.isfinite(resampled)], confidence)
        interval = Interval(lower=lower, upper=upper)
    return Agreement(
        coefficient=coefficient,
        models=count,
        value=value,
        p=p,
        is_exact=count <= _MAX_ENUMERATED,
        other_models=interval,
        reason=reason,
    )


def plausible_agreement(
    first: ScoreNoise,
    second: ScoreNoise,
    *,
    coefficient: Coefficient = "kendall",
    confidence: float = 0.95,
    rng_seed: int = 0,
) -> Interval:
    """Return which coefficients of the true scores the noise of both settings leaves plausible.

    True scores are drawn around those seen, independently in the two settings. Noise shuffles models that are close,
    so the interval leans towards 0 where many are; ``agreement_bounds`` does not lean, and is wider.

    Raises:
        StudyError: other models, fewer than 3, or a confidence outside 0..1.
    """
    check_confidence(confidence)
    order = _same_models(first, second)
    rng = np.random.default_rng(rng_seed)
    x, y = first.plausible_scores(), second.plausible_scores()[:, order]
    rows = min(len(x), len(y))
    # Both may come from the same random seed: an own order of one of them parts their draws.
    drawn = correlate(rng.permutation(x)[:rows], y[:rows], coefficient)
    lower, upper = percentile_interval(drawn, confidence)
    return Interval(lower=lower, upper=upper)


def agreement_bounds(
    first: ScoreNoise, second: ScoreNoise, *, confidence: float = 0.95, higher_is_better: bool = True
) -> Interval:
    """Return between what Kendall's tau of the true scores lies, with ``confidence`` or more.

    Each setting is ranked with half of the error, so both rankings hold together. A pair whose order is sure in both
    counts as what it is, any other as what would lower, or raise, tau the most.

    Raises:
        StudyError: other models, fewer than 3, or a confidence outside 0..1.
    """
    check_confidence(confidence)
    order = _same_models(first, second)
    signs = []
    for noise in (first, second):
        found = rank_models(noise, confidence=(1 + confidence) / 2, higher_is_better=higher_is_better)
        signs.append(found.is_better.astype(int) - found.is_better.T)
    product = (signs[0] * signs[1][np.ix_(order, order)])[np.triu_indices(len(order), 1)]
    unsure = (product == 0).sum()
    return Interval(
        lower=float((product.sum() - unsure) / len(product)),
        upper=float((product.sum() + unsure) / len(product)),
    )


def _same_models(first: ScoreNoise, second: ScoreNoise) -> list[int]:
    """Return where the models of ``first`` stand in ``second``."""
    if sorted(first.models) != sorted(second.models):
        only = sorted(set(first.models) ^ set(second.models))
        raise StudyError(f"{', '.join(only)} is in one setting alone. Compare the models that are in both.")
    if len(first.models) < MIN_MODELS:
        raise StudyError(
            f"{len(first.models)} models have no order to compare: {MIN_MODELS} or more are needed."
        )
    return [second.models.index(model) for model in first.models]


def _permutation_p(
    x: Floats, y: Floats, coefficient: Coefficient, value: float, draws: int, rng: np.random.Generator
) -> float:
    """Return the share of orders of ``y`` whose coefficient is as far from 0 as ``value``, or farther."""
    count = len(x)
    if count <= _MAX_ENUMERATED:
        orders = np.array(list(itertools.permutations(range(count))))
    else:
        orders = rng.permuted(np.tile(np.arange(count), (draws, 1)), axis=1)
    found = correlate(x, y[orders], coefficient)
    as_far = int((np.abs(found) >= value - 1e-9).sum())  # rounding must not part equal values
    return as_far / math.factorial(count) if count <= _MAX_ENUMERATED else (1 + as_far) / (1 + draws)
