"""Turns given rows and their weights into the mixed logits of an image band, or straight into its classes.

Every image row is a weighted sum of a few given rows, with weights that are not negative and sum to 1. So in
a run of image rows that mix the same given rows, a class whose largest value is below another's smallest
cannot win and need not be computed. Trained models leave few classes in few columns; untrained ones cost all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
Floats = NDArray[np.float32]

_CACHE_FLOATS = 1 << 17
"""Logits worked on at once on a CPU: half of what a core's second-level cache usually holds."""
_ACCELERATOR_FLOATS = 1 << 26
"""Logits worked on at once elsewhere."""
MAX_UINT8_CLASSES = 255
"""More classes than these are numbered in int16."""


@dataclass(frozen=True)
class RowBand:
    """Consecutive rows of an image, not mixed yet."""

    start: int
    """First row in the image."""
    rows: Tensor
    """(K, S, W) float32: what is mixed."""
    ids: NDArray[np.int64]
    """(r, T) positions in ``rows``, for each image row."""
    weights: Floats
    """(r, T); trailing zeros where an image row needs fewer than T."""

    def mixed(self) -> Tensor:
        """Return the logits of the band, (K, r, W) float32, on the device of ``rows``."""
        if self.rows.device.type != "cpu":
            return mix_by_gathering(self, 0, len(self.ids))
        mixed = np.empty((len(self.ids), len(self.rows), self.rows.shape[2]), np.float32)
        _in_threads([partial(_mix, taps, weights, mixed[rows]) for rows, taps, weights in _runs(self)])
        return torch.from_numpy(mixed).permute(1, 0, 2)

    def classified(self, confidence: Confidence | None = None) -> SemanticMap:
        """Return the class with the largest logit at each pixel of the band (r, W); of equals the first.

        Where a logit is NaN, no class is best, and a valid but meaningless one is returned.
        """
        if self.rows.device.type != "cpu":
            return classify_by_gathering(self, confidence)
        return _classify_on_cpu(self, confidence)


def mix_by_gathering(band: RowBand, start: int, stop: int) -> Tensor:
    """Return the logits (K, stop - start, W) of rows [start, stop) of a band in few, large steps."""
    ids = torch.from_numpy(band.ids[start:stop]).to(band.rows.device)
    weights = torch.from_numpy(band.weights[start:stop]).to(band.rows.device)[..., None]  # (r, T, 1)
    mixed = band.rows[:, ids[:, 0]] * weights[:, 0]
    for tap in range(1, int((band.weights[start:stop] != 0).any(0).sum())):
        mixed.addcmul_(band.rows[:, ids[:, tap]], weights[:, tap])
    return mixed


def classify_by_gathering(band: RowBand, confidence: Confidence | None) -> SemanticMap:
    """Classify a band in few, large steps, which is what accelerators like."""
    num_classes, _, width = band.rows.shape
    step = max(1, _ACCELERATOR_FLOATS // (num_classes * width))
    classes, certainties = [], []
    for start in range(0, len(band.ids), step):
        mixed = mix_by_gathering(band, start, start + step)
        best, winner = mixed.max(0)
        classes.append(winner.to(torch.uint8 if num_classes <= MAX_UINT8_CLASSES else torch.int16))
        if confidence == "softmax":
            certainties.append((1 / mixed.sub_(best).exp_().sum(0)).half())
        elif confidence == "score":
            certainties.append(best.half())
    return SemanticMap(torch.cat(classes), torch.cat(certainties) if confidence else None)


def _classify_on_cpu(band: RowBand, confidence: Confidence | None) -> SemanticMap:
    """Classify run by run and column block by column block."""
    num_classes, _, width = band.rows.shape
    classes = np.empty((len(band.ids), width), np.uint8 if num_classes <= MAX_UINT8_CLASSES else np.int16)
    certainty = np.empty(classes.shape, np.float16) if confidence else None
    block = max(256, _CACHE_FLOATS // num_classes)
    jobs = []
    for rows, taps, weights in _runs(band):
        for left in range(0, width, block):
            columns = slice(left, left + block)
            place = classes[rows, columns], None if certainty is None else certainty[rows, columns]
            parts = [tap[:, columns] for tap in taps]
            jobs.append(partial(_classify_run, parts, weights, *place, confidence))
    _in_threads(jobs)
    return SemanticMap(torch.from_numpy(classes), None if certainty is None else torch.from_numpy(certainty))


def _runs(band: RowBand) -> Iterator[tuple[slice, list[Floats], Floats]]:
    """Yield the runs of image rows that mix the same rows: which, the T mixed ones (K, W), weights (r, T)."""
    rows = band.rows.numpy()
    changes = np.flatnonzero((band.ids[1:] != band.ids[:-1]).any(1)) + 1
    for start, stop in pairwise([0, *changes.tolist(), len(band.ids)]):
        used = np.flatnonzero((band.weights[start:stop] != 0).any(0))
        taps = [rows[:, band.ids[start, tap]] for tap in used]
        yield slice(start, stop), taps, band.weights[start:stop, used]


def _in_threads(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs on as many threads as torch uses; its own would wait for each other at every short step."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result()


@np.errstate(invalid="ignore")  # infinite and NaN logits have an answer, and cv2 does not warn of them either
def _classify_run(
    taps: list[Floats],
    weights: Floats,
    classes: NDArray[Any],
    certainty: NDArray[np.float16] | None,
    confidence: Confidence | None,
) -> None:
    """Fill ``classes`` and ``certainty`` (r, w) of image rows that mix the same ``taps``, each (K, w).

    Classes are numbered backwards from K here, so that the largest number among equals is the first class.
    """
    num_classes = len(taps[0])
    numbers = np.arange(num_classes, 0, -1).astype(
        np.uint8 if num_classes <= MAX_UINT8_CLASSES else np.uint16
    )
    columns: slice | NDArray[np.intp] = slice(None)
    if len(taps) > 1 and len(weights) > 1:
        # What softmax loses with the dropped classes is below half a step of float16.
        survives = _survivors(taps, math.log(4096 * num_classes) if confidence == "softmax" else 0.0)
        kept = survives.any(1)
        decided = np.add.reduce(survives, axis=0, dtype=numbers.dtype) == 1
        if confidence != "score" and 2 * np.count_nonzero(decided) > len(decided):
            classes[:] = num_classes - (survives * numbers[:, None]).max(0)
            if certainty is not None:
                certainty[:] = 1
            columns = np.flatnonzero(~decided)
            kept = survives[:, columns].any(1)
        if not kept.any():
            return
        taps = [tap[kept][:, columns] for tap in taps]
        numbers = numbers[kept]
    step = max(1, _CACHE_FLOATS // taps[0].size)
    for top in range(0, len(weights), step):
        part = weights[top : top + step]
        mixed = np.empty((len(part), *taps[0].shape), np.float32)  # (rows, K, w)
        _mix(taps, part, mixed)
        best = mixed.max(1)
        is_best = (mixed == best[:, None]).view(np.uint8)
        found = num_classes - (is_best * numbers[:, None]).max(1)
        found[found == num_classes] = 0  # nothing equals NaN
        classes[top : top + step, columns] = found
        if certainty is not None and confidence == "score":
            certainty[top : top + step, columns] = best
        elif certainty is not None:
            certainty[top : top + step, columns] = 1 / np.exp(mixed - best[:, None]).sum(1)


def _survivors(taps: list[Floats], reach: float) -> NDArray[np.bool_]:
    """Say (K, w) which classes come, in each column, within ``reach`` of the best somewhere in the run."""
    lowest, highest = taps[0], taps[0]
    for tap in taps[1:]:
        lowest, highest = np.minimum(lowest, tap), np.maximum(highest, tap)
    # Not "at least": where there is NaN, no class must be dropped.
    return ~(highest < lowest.max(0) - np.float32(reach))


def _mix(taps: list[Floats], weights: Floats, mixed: Floats) -> None:
    """Fill ``mixed`` (r, K, w): for each row of ``weights`` (r, T), the weighted sum of the ``taps``."""
    for out, row_weights in zip(mixed, weights.tolist(), strict=True):
        if len(taps) == 1:
            np.multiply(taps[0], np.float32(row_weights[0]), out=out)
            continue
        cv2.addWeighted(taps[0], row_weights[0], taps[1], row_weights[1], 0, dst=out)
        for tap, weight in zip(taps[2:], row_weights[2:], strict=True):
            cv2.scaleAdd(tap, weight, out, dst=out)
