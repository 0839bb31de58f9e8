"""Turns the logits of windows into the logits or classes of the whole image, a band of rows at a time.

The published merge upsamples the logits of each window to the crop, adds them up, divides by the number of
windows at each pixel, and resizes the result to the image, all bilinearly. Every step is linear and treats
rows and columns separately. So the columns are merged first, while rows are few, and each row of the image is
then a weighted sum of a few of these rows. No array of classes x height x width is held unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.transforms.row_band import MAX_UINT8_CLASSES, Confidence, RowBand
from vfmseg.transforms.sliding_window import Axis, WindowPlan
from vfmseg.types import SemanticMap

_Fetch = Callable[[NDArray[np.int64]], Tensor]
"""(S,) ascending row ids (see ``_Taps``) -> (K, S, W) float32, columns merged."""

_STREAM_ROWS = 64
"""Image rows that are merged at once where rows arrive one after the other."""


@dataclass(frozen=True)
class _Taps:
    """Image rows as weighted sums of window rows. Row r of window row j has the id ``j * grid rows + r``."""

    ids: NDArray[np.int64]
    """(H, T)"""
    weights: NDArray[np.float32]
    """(H, T); trailing zeros where a row needs fewer than T."""


def merge(crop_logits: Tensor, plan: WindowPlan) -> Tensor:
    """Return the logits of the whole image; where classes are all you need, use :func:`merge_to_classes`.

    Args:
        crop_logits: (n, K, h, w) float, windows in the order of the plan, at the patch grid or any size.
        plan: how the windows were cut.

    Returns:
        (K, H, W) float32.
    """
    return _tensor_band(crop_logits, plan).mixed()


def merge_to_classes(
    crop_logits: Tensor,
    plan: WindowPlan,
    *,
    confidence: Confidence | None = None,
) -> SemanticMap:
    """Return the best class of each pixel: the argmax of :func:`merge`, without its memory.

    Args:
        crop_logits: (n, K, h, w) float, windows in the order of the plan, at the patch grid or any size.
        plan: how the windows were cut.
        confidence: what to return as confidence, if any.

    Returns:
        Classes (H, W), and confidence where asked for, on the device of the logits.
    """
    return _tensor_band(crop_logits, plan).classified(confidence)


def merge_to_measure(
    crop_logits: Tensor, plan: WindowPlan, measure: Callable[[Tensor], Tensor]
) -> SemanticMap:
    """Return the best class of each pixel and a measure of the merged logits, without the memory of :func:`merge`.

    Args:
        crop_logits: (n, K, h, w) float, windows in the order of the plan, at the patch grid or any size.
        plan: how the windows were cut.
        measure: (K, r, W) float32 logits of some rows -> (r, W).

    Returns:
        Classes (H, W), and the measure in its own precision as confidence, on the device of the logits.
    """
    if len(crop_logits) != plan.num_windows:
        raise ValueError(
            f"the plan has {plan.num_windows} windows, but there are logits of {len(crop_logits)}"
        )
    kind = torch.uint8 if crop_logits.shape[1] <= MAX_UINT8_CLASSES else torch.int16
    classes, measured = [], []
    for _, logits in stream_logits(crop_logits.unflatten(0, plan.shape), plan):
        classes.append(logits.max(0).indices.to(kind))
        measured.append(measure(logits))
    return SemanticMap(torch.cat(classes), torch.cat(measured))


def stream_logits(window_rows: Iterable[Tensor], plan: WindowPlan) -> Iterator[tuple[int, Tensor]]:
    """Yield the merged logits from top to bottom while windows arrive; memory does not grow with the height.

    Args:
        window_rows: for each window row, top to bottom, (windows in the row, K, h, w) float.
        plan: how the windows were cut.

    Yields:
        First image row, and (K, rows, W) float32.
    """
    for band in _stream_bands(window_rows, plan):
        yield band.start, band.mixed()


def stream_classes(
    window_rows: Iterable[Tensor], plan: WindowPlan, *, confidence: Confidence | None = None
) -> Iterator[tuple[int, SemanticMap]]:
    """Yield the classes from top to bottom while windows arrive; memory does not grow with the height.

    Args:
        window_rows: for each window row, top to bottom, (windows in the row, K, h, w) float.
        plan: how the windows were cut.
        confidence: what to return as confidence, if any.

    Yields:
        First image row, and the map of (rows, W) pixels.
    """
    for band in _stream_bands(window_rows, plan):
        yield band.start, band.classified(confidence)


def _bands(fetch: _Fetch, axis: Axis, grid_rows: int, band_rows: int) -> Iterator[RowBand]:
    """Cut the image into bands, top to bottom, and fetch what each is made of."""
    taps = _taps(axis, grid_rows)
    for start in range(0, axis.size, band_rows):
        ids = taps.ids[start : start + band_rows]
        used, places = np.unique(ids, return_inverse=True)
        yield RowBand(start, fetch(used), places.reshape(ids.shape), taps.weights[start : start + band_rows])


def _tensor_band(crop_logits: Tensor, plan: WindowPlan) -> RowBand:
    """Return the whole image as one band."""
    if len(crop_logits) != plan.num_windows:
        raise ValueError(
            f"the plan has {plan.num_windows} windows, but there are logits of {len(crop_logits)}"
        )
    num_classes, height, width = crop_logits.shape[1:]
    # (n, K, h, w) -> (columns, K, window rows * h, w)
    windows = crop_logits.reshape(*plan.shape, num_classes, height, width).permute(1, 2, 0, 3, 4)
    rows = _merge_columns(windows.flatten(2, 3), plan.columns)
    return next(_bands(lambda ids: _take_rows(rows, ids), plan.rows, height, plan.rows.size))


def _stream_bands(window_rows: Iterable[Tensor], plan: WindowPlan) -> Iterator[RowBand]:
    """Cut the image into bands, taking in window rows as they are needed and letting go of those passed."""
    arriving = iter(window_rows)
    first = next(arriving, None)
    grid_rows = 1 if first is None else first.shape[2]
    came = 0 if first is None else 1
    held = torch.empty(0) if first is None else _merge_columns(first, plan.columns)  # (K, rows held, W)

    def fetch(ids: NDArray[np.int64]) -> Tensor:
        nonlocal held, came
        while came * grid_rows <= ids[-1]:
            windows = next(arriving, None)
            if windows is None:
                raise ValueError(f"the plan has {plan.shape[0]} rows of windows, but {came} came")
            held = torch.cat([held, _merge_columns(windows, plan.columns)], 1)
            came += 1
        first_id = came * grid_rows - held.shape[1]
        passed = int(ids[0]) // grid_rows * grid_rows - first_id
        held = held[:, passed:]
        return _take_rows(held, ids - first_id - passed)

    yield from _bands(fetch, plan.rows, grid_rows, _STREAM_ROWS)
    came += sum(1 for _ in arriving)
    if came != plan.shape[0]:
        raise ValueError(f"the plan has {plan.shape[0]} rows of windows, but {came} came")


def _merge_columns(windows: Tensor, axis: Axis) -> Tensor:
    """Merge windows that lie side by side: (windows in a row, K, r, w) -> (K, r, W) float32."""
    count, num_classes, rows, width = windows.shape
    if count != len(axis.starts):
        raise ValueError(f"the plan has {len(axis.starts)} windows in a row, but there are {count}")
    windows = windows.detach().float()
    if width != axis.window:
        # From the patch grid, columns are mixed as rows are, while they lie one below the other.
        taps = _taps(axis, width)
        columns = windows.permute(0, 3, 1, 2).reshape(1, count * width, num_classes * rows)
        mixed = RowBand(0, columns, taps.ids, taps.weights).mixed()[0]  # (W, K * r)
        return _transposed(mixed).view(num_classes, rows, axis.size)
    lines = windows.reshape(count, num_classes * rows, width)
    if count > 1 or axis.padded != axis.window:
        shares = axis.weights().to(lines.device)
        merged = lines.new_zeros(1, num_classes * rows, axis.padded)
        for window, share, start in zip(lines, shares, axis.starts, strict=True):
            merged[0, :, start : start + axis.window].addcmul_(window, share)
        merged[..., axis.uncovered().to(lines.device)] = torch.nan
        lines = merged
    return _to_image(lines[0], axis).view(num_classes, rows, axis.size)


def _to_image(line: Tensor, axis: Axis) -> Tensor:
    """Take lines along the padded axis back to the image: (C, padded) -> (C, size)."""
    line = line[:, : axis.resized]
    if axis.resized == axis.size:
        return line.contiguous()
    return _resize_lines(line[None], axis.size)[0]


def _resize_lines(lines: Tensor, length: int) -> Tensor:
    """Resize (n, C, g) to (n, C, length), linearly; as images of one row, which torch rounds as published."""
    return F.interpolate(lines[:, :, None], (1, length), mode="bilinear", align_corners=False)[:, :, 0]


@lru_cache(maxsize=64)
def _taps(axis: Axis, grid_rows: int) -> _Taps:
    """Find what each image row (or column) is made of, by merging windows with one row of 1, the rest 0."""
    unit = torch.eye(grid_rows)[None]  # (1, grid rows as channels, grid rows)
    unit = _resize_lines(unit, axis.window)[0]
    image_rows, ids, weights = [], [], []
    for window_row, (start, share) in enumerate(zip(axis.starts, axis.weights(), strict=True)):
        line = torch.zeros(grid_rows, axis.padded)
        line[:, start : start + axis.window] = unit * share
        response = _to_image(line, axis).numpy()
        rows_of_window, rows_of_image = np.nonzero(response)
        image_rows.append(rows_of_image)
        ids.append(rows_of_window + window_row * grid_rows)
        weights.append(response[rows_of_window, rows_of_image])
    uncovered = _to_image(axis.uncovered().float()[None], axis)[0].numpy() > 0
    image_rows.append(np.flatnonzero(uncovered))
    ids.append(np.full(int(uncovered.sum()), len(axis.starts) * grid_rows - 1))
    weights.append(np.full(int(uncovered.sum()), np.nan, np.float32))

    image_row, row_id, weight = (np.concatenate(parts) for parts in (image_rows, ids, weights))
    order = np.lexsort((row_id, image_row))
    image_row, row_id, weight = image_row[order], row_id[order], weight[order]
    counts = np.bincount(image_row, minlength=axis.size)
    tap = np.arange(len(image_row)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.repeat(row_id[np.cumsum(counts) - counts, None], counts.max(), axis=1)
    weights_table = np.zeros(table.shape, np.float32)
    table[image_row, tap] = row_id
    weights_table[image_row, tap] = weight
    return _Taps(table, weights_table)


def _transposed(matrix: Tensor) -> Tensor:
    """Return (b, a) of (a, b) in new memory, by OpenCV where it can, which is twice as fast."""
    if matrix.device.type == "cpu":
        return torch.from_numpy(cv2.transpose(matrix.numpy()))
    return matrix.t().contiguous()


def _take_rows(rows: Tensor, ids: NDArray[np.int64]) -> Tensor:
    """Return ``rows[:, ids]`` of (K, S, W); a view where the ids are consecutive."""
    if ids[-1] - ids[0] == len(ids) - 1:
        return rows[:, int(ids[0]) : int(ids[-1]) + 1]
    return rows[:, torch.from_numpy(ids).to(rows.device)]
