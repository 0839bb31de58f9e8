"""Recorded learning curves in, what a race among the models would have decided, and what it would have cost, out.

A race stops models early: at each rung, a part of the budget, the weak ones leave (successive halving, Jamieson and
Talwalkar 2016, arXiv 1502.07943). Whoever has the curves of a whole study can ask what racing would have saved, and
whether it would have found the same winners. Nothing here can know of curves that cross after a model has left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.agreement import Agreement, agreement
from vfmseg.studies.statistics.correlation import Coefficient
from vfmseg.studies.statistics.noise import ScoreNoise, seed_noise
from vfmseg.studies.statistics.ranks import rank_models
from vfmseg.studies.statistics.seeds import SeedTable, check_names

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One decision of a race."""

    step: float
    """Training steps that each model had had."""
    entered: tuple[str, ...]
    survivors: tuple[str, ...]
    """Who went on, best first."""
    out: tuple[str, ...]
    """Who left, best first."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """What a race decided and cost."""

    rungs: tuple[Rung, ...]
    finalists: tuple[str, ...]
    """Who was trained to the end, best first."""
    winners: tuple[str, ...]
    """Finalists that may be the best, as ``possible_winners`` of a ranking; the first alone without confidence."""
    cost_share: float
    """Cost of the race over the cost of training every model to the end, in 0..1."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """How well a cheap score stands for the full one."""

    agreement: Agreement
    """Of the two orders."""
    cost_share: float
    """Cost of all cheap scores over that of all full ones."""
    regret: float
    """Full score of the best model less that of the cheap score's choice; 0 if the choice is right."""
    choice: str
    """The model with the best cheap score."""
    best: str
    """The model with the best full score."""


def race(
    models: Sequence[str],
    steps: ArrayLike,
    curves: ArrayLike,
    *,
    rungs: Sequence[float],
    eta: float = 2.0,
    confidence: float | None = 0.95,
    costs: ArrayLike | None = None,
    draws: int = 20_000,
    rng_seed: int = 0,
) -> Race:
    """Run successive halving over recorded curves.

    At a rung, ``n`` models become ``ceil(n / eta)``. With a confidence, a model leaves only if so many others are
    surely better that it cannot be among those kept: its best rank is beyond them. The error, 1 - confidence, is
    shared evenly among the rungs and the final, so all decisions hold together. Scores are higher-is-better.

    Args:
        models: J names.
        steps: (L,) increasing training steps at which scores were recorded; the last is the full training.
        curves: (J, L, S) scores of S seeds.
        rungs: Steps of the decisions, increasing, each one of ``steps`` before the last.
        eta: What the number of models is divided by at a rung, above 1.
        confidence: Of all decisions together, in 0..1; None: halve by the means, whatever the noise.
        costs: (J,) cost of a step of each model; all alike if left out.
        draws: Of the errors in each ranking.
        rng_seed: The same seed gives the same result.

    Raises:
        StudyError: shapes that differ, missing scores, rungs that are no steps, eta of 1 or less, or a confidence with
            one seed.
    """
    at, recorded, per_step = _checked(models, steps, curves, rungs, eta, costs)
    if confidence is not None and recorded.shape[2] < 2:
        raise StudyError(
            "One seed does not tell chance from difference. Give two seeds, or confidence=None to halve by the scores."
        )
    each = shared_confidence(confidence, len(rungs))
    alive = list(range(len(models)))
    trained_to = np.full(len(models), at[-1])
    decisions = []
    for rung in rungs:
        scores = recorded[:, int(np.searchsorted(at, rung))]
        entered = [models[j] for j in alive]
        survivors, out = halve(
            entered, scores[alive], eta=eta, confidence=each, draws=draws, rng_seed=rng_seed
        )
        trained_to[[models.index(model) for model in out]] = rung
        decisions.append(Rung(step=float(rung), entered=tuple(entered), survivors=survivors, out=out))
        alive = [j for j in alive if models[j] in survivors]
    final = recorded[alive, -1]
    finalists = tuple(models[j] for _, j in sorted(zip(-final.mean(axis=1), alive, strict=True)))
    winners = possible_winners(
        [models[j] for j in alive], final, confidence=each, draws=draws, rng_seed=rng_seed
    )
    return Race(
        rungs=tuple(decisions),
        finalists=finalists,
        winners=winners,
        cost_share=float(trained_to @ per_step / (at[-1] * per_step.sum())),
    )


def shared_confidence(confidence: float | None, num_rungs: int) -> float | None:
    """Return the confidence of each decision of a race, for one of all: the error is shared among rungs and final."""
    return None if confidence is None else 1 - (1 - confidence) / (num_rungs + 1)


def halve(
    models: Sequence[str],
    scores: ArrayLike,
    *,
    eta: float = 2.0,
    confidence: float | None,
    draws: int = 20_000,
    rng_seed: int = 0,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who goes on after a rung and who leaves, each best first; see :func:`race`.

    Args:
        models: J names.
        scores: (J, S) at the rung, of S seeds; higher is better.
        eta: What the number of models is divided by, above 1.
        confidence: Of this decision, in 0..1; None: by the means, whatever the noise.
        draws: Of the errors.
        rng_seed: The same seed gives the same result.
    """
    found = np.asarray(scores, dtype=float)
    order = sorted(range(len(models)), key=lambda j: -float(found[j].mean()))
    keep = math.ceil(len(models) / eta)
    kept = set(order[:keep])
    if confidence is not None and len(models) > 1:
        ranking = rank_models(_noise(models, found, draws, rng_seed), confidence=confidence)
        kept |= {j for j, best in enumerate(ranking.best_ranks) if best <= keep}
    return tuple(models[j] for j in order if j in kept), tuple(models[j] for j in order if j not in kept)


def possible_winners(
    models: Sequence[str],
    scores: ArrayLike,
    *,
    confidence: float | None,
    draws: int = 20_000,
    rng_seed: int = 0,
) -> tuple[str, ...]:
    """Return who of those trained to the end may be the best, for (J, S) scores; the first alone without confidence."""
    found = np.asarray(scores, dtype=float)
    if confidence is None or len(models) == 1:
        return (models[int(np.argmax(found.mean(axis=1)))],)
    return rank_models(_noise(models, found, draws, rng_seed), confidence=confidence).possible_winners


def proxy(
    models: Sequence[str],
    cheap: ArrayLike,
    full: ArrayLike,
    *,
    cheap_costs: ArrayLike,
    full_costs: ArrayLike,
    coefficient: Coefficient = "kendall",
    confidence: float = 0.95,
    rng_seed: int = 0,
) -> Proxy:
    """Compare a cheap score (fewer steps, a smaller encoder, a part of the images) with the full one.

    Args:
        models: J names.
        cheap: (J,) scores, higher is better.
        full: (J,) scores, higher is better.
        cheap_costs: (J,) or one number: what each cheap score costs, in any unit.
        full_costs: (J,) or one number, in the same unit.
        coefficient: Of the agreement.
        confidence: Of its interval.
        rng_seed: The same seed gives the same result.

    Raises:
        StudyError: shapes that differ, a name that occurs twice, missing scores, or costs that are not positive.
    """
    check_names("Model", models)
    found = agreement(cheap, full, coefficient=coefficient, confidence=confidence, rng_seed=rng_seed)
    if found.models != len(models):
        raise StudyError(f"{len(models)} models have {found.models} scores. Give one score each.")
    spent, all_of_it = (
        np.broadcast_to(np.asarray(costs, dtype=float), len(models)) for costs in (cheap_costs, full_costs)
    )
    if not ((spent > 0).all() and (all_of_it > 0).all()):
        raise StudyError("A cost is missing, zero or negative. Give what each score took, in one unit.")
    scores = np.asarray(full, dtype=float)
    choice, best = int(np.argmax(np.asarray(cheap, dtype=float))), int(np.argmax(scores))
    return Proxy(
        agreement=found,
        cost_share=float(spent.sum() / all_of_it.sum()),
        regret=float(scores[best] - scores[choice]),
        choice=models[choice],
        best=models[best],
    )


def _checked(
    models: Sequence[str],
    steps: ArrayLike,
    curves: ArrayLike,
    rungs: Sequence[float],
    eta: float,
    costs: ArrayLike | None,
) -> tuple[Floats, Floats, Floats]:
    """Return steps (L,), curves (J, L, S) and costs (J,) as arrays, if they fit together."""
    check_names("Model", models)
    at, recorded = np.asarray(steps, dtype=float), np.asarray(curves, dtype=float)
    per_step = np.ones(len(models)) if costs is None else np.asarray(costs, dtype=float)
    if recorded.ndim != 3 or recorded.shape[:2] != (len(models), len(at)) or per_step.shape != (len(models),):
        raise StudyError(
            f"Curves are models x steps x seeds, here {len(models)} x {len(at)} x S, with a cost for each model, "
            f"not {recorded.shape} and {per_step.shape}."
        )
    if not np.isfinite(recorded).all():
        raise StudyError("A curve has a gap. Give steps at which every model was scored under every seed.")
    if not (np.diff(at) > 0).all() or not at[0] > 0 or not (per_step > 0).all():
        raise StudyError("Steps must be positive and increase, and costs be positive.")
    wrong = [rung for rung in rungs if rung not in at[:-1]]
    if wrong or list(rungs) != sorted(set(rungs)):
        raise StudyError(
            f"Rungs {list(rungs)} must increase and be steps before the last; there are {at[:-1].tolist()}."
        )
    if not eta > 1:
        raise StudyError(f"eta = {eta} lets nobody leave. Give 2 to halve, 3 to keep a third.")
    return at, recorded, per_step


def _noise(models: Sequence[str], scores: Floats, draws: int, rng_seed: int) -> ScoreNoise:
    """Return what is known of (J, S) scores."""
    table = SeedTable(models=tuple(models), seeds=tuple(range(scores.shape[1])), scores=scores)
    return seed_noise(table, draws=draws, rng_seed=rng_seed)
