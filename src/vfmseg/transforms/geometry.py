"""Turns sizes and drawn numbers into resized, mirrored and cropped pixels and label maps.

Images are (H, W, 3) uint8 arrays and label maps (H, W) arrays of any integer type. Sizes are (height, width),
windows are (top, left, height, width). An image and its label map go through the same window, so they stay
aligned.
"""

from __future__ import annotations

import math
from typing import TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from vfmseg.errors import LabelError
from vfmseg.types import Sample, Size

Window = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""
_Number = TypeVar("_Number", bound=np.generic)


def check_sizes(sample: Sample) -> None:
    """Raise LabelError where image and id map of ``sample`` differ in size."""
    label_size, image_size = tuple(sample.targets.id_map.shape), tuple(sample.image.shape[-2:])
    if label_size != image_size:
        raise LabelError(
            f"{sample.name}: the image is {image_size} pixels (height, width), its id map "
            f"{label_size}. Both must have one size; `vfmseg check-data` lists such pairs."
        )


def scaled_size(image_size: Size, target_size: Size, scale: float) -> Size:
    """Return the size to which scale jitter resizes an image, as torchvision's ``ScaleJitter`` does.

    The ratio is ``scale * min(target width / height, target height / width)`` in float32, and sizes are
    truncated. The sides of the target are swapped in the published formula, which matters only for targets
    that are not square.

    Args:
        image_size: (height, width) of the image.
        target_size: (height, width) of the crop.
        scale: drawn factor.

    Returns:
        (height, width), at least 1 each.
    """
    height, width = image_size
    ratio = np.float32(min(target_size[1] / height, target_size[0] / width)) * np.float32(scale)
    return max(1, int(np.float32(height) * ratio)), max(1, int(np.float32(width) * ratio))


def crop_window(top: int, left: int, resized_size: Size, size: Size) -> Window:
    """Return the part of a scaled image that a crop of ``size`` at ``top`` and ``left`` shows, if it is as large."""
    return top, left, min(size[0], resized_size[0]), min(size[1], resized_size[1])


def source_window(window: Window, source_size: Size, resized_size: Size) -> Window:
    """Return the part of the source that an antialiased bilinear resize reads for ``window`` of its result.

    Args:
        window: part of the resized image.
        source_size: (height, width) before the resize.
        resized_size: (height, width) after it.

    Returns:
        A window of the source, up to two pixels larger than needed on each side.
    """
    top, left, height, width = window
    first_row, last_row = _source_span(top, top + height, source_size[0], resized_size[0])
    first_column, last_column = _source_span(left, left + width, source_size[1], resized_size[1])
    return first_row, first_column, last_row - first_row, last_column - first_column


def mirror(window: Window, width: int) -> Window:
    """Return where ``window`` comes to lie when the image of ``width`` pixels is flipped left to right."""
    top, left, window_height, window_width = window
    return top, width - left - window_width, window_height, window_width


def cut(array: NDArray[_Number], window: Window) -> NDArray[_Number]:
    """Return ``window`` of an image or label map, as a view."""
    top, left, height, width = window
    return array[top : top + height, left : left + width]


def resize(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 pixels at ``size``: bilinear, antialiased, equal to torchvision's ``resize``."""
    height, width = pixels.shape[:2]
    # Spelled-out strides: torch's fast interleaved path needs a batch of one to be clearly channels-last.
    strides = (height * width * 3, 1, width * 3, 3)
    image = torch.from_numpy(np.ascontiguousarray(pixels)).as_strided((1, 3, height, width), strides)
    resized = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def nearest_index(
    source_size: Size, resized_size: Size, window: Window, *, flip: bool = False
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which source rows and columns ``window`` of a nearest-neighbour resize shows.

    Equals torchvision's nearest ``resize`` of the whole map, then cropped.

    Args:
        source_size: (height, width) before the resize.
        resized_size: (height, width) after it.
        window: part of the resized map.
        flip: whether the map is mirrored left to right before the resize.

    Returns:
        (window height,) row and (window width,) column indices.
    """
    top, left, height, width = window
    rows = _nearest_span(top, height, source_size[0], resized_size[0])
    columns = _nearest_span(left, width, source_size[1], resized_size[1])
    return rows, (source_size[1] - 1 - columns if flip else columns)


def look_up(label: NDArray[_Number], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[_Number]:
    """Return ``label[rows][:, columns]`` in new memory; ``rows`` must ascend."""
    # Looking up columns is the dear part, so it is done on as few rows as possible.
    if len(rows) <= rows[-1] - rows[0]:
        return label[rows].take(columns, axis=1)
    return label[rows[0] : rows[-1] + 1].take(columns, axis=1)[rows - rows[0]]


def pad(label: NDArray[_Number], size: Size, fill: int) -> NDArray[_Number]:
    """Return a map of ``size`` with ``label`` at the top left; ``label`` itself where it has that size."""
    if label.shape == size:
        return label
    padded = np.full(size, fill, label.dtype)
    padded[: label.shape[0], : label.shape[1]] = label
    return padded


def pad_to_planes(
    pixels: NDArray[np.uint8], size: Size, fill: tuple[int, int, int] = (0, 0, 0)
) -> NDArray[np.uint8]:
    """Return new planes (3, height, width) of ``size``: (H, W, 3) ``pixels`` at the top left, ``fill`` elsewhere."""
    height, width = pixels.shape[:2]
    planes = np.empty((3, *size), np.uint8)
    if (height, width) != size:
        planes[:] = np.array(fill, np.uint8)[:, None, None]
    cv2.split(pixels, [plane[:height, :width] for plane in planes])
    return planes


def _source_span(start: int, stop: int, source_length: int, resized_length: int) -> tuple[int, int]:
    """Return which source pixels of an axis the outputs [start, stop) of an antialiased resize read."""
    step = source_length / resized_length
    reach = max(step, 1.0) + 1.0  # the filter's half width, and one more for the rounding of its ends
    first = math.floor((start + 0.5) * step - reach)
    last = math.ceil((stop - 0.5) * step + reach)
    return max(0, first), min(source_length, last)


def _nearest_span(start: int, count: int, source_length: int, resized_length: int) -> NDArray[np.intp]:
    """Return the source index of each resized pixel from ``start``: floor(i * step) in float32, as torch."""
    step = np.float32(source_length) / np.float32(resized_length)
    index = (np.arange(start, start + count, dtype=np.float32) * step).astype(np.intp)
    return np.minimum(index, source_length - 1)
