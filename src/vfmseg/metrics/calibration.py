"""Turns confidences and what was right into the expected calibration error and the reliability diagram.

ECE is the mean over all pixels of |accuracy - mean confidence| of the bin of equal width that the pixel's confidence
falls into (Guo et al., arXiv 1706.04599); the BRAVO challenge takes 15 bins (arXiv 2409.15107). Memory is three
whole numbers a bin, whatever the number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.judged_pixels import right_pixels
from vfmseg.metrics.score_counts import check_scores

_ONE = 1 << 24
"""Confidences are summed as whole numbers of 1/_ONE, so that sums are the same in any order. That is exact for
float32 from 0.5 on; below, a confidence is off by 2**-25 at most. 2**39 pixels fit a bin."""


@dataclass(frozen=True, eq=False)
class ReliabilityDiagram:
    """How often pixels of some confidence were right."""

    edges: NDArray[np.float64]
    """(n + 1,) confidences where bins begin and end: a bin holds its lower edge, and the last one 1."""
    counts: NDArray[np.int64]
    """(n,) pixels."""
    confidence: NDArray[np.float64]
    """(n,) mean of the pixels' confidence; NaN for an empty bin."""
    accuracy: NDArray[np.float64]
    """(n,) share of the pixels that were right; NaN for an empty bin."""

    @property
    def ece(self) -> float:
        """Expected calibration error, 0..1; off by 2**-25 at most."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gaps * self.counts) / self.counts.sum())

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy over all pixels, -1..1: above 0 where the model promises too much."""
        gaps = self.confidence - self.accuracy
        return float(np.nansum(gaps * self.counts) / self.counts.sum())

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row, ``{"val/ece": 0.03, "val/overconfidence": 0.02}``."""
        return {f"{prefix}/ece": self.ece, f"{prefix}/overconfidence": self.overconfidence}


class Calibration:
    """Sums up, over all images shown to it, confidence and right pixels by bin of confidence.

    Attributes:
        state: (3, n) int64 wrong pixels, right pixels, sum of confidence in units of 2**-24; sums over processes.
    """

    def __init__(self, num_bins: int = 15, device: torch.device | str = "cpu") -> None:
        """Start from zero.

        Args:
            num_bins: n bins of equal width in 0..1.
            device: Where to count; maps that live elsewhere are moved there.

        Raises:
            LabelError: ``num_bins`` is outside 1..65536.
        """
        if not 1 <= num_bins <= 1 << 16:
            raise LabelError(f"Confidence cannot be put into {num_bins} bins: give 1..{1 << 16}, such as 15.")
        self.state = torch.zeros((3, num_bins), dtype=torch.int64, device=device)

    @property
    def num_bins(self) -> int:
        """How many bins, n."""
        return self.state.shape[1]

    def update(
        self,
        confidence: Tensor,
        classes: Tensor,
        id_map: Tensor,
        is_unknown: Tensor | None = None,
        *,
        name: str = "",
    ) -> None:
        """Count one image.

        Args:
            confidence: (H, W) float in 0..1: how sure the prediction is of its class.
            classes: (H, W) predicted class ids.
            id_map: (H, W) true class ids, 255 = left out.
            is_unknown: (H, W) bool: pixels of unknown objects, left out as well; None where there are none.
            name: What to call the image in an error.

        Raises:
            LabelError: Sizes differ, or a confidence is NaN or outside 0..1. Nothing is counted then.
        """
        is_right, is_counted = right_pixels(confidence, classes, id_map, is_unknown, name)
        device, num_bins = self.state.device, self.num_bins
        sure = confidence.detach().to(device).reshape(-1).float()
        check_scores(sure, "probability", name)
        # The product of a float32 and a small whole number is exact in float64, so edges are where they should be.
        places = (sure.double() * num_bins).long().clamp_(max=num_bins - 1)
        kind = torch.where(is_counted, is_right.long(), 2).to(device).reshape(-1)
        places += kind * num_bins  # what is left out has bins of its own
        size = 3 * num_bins
        counts = torch.bincount(places, minlength=size).view(3, num_bins)[:2]
        # A sum of whole numbers below 2**53, and so exact, for 2**29 pixels.
        sums = torch.bincount(places, (sure * _ONE).round().double(), size).view(3, num_bins)[:2]
        self.state[:2] += counts
        self.state[2] += sums.sum(0).long()

    def merge(self, other: Calibration) -> None:
        """Add what another has counted.

        Raises:
            LabelError: The other has another number of bins.
        """
        if other.num_bins != self.num_bins:
            raise LabelError(
                f"Counts in {other.num_bins} bins of confidence cannot be added to counts in {self.num_bins}: both "
                "must have the same bins."
            )
        self.state += other.state.to(self.state.device)

    def all_reduce(self) -> None:
        """Replace the counts by their sum over all processes; does nothing outside distributed runs."""
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.state)

    def reset(self) -> None:
        """Forget everything counted so far."""
        self.state.zero_()

    def diagram(self) -> ReliabilityDiagram:
        """Return the diagram of everything counted so far, and with it the ECE.

        Raises:
            LabelError: No pixel was counted.
        """
        wrong, right, confidence = self.state.cpu().numpy()
        counts = wrong + right
        if not counts.any():
            raise LabelError(
                "No labelled pixel was counted, so there is no calibration: the label maps hold only 255 (ignore) "
                "and unknown objects, or no image was given."
            )
        empty = np.full(self.num_bins, np.nan)
        return ReliabilityDiagram(
            np.arange(self.num_bins + 1) / self.num_bins,
            counts,
            np.divide(confidence / _ONE, counts, out=empty.copy(), where=counts > 0),
            np.divide(right, counts, out=empty, where=counts > 0),
        )
