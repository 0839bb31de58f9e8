"""Quality and costs of models in, those that no other model beats in everything out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.seeds import check_names


@dataclass(frozen=True, kw_only=True)
class ParetoFront:
    """Which models are worth a look when both quality and costs count."""

    models: tuple[str, ...]
    """On the front: no model is at least as good in everything and better in something. Best quality first."""
    dominated_by: dict[str, tuple[str, ...]]
    """Every other model -> the models on the front that are at least as good in everything and better in something."""
    unknown: tuple[str, ...]
    """Models with a number missing. They are in neither of the others."""


def pareto_front(
    models: Sequence[str],
    quality: ArrayLike,
    costs: ArrayLike,
    *,
    higher_is_better: bool = True,
    is_better: NDArray[np.bool_] | None = None,
) -> ParetoFront:
    """Return the front of quality against one or more costs. Models equal in everything are on it together.

    Args:
        models: J names.
        quality: (J,) scores.
        costs: (J,) or (J, C): parameters, seconds, GiB; less is better.
        higher_is_better: False if ``quality`` is an error.
        is_better: (J, J) the row is surely better than the column, of a
            :class:`~vfmseg.studies.statistics.ranks.Ranking`. Given, a model leaves the front only for models that
            cost no more and are surely better: the front holds all that chance might have put below it.

    Raises:
        StudyError: shapes that differ, or a name that occurs twice.
    """
    check_names("Model", models)
    good = np.asarray(quality, dtype=float) * (1 if higher_is_better else -1)
    paid = np.asarray(costs, dtype=float)
    paid = paid[:, None] if paid.ndim == 1 else paid
    count = len(models)
    if good.shape != (count,) or paid.ndim != 2 or len(paid) != count:
        raise StudyError(
            f"{count} models need as many qualities and rows of costs, not {good.shape} and {paid.shape}."
        )
    if is_better is not None and is_better.shape != (count, count):
        raise StudyError(f"is_better of {count} models is {count} x {count}, not {is_better.shape}.")
    known = np.isfinite(good) & np.isfinite(paid).all(axis=1)
    no_dearer = (paid[:, None] <= paid).all(axis=2)
    if is_better is None:
        cheaper = (paid[:, None] < paid).any(axis=2)
        dominates = (good[:, None] >= good) & no_dearer & ((good[:, None] > good) | cheaper)
    else:
        dominates = is_better & no_dearer
    dominates &= known[:, None] & known
    on_front = known & ~dominates.any(axis=0)
    order = sorted(range(count), key=lambda j: (-good[j] if known[j] else 0.0, j))
    return ParetoFront(
        models=tuple(models[j] for j in order if on_front[j]),
        dominated_by={
            models[k]: tuple(models[j] for j in order if on_front[j] and dominates[j, k])
            for k in order
            if known[k] and not on_front[k]
        },
        unknown=tuple(models[j] for j in order if not known[j]),
    )
