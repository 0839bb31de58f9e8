"""Scores with known errors in, a ranking out that says how sure it is: rank sets, groups, possible winners.

Of all differences between two models, intervals are made that hold together with the given confidence (max-t: the
critical value is the quantile of the largest studentised error among all pairs). A model is surely better than another
where the interval of their difference leaves out 0. The rank set of a model reaches from 1 + the models that are surely
better to J - the models that are surely worse (Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for Ranks",
doi 10.1093/restud/rdad006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.noise import ScoreNoise, Source, over_errors
from vfmseg.studies.statistics.seeds import check_confidence, places_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """J models with ranks (1 is best) and what the data leave possible. Matrices are [row less column]."""

    models: tuple[str, ...]
    source: Source
    """What was left to chance: seeds, images, or both. Nothing is said about what was not."""
    confidence: float
    scores: Floats
    """(J,)"""
    ranks: NDArray[np.int64]
    """(J,) 1 + the number of models with a better score; equal scores share a rank."""
    best_ranks: NDArray[np.int64]
    """(J,)"""
    worst_ranks: NDArray[np.int64]
    """(J,) With ``confidence``, all true ranks at once lie between ``best_ranks`` and ``worst_ranks``, or more often."""
    differences: Floats
    """(J, J) score of the row less score of the column."""
    lower: Floats
    """(J, J)"""
    upper: Floats
    """(J, J) With ``confidence``, all true differences at once lie between ``lower`` and ``upper``."""
    adjusted_p: Floats
    """(J, J) p value of "no difference", adjusted for all pairs; 1 on the diagonal."""
    is_better: Flags
    """(J, J) the row is surely better than the column."""
    groups: tuple[tuple[str, ...], ...]
    """Largest sets of models in which none is surely better than another, best first; a model may be in several."""
    possible_winners: tuple[str, ...]
    """With ``confidence``, the best model is among them: a promise of its own (subset selection, Gupta 1965)."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two models, as if they had been the only question from the start; in the unit of the scores."""

    first: str
    second: str
    difference: float
    """Score of ``first`` less score of ``second``."""
    se: float
    lower: float
    upper: float
    p: float
    """Two-sided, of no difference; not adjusted for other pairs that were looked at."""


def rank_models(
    noise: ScoreNoise, *, confidence: float = 0.95, higher_is_better: bool = True, stepdown: bool = False
) -> Ranking:
    """Rank models by their scores, with the set of ranks that each can have.

    Args:
        noise: From ``seed_noise``, ``image_noise`` or ``seed_and_image_noise``.
        confidence: Of all rank sets together, in 0..1.
        higher_is_better: False for errors and costs.
        stepdown: Test what is left again after each finding (Romano and Wolf 2005): ``is_better`` finds more with the
            same promise, while ``lower`` and ``upper`` stay as they are and may hold 0 where it found a difference.

    Raises:
        StudyError: fewer than two models, or a confidence outside 0..1.
    """
    check_confidence(confidence)
    count = len(noise.models)
    if count < 2:
        raise StudyError(f"{count} model cannot be ranked. Give two or more.")
    se = noise.standard_errors()
    differences = noise.scores[:, None] - noise.scores
    goodness = differences if higher_is_better else -differences
    statistics = over_errors(goodness, se)
    pairs = ~np.eye(count, dtype=bool)

    largest, winner_bounds = _all_errors(noise, confidence)
    critical = _quantile(largest, confidence)
    is_better = pairs & (statistics > critical)
    while stepdown and is_better.any():
        of_rest = _quantile(_largest_errors(noise, pairs & ~is_better), confidence)
        found = pairs & (is_better | (statistics > of_rest))
        if (found == is_better).all():
            break
        is_better = found

    exceeded = np.searchsorted(np.sort(largest), np.abs(statistics))
    adjusted_p = (1 + len(largest) - exceeded) / (1 + len(largest))
    np.fill_diagonal(adjusted_p, 1.0)
    order = np.argsort(-noise.scores if higher_is_better else noise.scores, kind="stable")
    groups = _largest_sets(~(is_better | is_better.T), order)
    winners = [j for j in order if statistics[:, j].max() <= winner_bounds[j]]
    return Ranking(
        models=noise.models,
        source=noise.source,
        confidence=confidence,
        scores=noise.scores,
        ranks=1 + (goodness < 0).sum(axis=1),
        best_ranks=1 + is_better.sum(axis=0),
        worst_ranks=count - is_better.sum(axis=1),
        differences=differences,
        lower=differences - critical * se,
        upper=differences + critical * se,
        adjusted_p=adjusted_p,
        is_better=is_better,
        groups=tuple(tuple(noise.models[j] for j in group) for group in groups),
        possible_winners=tuple(noise.models[j] for j in winners),
    )


def compare_two(noise: ScoreNoise, first: str, second: str, *, confidence: float = 0.95) -> Difference:
    """Return the difference of two models that were chosen before any score was seen.

    Seeds alone give the t test with pooled variance; with images, t is replaced by the drawn studentised errors.

    Raises:
        StudyError: a model that ``noise`` has not, one model twice, or a confidence outside 0..1.
    """
    check_confidence(confidence)
    j, k = places_of(noise.models, first, second)
    if first == second:
        raise StudyError(f"{first} cannot be compared with itself. Name another model.")
    se = noise.standard_errors()
    difference = float(noise.scores[j] - noise.scores[k])
    statistic = abs(float(over_errors(np.array([difference]), se[j, [k]])[0]))
    if noise.images is None and noise.seeds is not None:
        critical = float(stats.t.ppf((1 + confidence) / 2, noise.seeds.dof))
        p = float(2 * stats.t.sf(statistic, noise.seeds.dof))
    else:
        errors = np.abs(noise.studentized_errors(j)[:, k])
        critical = _quantile(errors, confidence)
        p = float((1 + (errors >= statistic).sum()) / (1 + len(errors)))
    half = critical * float(se[j, k])
    return Difference(
        first=first,
        second=second,
        difference=difference,
        se=float(se[j, k]),
        lower=difference - half,
        upper=difference + half,
        p=p,
    )


def _all_errors(noise: ScoreNoise, confidence: float) -> tuple[Floats, list[float]]:
    """Return (R,) the largest studentised errors among all pairs, and J bounds for winners.

    A bound says how many standard errors the best of the others may lie above a model if that model is the best. It is
    one-sided: how far resampled images are askew matters, and is badly known, so the errors turned round have a say, too.
    """
    largest, bounds = np.zeros(1), []
    for j in range(len(noise.models)):
        others = np.delete(noise.studentized_errors(j), j, axis=1)
        above, below = -others.min(axis=1), others.max(axis=1)
        largest = np.maximum(largest, below)
        both = np.concatenate([above, below])
        bounds.append(max(_quantile(above, confidence), _quantile(both, confidence)))
    return largest, bounds


def _largest_errors(noise: ScoreNoise, pairs: Flags) -> Floats:
    """Return (R,) the largest studentised error of "row less column" among the given (J, J) ordered pairs."""
    rows = np.flatnonzero(pairs.any(axis=1))
    return np.max([noise.studentized_errors(int(j))[:, pairs[j]].max(axis=1) for j in rows], axis=0)


def _quantile(drawn: Floats, confidence: float) -> float:
    return float(np.quantile(drawn, confidence, method="higher"))


def _largest_sets(alike: Flags, order: NDArray[np.int64]) -> list[list[int]]:
    """Return all largest sets of models that are pairwise ``alike``, sorted by ``order``.

    Algorithm 457 of Bron and Kerbosch (1973), with a pivot.
    """
    neighbours = [set(np.flatnonzero(row).tolist()) - {j} for j, row in enumerate(alike)]
    place = {int(j): i for i, j in enumerate(order)}
    found: list[list[int]] = []

    def grow(members: set[int], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded:
            found.append(sorted(members, key=place.__getitem__))
            return
        pivot = max(candidates | excluded, key=lambda j: len(candidates & neighbours[j]))
        for j in sorted(candidates - neighbours[pivot]):
            grow(members | {j}, candidates & neighbours[j], excluded & neighbours[j])
            candidates = candidates - {j}
            excluded = excluded | {j}

    grow(set(), set(range(len(alike))), set())
    return sorted(found, key=lambda group: [place[j] for j in group])
