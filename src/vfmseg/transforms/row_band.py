"""Turns given rows and their weights into the mixed logits of an image band, or straight into its classes.

Every image row is a weighted sum of a few given rows, with weights that are not negative and sum to 1. So along
a run of image rows that mix the same given rows, a class whose largest value is below another's smallest cannot
win and need not be computed. Trained models leave few classes in few columns; untrained ones cost all classes.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.types import SemanticMap

Confidence = Literal["softmax", "score"]
"""The confidence of a pixel: softmax over its logits, or the logit of its class as it is (for scores)."""

_CACHE_FLOATS = 1 << 17
"""Logits worked on at once on a CPU: half of what a core's second-level cache usually holds."""
_ACCELERATOR_FLOATS = 1 << 26
"""Logits worked on at once elsewhere."""


@dataclass(frozen=True)
class RowBand:
    """Consecutive rows of an image, not mixed yet."""

    start: int
    """First row in the image."""
    rows: Tensor
    """(K, S, W) float32: what is mixed."""
    ids: NDArray[np.int64]
    """(r, T) positions in ``rows``, for each image row."""
    weights: NDArray[np.float32]
    """(r, T); trailing zeros where an image row needs fewer than T."""

    def mixed(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the logits (K, stop - start, W) float32 of the rows [start, stop) of the band."""
        device = self.rows.device
        ids = torch.from_numpy(self.ids[start:stop]).to(device)
        weights = torch.from_numpy(self.weights[start:stop]).to(device)[..., None]  # (r, T, 1)
        mixed = self.rows[:, ids[:, 0]] * weights[:, 0]
        for tap in range(1, int((self.weights[start:stop] != 0).any(0).sum())):
            mixed.addcmul_(self.rows[:, ids[:, tap]], weights[:, tap])
        return mixed

    def classified(self, confidence: Confidence | None = None) -> SemanticMap:
        """Return the class with the largest logit at each pixel of the band (r, W); of equals the first."""
        if self.rows.device.type == "cpu":
            return _classify_on_cpu(self, confidence)
        num_classes, _, width = self.rows.shape
        step = max(1, _ACCELERATOR_FLOATS // (num_classes * width))
        classes, certainties = [], []
        for start in range(0, len(self.ids), step):
            mixed = self.mixed(start, start + step)
            best, winner = mixed.max(0)
            classes.append(winner.to(_class_type(num_classes)))
            if confidence == "softmax":
                certainties.append((1 / mixed.sub_(best).exp_().sum(0)).half())
            elif confidence == "score":
                certainties.append(best.half())
        return SemanticMap(torch.cat(classes), torch.cat(certainties) if confidence else None)


def _classify_on_cpu(band: RowBand, confidence: Confidence | None) -> SemanticMap:
    """Classify run by run and column block by column block, on as many threads as torch uses."""
    num_classes, _, width = band.rows.shape
    rows = band.rows.numpy()
    classes = np.empty((len(band.ids), width), np.uint8 if num_classes <= 255 else np.int16)
    certainty = np.empty(classes.shape, np.float16) if confidence else None
    changes = np.flatnonzero((band.ids[1:] != band.ids[:-1]).any(1)) + 1
    block = max(256, _CACHE_FLOATS // num_classes)

    def work(start: int, stop: int, left: int) -> None:
        place = np.s_[start:stop, left : left + block]
        used = np.flatnonzero((band.weights[start:stop] != 0).any(0))
        taps = [rows[:, band.ids[start, tap], left : left + block] for tap in used]
        weights = band.weights[start:stop, used]
        _classify_run(
            taps, weights, classes[place], None if certainty is None else certainty[place], confidence
        )

    jobs = [
        (start, stop, left)
        for start, stop in pairwise([0, *changes.tolist(), len(band.ids)])
        for left in range(0, width, block)
    ]
    # Threads of our own: these steps are too short for torch's, which wait for each other at every one.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda job: work(*job), jobs))
    return SemanticMap(torch.from_numpy(classes), None if certainty is None else torch.from_numpy(certainty))


def _classify_run(
    taps: list[NDArray[np.float32]],
    weights: NDArray[np.float32],
    classes: NDArray[Any],
    certainty: NDArray[np.float16] | None,
    confidence: Confidence | None,
) -> None:
    """Fill ``classes`` and ``certainty`` (r, w) of image rows that mix the same ``taps``, each (K, w).

    Classes are numbered backwards from K here, so that the largest number among equals is the first class.
    """
    num_classes = len(taps[0])
    numbers = np.arange(num_classes, 0, -1, dtype=np.uint8 if num_classes <= 255 else np.uint16)
    columns: slice | NDArray[np.intp] = slice(None)
    if len(taps) > 1 and len(weights) > 1:
        # What softmax loses with the dropped classes is below half a step of float16.
        reach = math.log(4096 * num_classes) if confidence == "softmax" else 0.0
        survives = _survivors(taps, reach)
        kept = np.flatnonzero(survives.any(1))
        if confidence != "score":
            decided = np.add.reduce(survives, axis=0, dtype=numbers.dtype) == 1
            if 2 * np.count_nonzero(decided) > len(decided):
                classes[:] = num_classes - (survives * numbers[:, None]).max(0)
                if certainty is not None:
                    certainty[:] = 1
                columns = np.flatnonzero(~decided)
                if not len(columns):
                    return
                kept = kept[survives[np.ix_(kept, columns)].any(1)]
        if len(kept) < num_classes or not isinstance(columns, slice):
            where = np.ix_(kept, columns) if not isinstance(columns, slice) else kept
            taps = [tap[where] for tap in taps]
            numbers = numbers[kept]
    step = max(1, _CACHE_FLOATS // taps[0].size)
    for top in range(0, len(weights), step):
        mixed = _mix(taps, weights[top : top + step])  # (rows, K, w)
        best = mixed.max(1)
        is_best = (mixed == best[:, None]).view(np.uint8)
        winners = np.multiply(is_best, numbers[:, None], out=is_best if numbers.itemsize == 1 else None)
        found = num_classes - winners.max(1)
        found[found == num_classes] = 0  # nothing equals NaN
        classes[top : top + step, columns] = found
        if certainty is not None:
            certainty[top : top + step, columns] = (
                best if confidence == "score" else 1 / np.exp(mixed - best[:, None]).sum(1)
            )


def _survivors(taps: list[NDArray[np.float32]], reach: float) -> NDArray[np.bool_]:
    """Say (K, w) which classes can, in each column, come within ``reach`` of the best somewhere in the run."""
    lowest, highest = taps[0], taps[0]
    for tap in taps[1:]:
        lowest, highest = np.minimum(lowest, tap), np.maximum(highest, tap)
    # Not "at least": where there is NaN, no class must be dropped.
    return ~(highest < lowest.max(0) - np.float32(reach))


def _mix(taps: list[NDArray[np.float32]], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (r, K, w): for each row of ``weights`` (r, T), the weighted sum of the T ``taps``, each (K, w)."""
    mixed = np.empty((len(weights), *taps[0].shape), np.float32)
    for out, row_weights in zip(mixed, weights.tolist(), strict=True):
        if len(taps) == 1:
            np.multiply(taps[0], np.float32(row_weights[0]), out=out)
            continue
        cv2.addWeighted(taps[0], row_weights[0], taps[1], row_weights[1], 0, dst=out)
        for tap, weight in zip(taps[2:], row_weights[2:], strict=True):
            cv2.scaleAdd(tap, weight, out, dst=out)
    return mixed


def _class_type(num_classes: int) -> torch.dtype:
    return torch.uint8 if num_classes <= 255 else torch.int16
