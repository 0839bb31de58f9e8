"""Counts a model's predictions on data of other classes, and makes the numbers of the classes that both have.

A model of 19 classes on data of 16 (SYNTHIA) is scored by the mean over the 16, as adaptation papers do; predicting one
of the other three is an error of the class that is there. What the model does not know is no error: it is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.mean_iou import ConfusionMatrix
from vfmseg.metrics.scores import ImageScore, SegmentationScores, scores
from vfmseg.types import IGNORE_INDEX


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


class SharedConfusion:
    """Counts, over all images shown to it, what became of the pixels of the shared classes.

    Args:
        model_ids: for each class id of the data, the model's class; None where it knows none.
        num_classes: K, of the model, at most 254.
        shared: ids of the model's classes that the data has.
        device: where to count.
    """

    def __init__(
        self,
        model_ids: Sequence[int | None],
        num_classes: int,
        shared: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        # One class more than the model has: the truth there is a class that it does not know.
        self._counts = ConfusionMatrix(num_classes + 1, device)
        self._table = np.full(256, IGNORE_INDEX, np.uint8)
        for own, found in enumerate(model_ids):
            self._table[own] = num_classes if found is None else found
        self._num_ids = len(model_ids)
        self._shared = list(shared)

    def update(self, classes: Tensor, id_map: Tensor, *, name: str = "") -> ImageScore | None:
        """Count one image.

        Args:
            classes: (H, W) predicted class ids of the model.
            id_map: (H, W) uint8 true class ids of the data, 255 = ignore.
            name: what to call the image in an error.

        Returns:
            Its score over the shared classes; None where no pixel of them is in it.

        Raises:
            LabelError: the sizes differ, or a map holds an id that no class has.
        """
        ids = id_map.cpu().numpy()
        if bool(((ids >= self._num_ids) & (ids != IGNORE_INDEX)).any()):
            raise LabelError(
                f"The label of image {name!r} holds ids above {self._num_ids - 1}, which no class of the data has."
            )
        truth = torch.from_numpy(np.asarray(cv2.LUT(ids, self._table), np.uint8))
        own = self._counts.update(classes, truth, name=name).numpy()[:-1, :-1]
        if not own.any():
            return None
        iou = _iou(own)[self._shared]
        return ImageScore(float(np.nanmean(iou)), float(np.trace(own) / own.sum()))

    def all_reduce(self) -> None:
        """Sum the counts of all processes."""
        self._counts.all_reduce()

    def scores(self, model_names: Sequence[str]) -> SharedScores:
        """Return the scores of everything counted so far.

        Args:
            model_names: K names of the model's classes.

        Raises:
            LabelError: no pixel of a shared class was counted.
        """
        counts = self._counts.state.cpu().numpy()
        known, unknown = counts[:-1, :-1], int(counts[-1].sum())
        if not known.any():
            raise LabelError(
                "No pixel of a class that the model knows was counted, so there is nothing to score: the labels hold "
                "other classes only, or none."
            )
        share = unknown / (unknown + int(known.sum()))
        return shared_scores(known, model_names, self._shared, ignored_share=share)


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


def _iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    hits = np.diagonal(confusion)
    whole = confusion.sum(1) + confusion.sum(0) - hits
    return np.divide(hits, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean_or_nan(values: NDArray[np.float64]) -> float:
    """Return the mean of what is a number; NaN where none of the shared classes was ever predicted."""
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")
