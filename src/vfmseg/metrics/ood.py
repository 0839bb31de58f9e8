"""Turns confidences and masks of unknown objects into how well confidence tells the unknown from the known.

As the BRAVO challenge does (arXiv 2409.15107): unknown pixels are the positives, ranked by the negative of the
confidence, over all pixels that are not void, whether their class is right or not.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.judged_pixels import refuse_misfit, refuse_numbers
from vfmseg.metrics.ranking import Bounded, auroc, average_precision, false_positive_rate
from vfmseg.metrics.score_counts import CountedByScore


@dataclass(frozen=True)
class OutOfDistributionScores:
    """How well low confidence finds the pixels of unknown objects. Without known or unknown ones, numbers are NaN."""

    auroc: Bounded
    auprc: Bounded
    fpr95: Bounded
    """Share of the known pixels that are taken for unknown where 95 % of the unknown ones are found."""
    num_unknown: int
    num_known: int
    is_exact: bool
    """Whether no confidence was put into a bin, so that the bounds are the numbers."""

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row with numbers and what they may be off by; None for NaN.

        ``{"val/ood_auroc": 0.97, "val/ood_auroc_bound": 1e-5, ...}``
        """
        row: dict[str, float | None] = {}
        for key in ("auroc", "auprc", "fpr95"):
            row |= getattr(self, key).row(f"{prefix}/ood_{key}")
        return row


class OutOfDistribution(CountedByScore):
    """Counts, over all images shown to it, unknown and known pixels by confidence, in constant memory."""

    def update(self, confidence: Tensor, is_unknown: Tensor, is_void: Tensor, *, name: str = "") -> None:
        """Count one image.

        Args:
            confidence: (H, W) float: the higher, the more the pixel is of a known class.
            is_unknown: (H, W) bool, see :func:`vfmseg.metrics.judged_pixels.unknown_pixels`.
            is_void: (H, W) bool: pixels left out, see :func:`vfmseg.metrics.judged_pixels.void_pixels`.
            name: What to call the image in an error.

        Raises:
            LabelError: Sizes differ, a mask is not bool, or a confidence is NaN or not on the scale. Nothing is
                counted then.
        """
        refuse_misfit(confidence, is_unknown, "confidence", name)
        refuse_misfit(is_void, is_unknown, "mask of void pixels", name)
        refuse_numbers(is_unknown, "mask of unknown pixels", name)
        refuse_numbers(is_void, "mask of void pixels", name)
        self.counts.update(confidence, is_unknown, ~is_void, name=name)

    def scores(self, *, allow_one_kind: bool = False) -> OutOfDistributionScores:
        """Return the scores of everything counted so far.

        Args:
            allow_one_kind: Where no unknown or no known pixel was counted, return numbers that are NaN.

        Raises:
            LabelError: No unknown or no known pixel was counted, unless that is allowed.
        """
        unknown, known = self.counts.counts()
        num_unknown, num_known = int(unknown.sum()), int(known.sum())
        if not (allow_one_kind or (num_unknown and num_known)):
            raise LabelError(
                f"{num_unknown} pixels of unknown objects and {num_known} others were counted: how well the ones are "
                "told from the others needs both. Give the mask value or folder that marks unknown objects, and "
                "images that show some."
            )
        exact = self.counts.is_exact
        unknown, known = unknown[::-1], known[::-1]  # by the negative of the confidence
        return OutOfDistributionScores(
            auroc(unknown, known, are_values=exact),
            average_precision(unknown, known, are_values=exact),
            false_positive_rate(unknown, known, are_values=exact),
            num_unknown,
            num_known,
            exact,
        )
