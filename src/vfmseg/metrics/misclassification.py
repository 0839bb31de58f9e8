"""Turns confidences and what was right into how well confidence tells right from wrong pixels.

As the BRAVO challenge does (arXiv 2409.15107), on pixels of known classes: AUROC, FPR95 and AUPR-Success rank right
pixels (positive) by confidence; AUPR-Error ranks wrong ones (positive) by its negative.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.judged_pixels import right_pixels
from vfmseg.metrics.ranking import Bounded, auroc, average_precision, false_positive_rate
from vfmseg.metrics.score_counts import CountedByScore


@dataclass(frozen=True)
class MisclassificationScores:
    """How well confidence tells right from wrong pixels. Where all are one of the two, some numbers are NaN."""

    auroc: Bounded
    fpr95: Bounded
    """Share of the wrong pixels above the threshold that 95 % of the right ones are above; the lower the better."""
    aupr_success: Bounded
    aupr_error: Bounded
    num_right: int
    num_wrong: int
    is_exact: bool
    """Whether no confidence was put into a bin, so that the bounds are the numbers."""

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row with numbers and what they may be off by; None where there is nothing to score.

        ``{"val/misclassification_auroc": 0.91, "val/misclassification_auroc_bound": 2e-5, ...}``
        """
        row: dict[str, float | None] = {}
        for key in ("auroc", "fpr95", "aupr_success", "aupr_error"):
            row |= getattr(self, key).row(f"{prefix}/misclassification_{key}")
        return row


class Misclassification(CountedByScore):
    """Counts, over all images shown to it, right and wrong pixels by confidence, in constant memory."""

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
            confidence: (H, W) float: the higher, the surer.
            classes: (H, W) predicted class ids.
            id_map: (H, W) true class ids, 255 = left out.
            is_unknown: (H, W) bool: pixels of unknown objects, left out as well; None where there are none.
            name: What to call the image in an error.

        Raises:
            LabelError: Sizes differ, or a confidence is NaN or not on the scale. Nothing is counted then.
        """
        is_right, is_counted = right_pixels(confidence, classes, id_map, is_unknown, name)
        self.counts.update(confidence, is_right, is_counted, name=name)

    def scores(self) -> MisclassificationScores:
        """Return the scores of everything counted so far.

        Raises:
            LabelError: No pixel was counted.
        """
        right, wrong = self.counts.counts()
        num_right, num_wrong = int(right.sum()), int(wrong.sum())
        if not num_right + num_wrong:
            raise LabelError(
                "No labelled pixel was counted, so nothing was classified or misclassified: the label maps hold only "
                "255 (ignore) and unknown objects, or no image was given."
            )
        exact = self.counts.is_exact
        return MisclassificationScores(
            auroc(right, wrong, are_values=exact),
            false_positive_rate(right, wrong, are_values=exact),
            average_precision(right, wrong, are_values=exact),
            average_precision(wrong[::-1], right[::-1], are_values=exact),
            num_right,
            num_wrong,
            exact,
        )
