"""Pairs of score vectors in, Kendall's tau-b, weighted tau and Spearman's rho out, many pairs at once.

Each function works along the last axis, so that thousands of resampled rankings are a few matrix operations. The
values are those of ``scipy.stats`` (kendalltau, weightedtau, spearmanr); NaN where one vector is all tied, which
callers turn into words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Coefficient = Literal["kendall", "weighted", "spearman"]

_CHUNK_VALUES = 1_000_000
"""Numbers per chunk of pairs: 8 MB."""


def kendall_tau(x: Floats, y: Floats) -> Floats:
    """Return tau-b of (..., J) scores: pairs in the same order less pairs in the other, over those not tied.

    Kendall (1945): (C - D) / sqrt((C + D + X)(C + D + Y)), X pairs tied in ``y`` alone, Y in ``x`` alone.
    """
    return _tau(x, y, np.ones(x.shape[-1:]))


def weighted_tau(x: Floats, y: Floats) -> Floats:
    """Return the additive hyperbolic tau of (..., J) scores: exchanges near the top weigh more.

    Vigna (2015, arXiv 1404.3325): a pair weighs 1 / rank + 1 / rank of its members, rank 1 the highest score. It is the
    mean of two values, with ranks by (x, y) and by (y, x).
    """
    return (_tau(x, y, 1 / _ranks(x, y)) + _tau(x, y, 1 / _ranks(y, x))) / 2


def spearman_rho(x: Floats, y: Floats) -> Floats:
    """Return Spearman's rho of (..., J) scores: Pearson's correlation of the ranks, ties sharing their mean."""
    a, b = (stats.rankdata(values, axis=-1) for values in (x, y))
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (a, b))
    return _ratio((a * b).sum(axis=-1), (a**2).sum(axis=-1), (b**2).sum(axis=-1))


def correlate(x: Floats, y: Floats, coefficient: Coefficient) -> Floats:
    """Return the coefficient of (R, J) scores row by row, a few rows at a time, as pairs need R x J x J numbers.

    Args:
        x: (R, J), or (J,) for the same scores in every row.
        y: (R, J)
        coefficient: Which.
    """
    x = np.broadcast_to(x, y.shape)
    size = max(1, _CHUNK_VALUES // y.shape[1] ** 2)
    compute = _COEFFICIENTS[coefficient]
    return np.concatenate([compute(x[i : i + size], y[i : i + size]) for i in range(0, len(y), size)])


_COEFFICIENTS: dict[Coefficient, Callable[[Floats, Floats], Floats]] = {
    "kendall": kendall_tau,
    "weighted": weighted_tau,
    "spearman": spearman_rho,
}


def _tau(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return tau where a pair weighs the sum of its members' weights."""
    signs_x, signs_y = (np.sign(values[..., :, None] - values[..., None, :]) for values in (x, y))
    of_pair = weights[..., :, None] + weights[..., None, :]
    agreeing = (of_pair * signs_x * signs_y).sum(axis=(-1, -2))
    return _ratio(
        agreeing, (of_pair * signs_x**2).sum(axis=(-1, -2)), (of_pair * signs_y**2).sum(axis=(-1, -2))
    )


def _ranks(first: Floats, second: Floats) -> Floats:
    """Return ranks from 1, highest ``first`` before, ties by ``second``, then the later before the earlier."""
    ascending = np.lexsort((second, first), axis=-1)
    ranks = np.empty(first.shape)
    np.put_along_axis(ranks, ascending, np.arange(first.shape[-1], 0, -1.0), axis=-1)
    return ranks


def _ratio(product: Floats, squared_x: Floats, squared_y: Floats) -> Floats:
    """Return product / sqrt(squared_x * squared_y) within -1..1, NaN where either is 0."""
    scale = np.sqrt(squared_x) * np.sqrt(squared_y)
    ratio = np.divide(product, scale, out=np.full(np.shape(product), np.nan), where=scale > 0)
    return np.clip(ratio, -1, 1)
