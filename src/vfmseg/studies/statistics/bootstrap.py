"""Two models on the same images in, the difference of their pooled scores with a bootstrap interval and p value out.

Answers: would other images of this kind show the same difference between *these* trained models? What another seed
would do is not in it; :func:`vfmseg.studies.statistics.noise.seed_and_image_noise` has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vfmseg.studies.statistics.images import (
    ImageCounts,
    pooled_scores,
    resampled_scores,
    scores_without_each,
)
from vfmseg.studies.statistics.seeds import check_confidence, places_of

Floats = NDArray[np.float64]
Method = Literal["bca", "percentile"]


@dataclass(frozen=True, kw_only=True)
class BootstrapDifference:
    """Score of ``first`` less that of ``second``, in the unit of the scores (0..1 for mIoU)."""

    first: str
    second: str
    difference: float
    se: float
    """Standard deviation of the resampled differences."""
    lower: float
    upper: float
    p: float
    """Two-sided, of no difference: twice the share of resampled differences on the other side of 0, at most 1."""


def paired_bootstrap(
    counts: ImageCounts,
    first: str,
    second: str,
    *,
    confidence: float = 0.95,
    method: Method = "bca",
    draws: int = 10_000,
    rng_seed: int = 0,
) -> BootstrapDifference:
    """Compare two models by resampling the images that both predicted.

    A model with several runs has the mean of their scores.

    Args:
        counts: Of these models, and maybe others.
        first: A model of ``counts``.
        second: Another one.
        confidence: Of the interval, in 0..1.
        method: ``percentile``, or ``bca``: bias-corrected and accelerated (Efron 1987), better where resampled
            differences lie askew, as with few images of a rare class.
        draws: R, resampled sets of images.
        rng_seed: The same seed gives the same result.

    Raises:
        StudyError: a model that ``counts`` has not, or a confidence outside 0..1.
    """
    check_confidence(confidence)
    index = places_of(counts.models, first, second)
    sign = ((counts.model_of_run == i) / counts.runs_per_model[i] for i in index)
    weights = next(sign) - next(sign)  # (T,) of runs in the difference
    used = weights != 0
    pair = ImageCounts(
        models=(first, second),
        model_of_run=(counts.model_of_run[used] == index[1]).astype(np.int64),
        intersections=counts.intersections[used],
        unions=counts.unions[used],
    )
    difference = float(pooled_scores(pair) @ weights[used])
    resampled = resampled_scores(pair, draws, np.random.default_rng(rng_seed)) @ weights[used]
    if method == "bca":
        jackknife = scores_without_each(pair) @ weights[used]
        lower, upper = bca_interval(resampled, difference, jackknife, confidence)
    else:
        lower, upper = percentile_interval(resampled, confidence)
    return BootstrapDifference(
        first=first,
        second=second,
        difference=difference,
        se=float(resampled.std(ddof=1)),
        lower=lower,
        upper=upper,
        p=two_sided_p(resampled),
    )


def percentile_interval(resampled: Floats, confidence: float) -> tuple[float, float]:
    """Return the quantiles of (R,) resampled estimates that leave out equal shares at both ends."""
    lower, upper = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(lower), float(upper)


def bca_interval(
    resampled: Floats, estimate: float, jackknife: Floats, confidence: float
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval (Efron 1987, "Better bootstrap confidence intervals").

    Args:
        resampled: (R,) resampled estimates.
        estimate: Of all the data.
        jackknife: (N,) estimates with one observation left out.
        confidence: Of the interval, in 0..1.

    Returns:
        The percentile interval where all resampled estimates lie on one side of the estimate, or none differs from
        it: there the correction has no value.
    """
    below = ((resampled < estimate).mean() + (resampled <= estimate).mean()) / 2
    if not 0 < below < 1:
        return percentile_interval(resampled, confidence)
    bias = stats.norm.ppf(below)
    deviations = jackknife.mean() - jackknife
    spread = (deviations**2).sum()
    # Rounding alone would make an acceleration out of nothing.
    is_constant = spread <= len(jackknife) * (1e-14 * np.abs(jackknife).max()) ** 2
    acceleration = 0.0 if is_constant else (deviations**3).sum() / (6 * spread**1.5)
    z = stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2]) + bias
    lower, upper = np.quantile(resampled, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(lower), float(upper)


def two_sided_p(resampled: Floats) -> float:
    """Return the p value of "the estimate is 0" from (R,) resampled estimates; never below 2 / (R + 1)."""
    at_most, at_least = (resampled <= 0).sum(), (resampled >= 0).sum()
    return float(min(1.0, 2 * (1 + min(at_most, at_least)) / (len(resampled) + 1)))
