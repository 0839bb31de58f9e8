"""Turns scores of pixels, positive or negative, into counts by score, in memory that does not grow with the pixels.

Up to a limit all scores are kept, and the numbers made of them are exact. Beyond it they are counted in fixed bins;
:mod:`vfmseg.metrics.ranking` says how far a number can then be off. Which of the two depends on the number of scores
alone, and bins never on the data, so that order, and which process saw what, make no difference.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.checks import of_image
from vfmseg.metrics.ranking import Counts

Scale = Literal["probability", "real"]
"""What scores can be, and how they are binned.

``"probability"``: 0..1, in the 65,536 equal bins of the BRAVO challenge, ``[u, u + 1) / 65536``, the last with 1.
``"real"``: any number or infinity, such as energies, in 2**20 bins of float32 numbers that agree in sign, exponent
and 11 bits of the mantissa: 2,048 bins from each power of two to the next.
"""

LEVELS = 1 << 16
"""Bins of a probability."""
_REAL_BITS = 20
_NUM_BINS: dict[Scale, int] = {"probability": LEVELS, "real": 1 << _REAL_BITS}

KEPT_SCORES = 1 << 20
"""Scores that are kept as they are by default: half an image of 2048 x 1024, 8 MiB."""


class ScoreCounts:
    """Counts positives and negatives by score: exactly up to ``keep`` scores, in bins beyond.

    Scores are taken as float32. Memory: 8 bytes a kept score; 1 MiB of bins for probabilities, 16 MiB for reals.
    """

    def __init__(
        self, scale: Scale = "probability", *, keep: int = KEPT_SCORES, device: torch.device | str = "cpu"
    ) -> None:
        """Start from nothing.

        Args:
            scale: What scores can be, see :data:`Scale`.
            keep: How many scores are kept at most; 0 puts all into bins.
            device: Where to count; scores that live elsewhere are moved there.

        Raises:
            LabelError: ``scale`` is none of the two, or ``keep`` is negative.
        """
        if scale not in _NUM_BINS:
            raise LabelError(f"Scores have no scale {scale!r}: use {' or '.join(map(repr, _NUM_BINS))}.")
        if keep < 0:
            raise LabelError(f"{keep} scores cannot be kept: give 0 (all into bins) or more.")
        self.scale: Scale = scale
        self.keep = keep
        self._device = torch.device(device)
        self._bins: Tensor | None = None
        """(2, bins) int64 negatives and positives; sums over processes."""
        self._kept: list[Tensor] = []
        """(2, n) float32 on the CPU each: scores, and 1 where positive."""
        self._total = 0

    @property
    def is_exact(self) -> bool:
        """Whether all scores are still there as they were."""
        return self._total <= self.keep

    def update(self, scores: Tensor, is_positive: Tensor, is_counted: Tensor, *, name: str = "") -> None:
        """Count the pixels of one image.

        Args:
            scores: (...) any float type.
            is_positive: (...) bool.
            is_counted: (...) bool; other pixels are left out.
            name: What to call the image in an error.

        Raises:
            LabelError: A score is NaN or not on the scale, counted or not. Nothing is counted then.
        """
        scores = scores.detach().to(self._device).reshape(-1).float()
        is_positive, is_counted = (
            mask.to(self._device).reshape(-1).bool() for mask in (is_positive, is_counted)
        )
        check_scores(scores, self.scale, name)
        number = int(is_counted.sum())
        self._grow(number)
        if not self.is_exact:
            self._add(_counted(scores, is_positive, is_counted, self.scale))
        elif number:
            kept = torch.stack([scores[is_counted], is_positive[is_counted].float()])
            self._kept.append(kept.cpu())

    def merge(self, other: ScoreCounts) -> None:
        """Add what another has counted.

        Raises:
            LabelError: The other has another scale, or keeps another number of scores.
        """
        if (other.scale, other.keep) != (self.scale, self.keep):
            raise LabelError(
                f"Counts of scale {other.scale!r} that keep {other.keep} scores cannot be added to counts of scale "
                f"{self.scale!r} that keep {self.keep}: make both alike."
            )
        self._grow(other._total)
        if self.is_exact:
            self._kept.extend(other._kept)
        else:
            self._add(other._binned())

    def all_reduce(self) -> None:
        """Collect the counts of all processes in each of them; does nothing outside distributed runs."""
        if not (dist.is_available() and dist.is_initialized()):
            return
        own = torch.tensor([self._total], device=self._device)
        totals = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(totals, own)
        numbers = [int(total) for total in totals]
        self._grow(sum(numbers) - self._total)
        if not self.is_exact:
            bins = self._binned()
            dist.all_reduce(bins)
            self._bins = bins
            return
        padded = torch.zeros((2, max(*numbers, 1)), device=self._device)
        kept = torch.cat([torch.zeros((2, 0)), *self._kept], 1)
        padded[:, : kept.shape[1]] = kept
        shares = [torch.empty_like(padded) for _ in numbers]
        dist.all_gather(shares, padded)
        self._kept = [share[:, :number].cpu() for share, number in zip(shares, numbers, strict=True)]

    def reset(self) -> None:
        """Forget everything counted so far."""
        self._bins, self._kept, self._total = None, [], 0

    def counts(self) -> tuple[Counts, Counts]:
        """Return positives and negatives (D,) by score, lowest first: of each score if exact, else of each bin."""
        if not self.is_exact:
            negatives, positives = self._binned().cpu().numpy()
            return positives, negatives
        kept = torch.cat([torch.zeros((2, 0)), *self._kept], 1).numpy()
        values, places = np.unique(kept[0], return_inverse=True)
        positives = np.bincount(places, kept[1], len(values)).astype(np.int64)
        return positives, np.bincount(places, minlength=len(values)) - positives

    def _grow(self, number: int) -> None:
        """Expect so many more scores; where they are too many to be kept, put those that are into bins."""
        was_exact = self.is_exact
        self._total += number
        if was_exact and not self.is_exact:
            self._bins = self._binned()
            self._kept = []

    def _add(self, bins: Tensor) -> None:
        self._bins = bins.to(self._device) if self._bins is None else self._bins.add_(bins.to(self._device))

    def _binned(self) -> Tensor:
        """Return a copy of all that was counted as (2, bins) int64."""
        bins = torch.zeros((2, _NUM_BINS[self.scale]), dtype=torch.int64, device=self._device)
        if self._bins is not None:
            bins += self._bins
        for kept in self._kept:
            scores, is_positive = kept.to(self._device)
            bins += _counted(scores, is_positive.bool(), torch.ones_like(is_positive).bool(), self.scale)
        return bins


class CountedByScore:
    """What metrics have in common that are made of pixels counted by their confidence, in constant memory."""

    def __init__(
        self,
        scale: Scale = "probability",
        *,
        keep: int = KEPT_SCORES,
        device: torch.device | str = "cpu",
    ) -> None:
        """Start from nothing; arguments and errors as :class:`ScoreCounts`.

        ``keep=0`` counts as the BRAVO challenge does, in 65,536 levels from the first pixel on.
        """
        self.counts = ScoreCounts(scale, keep=keep, device=device)

    def merge(self: Counted, other: Counted) -> None:
        """Add what another has counted; errors as :meth:`ScoreCounts.merge`."""
        self.counts.merge(other.counts)

    def all_reduce(self) -> None:
        """Collect the counts of all processes in each of them; does nothing outside distributed runs."""
        self.counts.all_reduce()

    def reset(self) -> None:
        """Forget everything counted so far."""
        self.counts.reset()


Counted = TypeVar("Counted", bound=CountedByScore)


def check_scores(scores: Tensor, scale: Scale, name: str) -> None:
    """Raise LabelError if a score is NaN or is not on the scale.

    Args:
        scores: (...) float.
        scale: What they can be.
        name: What to call the image.
    """
    if not scores.numel():
        return
    lowest, highest = (float(end) for end in scores.aminmax())  # NaN if one of the scores is
    if np.isnan(lowest):
        raise LabelError(
            f"The confidence{of_image(name)} is NaN at {int(scores.isnan().sum())} of {scores.numel()} pixels: every "
            "pixel needs a number to be ranked by. The weights are damaged, or training diverged: use a checkpoint "
            "from before."
        )
    if scale == "probability" and not 0 <= lowest <= highest <= 1:
        raise LabelError(
            f"The confidence{of_image(name)} reaches from {lowest:g} to {highest:g}, and a probability is in 0..1. "
            "Rank other confidences, such as energies and sums over queries, with scale='real'; they have no "
            "calibration."
        )


def _counted(scores: Tensor, is_positive: Tensor, is_counted: Tensor, scale: Scale) -> Tensor:
    """Return the (2, bins) int64 counts of negatives and positives among (P,) float32 scores."""
    num_bins = _NUM_BINS[scale]
    kind = torch.where(is_counted, is_positive.to(torch.int32), 2)  # what is left out has a row of its own
    places = _bins_of(scores, scale).add_(kind.mul_(num_bins))
    return torch.bincount(places, minlength=3 * num_bins)[: 2 * num_bins].view(2, num_bins)


def _bins_of(scores: Tensor, scale: Scale) -> Tensor:
    """Return the bin of each score (P,) int32; a higher score never has a lower bin."""
    if scale == "probability":
        return (scores * LEVELS).to(torch.int32).clamp_(max=LEVELS - 1)
    bits = (scores + 0.0).view(torch.int32)  # the sum makes -0 a 0
    # As whole numbers, the bits of positive floats are in their order, those of negative ones in the opposite.
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered >> (32 - _REAL_BITS)) + (1 << (_REAL_BITS - 1))
