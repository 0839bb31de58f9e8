"""Counts a model's predictions on data of other classes: what became of the pixels of the classes that both have.

A model of 19 classes on data of 16 (SYNTHIA) is scored by the mean over the 16, as adaptation papers do; predicting one
of the other three is an error of the class that is there. What the model does not know is no error: it is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.mean_iou import ConfusionMatrix
from vfmseg.metrics.scores import ImageScore
from vfmseg.metrics.shared_scores import SharedScores, shared_scores
from vfmseg.types import IGNORE_INDEX


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


def _iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    hits = np.diagonal(confusion)
    whole = confusion.sum(1) + confusion.sum(0) - hits
    return np.divide(hits, whole, out=np.full(len(whole), np.nan), where=whole > 0)
