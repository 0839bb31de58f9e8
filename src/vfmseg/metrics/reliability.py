"""Turns confidences, what was right and what was unknown into one account of how far confidence can be believed.

The numbers are those of :mod:`vfmseg.metrics.calibration`, :mod:`vfmseg.metrics.misclassification` and
:mod:`vfmseg.metrics.ood`, counted together, image by image, in memory that does not grow with the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vfmseg.metrics.calibration import Calibration, ReliabilityDiagram
from vfmseg.metrics.judged_pixels import void_pixels
from vfmseg.metrics.misclassification import Misclassification, MisclassificationScores
from vfmseg.metrics.ood import OutOfDistribution, OutOfDistributionScores
from vfmseg.metrics.ranking import Bounded
from vfmseg.metrics.score_counts import Scale


@dataclass(frozen=True, eq=False)
class Reliability:
    """How far the confidence of a model's predictions can be believed on a set of images."""

    confidence: str
    """Which measure it is, as in :data:`vfmseg.postprocess.confidence.MEASURES`."""
    diagram: ReliabilityDiagram | None
    """None where the measure is no probability, which has no calibration."""
    misclassification: MisclassificationScores
    unknown: OutOfDistributionScores | None
    """None where nobody said what is unknown."""

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row, ``{"val/ece": 0.03, "val/misclassification_auroc": 0.91, ...}``."""
        parts = (self.diagram, self.misclassification, self.unknown)
        return {key: value for part in parts if part is not None for key, value in part.row(prefix).items()}

    def record(self) -> dict[str, Any]:
        """Return all as plain values: the content of ``reliability.json``.

        ``confidence``; ``bins``, of equal width from 0 to 1, each ``low``, ``high``, ``count`` (pixels),
        ``mean_confidence`` and ``accuracy`` (None in an empty bin), no bins where confidence is no probability; ``ece``
        and ``overconfidence``, None there; ``auroc``, ``aupr_success``, ``aupr_error`` and ``fpr95`` of
        misclassification, None where all pixels are right or all wrong; ``exact``, whether they are of the confidences
        as they were, and ``error_bound``, what each of them may be off by at most; ``pixels``: ``right`` and ``wrong``;
        ``unknown``: None, or ``auroc``, ``aupr``, ``fpr95``, ``exact``, ``error_bound`` and ``pixels`` (``unknown`` and
        ``known``) of unknown objects. All but pixels are in 0..1.
        """
        diagram, right, unknown = self.diagram, self.misclassification, self.unknown
        return {
            "confidence": self.confidence,
            "bins": [] if diagram is None else _bins(diagram),
            "ece": None if diagram is None else diagram.ece,
            "overconfidence": None if diagram is None else diagram.overconfidence,
            "auroc": _number(right.auroc.value),
            "aupr_success": _number(right.aupr_success.value),
            "aupr_error": _number(right.aupr_error.value),
            "fpr95": _number(right.fpr95.value),
            "exact": right.is_exact,
            "error_bound": _bound((right.auroc, right.aupr_success, right.aupr_error, right.fpr95)),
            "pixels": {"right": right.num_right, "wrong": right.num_wrong},
            "unknown": None if unknown is None else _unknown(unknown),
        }


class ReliabilityMetric:
    """Counts pixels by confidence, by whether their class is right, and by whether they are unknown."""

    def __init__(
        self,
        confidence: str,
        scale: Scale,
        *,
        unknown: bool,
        device: torch.device | str = "cpu",
    ) -> None:
        """Start from nothing.

        Args:
            confidence: what the measure is called.
            scale: of its values; only probabilities have a calibration.
            unknown: whether images come with pixels of unknown objects.
            device: where to count.
        """
        self.confidence = confidence
        self._device = torch.device(device)
        self._calibration = Calibration(device=device) if scale == "probability" else None
        self._misclassification = Misclassification(scale, device=device)
        self._unknown = OutOfDistribution(scale, device=device) if unknown else None

    def update(
        self,
        confidence: Tensor,
        classes: Tensor,
        id_map: Tensor,
        is_unknown: Tensor | None,
        *,
        name: str = "",
    ) -> None:
        """Count one image.

        Args:
            confidence: (H, W) float: the higher, the surer.
            classes: (H, W) predicted class ids.
            id_map: (H, W) true class ids, 255 = left out.
            is_unknown: (H, W) bool: pixels of unknown objects, neither right nor wrong, whatever ``id_map`` says of
                them; None where the metric was told that there are none.
            name: What to call the image in an error.

        Raises:
            LabelError: sizes differ, or a confidence is NaN or not on the scale.
        """
        id_map = id_map.to(self._device)
        is_unknown = None if is_unknown is None else is_unknown.to(self._device)
        self._misclassification.update(confidence, classes, id_map, is_unknown, name=name)
        if self._calibration is not None:
            self._calibration.update(confidence, classes, id_map, is_unknown, name=name)
        if self._unknown is not None and is_unknown is not None:
            self._unknown.update(confidence, is_unknown, void_pixels(id_map, is_unknown), name=name)

    def all_reduce(self) -> None:
        """Collect the counts of all processes in each of them; does nothing outside distributed runs."""
        for part in (self._calibration, self._misclassification, self._unknown):
            if part is not None:
                part.all_reduce()

    def scores(self) -> Reliability:
        """Return the scores of everything counted so far.

        Numbers of unknown objects are NaN where no unknown or no known pixel was counted.

        Raises:
            LabelError: no labelled pixel was counted.
        """
        return Reliability(
            self.confidence,
            None if self._calibration is None else self._calibration.diagram(),
            self._misclassification.scores(),
            None if self._unknown is None else self._unknown.scores(allow_one_kind=True),
        )


def _bins(diagram: ReliabilityDiagram) -> list[dict[str, Any]]:
    edges = diagram.edges.tolist()
    columns = (
        edges,
        edges[1:],
        diagram.counts.tolist(),
        diagram.confidence.tolist(),
        diagram.accuracy.tolist(),
    )
    return [
        {
            "low": low,
            "high": high,
            "count": count,
            "mean_confidence": _number(confidence),
            "accuracy": _number(accuracy),
        }
        for low, high, count, confidence, accuracy in zip(*columns, strict=False)  # one edge more than bins
    ]


def _unknown(scores: OutOfDistributionScores) -> dict[str, Any]:
    return {
        "auroc": _number(scores.auroc.value),
        "aupr": _number(scores.auprc.value),
        "fpr95": _number(scores.fpr95.value),
        "exact": scores.is_exact,
        "error_bound": _bound((scores.auroc, scores.auprc, scores.fpr95)),
        "pixels": {"unknown": scores.num_unknown, "known": scores.num_known},
    }


def _number(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if np.isnan(value) else value


def _bound(numbers: Sequence[Bounded]) -> float | None:
    """Return the largest error of the numbers there are; None where there is none."""
    errors = [number.error for number in numbers if not np.isnan(number.value)]
    return max(errors) if errors else None
