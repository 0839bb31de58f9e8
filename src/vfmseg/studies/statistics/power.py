"""A difference and its spread in, how many seeds or images would show it out.

The difference should be the smallest that matters ("half a point of mIoU"). Put in what was just observed, and the
answer is as unsure as the observation: it says what a repetition would need *if* the observed value were the true one.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import special

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.seeds import check_confidence

_MOST = 10_000_000


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """How many seeds of each model, or how many images, a t test needs."""

    n: int | None
    """None if no number does; ``reason`` says why."""
    power: float | None
    """Chance that the test with ``n`` finds the difference, in 0..1; at least what was asked for."""
    reason: str
    """Why ``n`` is None; empty otherwise."""


def seeds_to_separate(
    difference: float, sd: float, *, power: float = 0.8, confidence: float = 0.95
) -> SampleSize:
    """Return how many seeds of *each* of two models show a difference of their means.

    Args:
        difference: Between the true means, in the unit of the scores.
        sd: Standard deviation between seeds of one model, the same for both: the root of
            :func:`~vfmseg.studies.statistics.seeds.pooled_spread`'s variance.
        power: Chance to find the difference, in 0..1.
        confidence: 1 less the chance to find one where there is none (two-sided).

    Raises:
        StudyError: an sd that is not positive, a power or confidence outside 0..1.
    """
    return _smallest(abs(difference) / sd if sd > 0 else 0.0, sd, power, confidence, paired=False)


def images_to_separate(
    difference: float, sd: float, *, power: float = 0.8, confidence: float = 0.95
) -> SampleSize:
    """Return how many images that both models predict show a difference.

    Args:
        difference: Between the true pooled scores.
        sd: Standard deviation over images of the difference; of pooled scores such as mIoU, that of
            ``image_influence(counts)[first] - image_influence(counts)[second]``.
        power: Chance to find the difference, in 0..1.
        confidence: 1 less the chance to find one where there is none (two-sided).

    Raises:
        StudyError: an sd that is not positive, a power or confidence outside 0..1.
    """
    return _smallest(abs(difference) / sd if sd > 0 else 0.0, sd, power, confidence, paired=True)


def t_test_power(effect: float, n: int, *, confidence: float = 0.95, paired: bool) -> float:
    """Return the chance that a two-sided t test finds a difference.

    Args:
        effect: Difference over standard deviation: of one observation, or of a difference if ``paired``.
        n: Observations in each of two groups, or pairs; at least 2.
        confidence: 1 less the chance to find a difference where there is none.
        paired: Test of paired observations.
    """
    dof = n - 1 if paired else 2 * (n - 1)
    shift = effect * (n if paired else n / 2) ** 0.5
    critical = special.stdtrit(dof, (1 + confidence) / 2)
    # The chance to find it with the wrong sign counts as found, as in the test. It is that of the mirrored shift: the far
    # lower tail comes out as NaN.
    return float(2 - special.nctdtr(dof, shift, critical) - special.nctdtr(dof, -shift, critical))


def _smallest(effect: float, sd: float, power: float, confidence: float, *, paired: bool) -> SampleSize:
    check_confidence(confidence)
    if not 0 < power < 1:
        raise StudyError(f"A power of {power} is not between 0 and 1. Give 0.8 for 80 %.")
    if not sd > 0:
        raise StudyError(
            f"A standard deviation of {sd} leaves nothing to be shown. Give that of several seeds or images."
        )
    if effect == 0:
        return SampleSize(
            n=None, power=None, reason="The difference is 0: no number of repetitions shows it."
        )

    def reached(n: int) -> float:
        return t_test_power(effect, n, confidence=confidence, paired=paired)

    enough = 2
    while reached(enough) < power:
        enough *= 2
        if enough > _MOST:
            return SampleSize(
                n=None,
                power=None,
                reason=f"The difference is {effect:.1e} standard deviations: over {_MOST:,}.",
            )
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if reached(middle) < power:
            too_few = middle
        else:
            enough = middle
    return SampleSize(n=enough, power=reached(enough), reason="")
