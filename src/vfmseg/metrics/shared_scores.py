"""Turns a confusion matrix over a model's classes into the numbers of those that the data has, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfmseg.metrics.scores import SegmentationScores, scores


@dataclass(frozen=True, eq=False)
class SharedScores(SegmentationScores):
    """The numbers of the shared classes. ``names`` and the numbers by class are theirs, S of the model's K.

    ``confusion`` is (K, K), over all the model's classes: rows of classes that the data lacks are empty.
    """

    model_names: tuple[str, ...]
    """K class names of ``confusion``."""
    ignored_share: float
    """Share of the labelled pixels whose class the model does not know, in 0..1; not counted elsewhere."""

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row, the share of ignored pixels in it."""
        return {**super().row(prefix), f"{prefix}/ignored_share": self.ignored_share}

    def record(self) -> dict[str, Any]:
        """Return the counts, and which classes are scored."""
        return {**super().record(), "scored": list(self.names), "ignored_share": self.ignored_share}


def shared_scores(
    confusion: NDArray[np.int64], model_names: Sequence[str], shared: Sequence[int], *, ignored_share: float
) -> SharedScores:
    """Return the scores of the shared classes.

    Args:
        confusion: (K, K) pixels over the model's classes; rows ground truth, columns predictions.
        model_names: K names.
        shared: S ids of the model's classes that the data has.
        ignored_share: share of the labelled pixels whose class the model does not know.

    Raises:
        LabelError: as :func:`vfmseg.metrics.scores.scores`.
    """
    whole = scores(confusion, model_names)
    chosen = np.array(shared)
    names = tuple(model_names[i] for i in shared)
    by_class = {key: getattr(whole, key)[chosen] for key in ("iou", "precision", "recall", "f1")}
    return SharedScores(
        names=names,
        confusion=whole.confusion,
        absent_classes=tuple(name for name in names if name in whole.absent_classes),
        absent=whole.absent,
        **by_class,
        miou=float(np.nanmean(by_class["iou"])),
        pixel_accuracy=whole.pixel_accuracy,
        mean_class_accuracy=float(np.nanmean(by_class["recall"])),
        mean_precision=_mean_or_nan(by_class["precision"]),
        mean_f1=float(np.nanmean(by_class["f1"])),
        frequency_weighted_iou=whole.frequency_weighted_iou,
        model_names=tuple(model_names),
        ignored_share=ignored_share,
    )


def _mean_or_nan(values: NDArray[np.float64]) -> float:
    """Return the mean of what is a number; NaN where none of the shared classes was ever predicted."""
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")
