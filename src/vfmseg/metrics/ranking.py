"""Turns counts of positives and negatives by score into AUROC, AUPR and FPR95, each with bounds.

Scores may have been counted in bins. What is then computed are the numbers of the binned scores, in which all
scores of a bin are equal; the bounds are those of the best and the worst order within the bins, so that the number
of the scores as they were lies between them. Definitions are those of the BRAVO challenge (arXiv 2409.15107).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALL = 0.95
"""Share of positives that FPR95 asks to be found."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Bounded:
    """A number in 0..1 and what it can be at least and at most; all three are NaN for a ratio of nothing."""

    value: float
    """Of the scores as counted."""
    lower: float
    upper: float
    """Between them lies the number of the scores before they were put into bins, up to rounding in float64."""

    @property
    def error(self) -> float:
        """How far ``value`` may be from the number of the scores before they were put into bins."""
        return max(self.upper - self.value, self.value - self.lower)

    def row(self, key: str) -> dict[str, float | None]:
        """Return ``{key: value, key_bound: error}``, None for NaN."""
        if np.isnan(self.value):
            return {key: None, f"{key}_bound": None}
        return {key: self.value, f"{key}_bound": self.error}


UNDEFINED = Bounded(float("nan"), float("nan"), float("nan"))


def auroc(positives: Counts, negatives: Counts, *, are_values: bool) -> Bounded:
    """Return the area under the curve of true over false positive rate, by trapezoids.

    It is the chance that a positive has a higher score than a negative; equal scores count half.

    Args:
        positives: (D,) positives by score, lowest score first.
        negatives: (D,) negatives.
        are_values: Each entry is one score; otherwise each is a bin, of scores that may differ.

    Returns:
        NaN if there are no positives or no negatives.
    """
    total_positives, total_negatives = int(positives.sum()), int(negatives.sum())
    if not (total_positives and total_negatives):
        return UNDEFINED
    share = positives / total_positives
    below = (negatives.cumsum() - negatives) / total_negatives
    within = negatives / total_negatives
    value = float(share @ (below + within / 2))
    doubt = 0.0 if are_values else float(share @ within) / 2
    return _bounded(value, value - doubt, value + doubt)


def average_precision(positives: Counts, negatives: Counts, *, are_values: bool) -> Bounded:
    """Return the area under the curve of precision over recall, as the sum of (R_n - R_{n-1}) P_n.

    Arguments as :func:`auroc`. Returns NaN if there are no positives.
    """
    found, false = positives[::-1], negatives[::-1]  # highest score first
    total = int(found.sum())
    if not total:
        return UNDEFINED
    found_before, false_before = found.cumsum() - found, false.cumsum() - false

    def area(false_above: Counts) -> float:
        """Return the sum where all positives of a bin are equal and ``false_above`` negatives are not below them."""
        claimed = found_before + found + false_above
        precision = np.divide(found_before + found, claimed, out=np.zeros(len(claimed)), where=claimed > 0)
        return float(found @ precision) / total

    value = area(false_before + false)
    if are_values:
        return _bounded(value, value, value)
    # Best: the positives of a bin above its negatives, all equal. Worst: below them, and all different, so that each
    # has its own precision, (before + i) / (before + i + above) for the i-th. Their sum is that of 1 - above / (...),
    # and the sum of 1 / x over whole numbers is at most the integral from half before to half behind.
    above = false_before + false
    reciprocals = np.log1p(found / (found_before + above + 0.5))
    worst = float((found - above * reciprocals).sum()) / total
    return _bounded(value, worst, area(false_before))


def false_positive_rate(positives: Counts, negatives: Counts, *, are_values: bool) -> Bounded:
    """Return the false positive rate at the highest threshold with a true positive rate of at least 95 %.

    Arguments as :func:`auroc`. Returns NaN if there are no positives or no negatives.
    """
    total_positives, total_negatives = int(positives.sum()), int(negatives.sum())
    if not (total_positives and total_negatives):
        return UNDEFINED
    recall = positives[::-1].cumsum() / total_positives
    at = int(np.argmax(recall >= RECALL))
    rates = negatives[::-1].cumsum() / total_negatives
    value = float(rates[at])
    best = float(rates[at - 1]) if at else 0.0
    return _bounded(value, value if are_values else best, value)


def _bounded(value: float, lower: float, upper: float) -> Bounded:
    """Keep rounding from leaving 0..1 or putting a bound on the wrong side."""
    value = min(max(value, 0.0), 1.0)
    return Bounded(value, max(min(lower, value), 0.0), min(max(upper, value), 1.0))
