"""Masks <-> COCO's run lengths, and polygons -> run lengths by the rule of COCO's own tools.

This file is the door to pycocotools, whose rasteriser decides which pixels a polygon holds. A run-length
encoded mask ("rle" below) is a byte string over a known size: lengths of runs of 0 and 1 in turn, column by
column, each stored in groups of five bits, the lowest first; from the fourth run on as the difference to the
run two before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from vfmseg.types import Size

_FIRST_CHARACTER: Final = 48
_MORE: Final = 0x20
"""Bit of a group that says that the number goes on."""
_SIGN: Final = 0x10
"""Bit of a number's last group that says that it is negative."""


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return an (H, W) mask as rle."""
    return bytes(coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"])


def encode_polygons(polygons: Sequence[NDArray[np.float64]], size: Size) -> bytes:
    """Return the union of polygons as rle; what lies outside the image is cut off.

    Args:
        polygons: each (2 * P,), x and y in turn, in pixels from the left upper corner.
        size: (height, width).
    """
    rles = coco.frPyObjects([polygon.tolist() for polygon in polygons], *size)
    return bytes((rles[0] if len(rles) == 1 else coco.merge(rles))["counts"])


def encode_runs(runs: NDArray[np.int64], size: Size) -> bytes:
    """Return uncompressed run lengths (0 first, column by column) as rle."""
    return bytes(coco.frPyObjects({"counts": runs.tolist(), "size": list(size)}, *size)["counts"])


def decode_runs(rle: bytes) -> NDArray[np.int64]:
    """Return the lengths of the runs, of 0 and 1 in turn.

    Raises:
        ValueError: the text is cut short or holds other characters.
    """
    groups = np.frombuffer(rle, np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not len(groups) or groups.min() < 0 or groups.max() >= 2 * _MORE or groups[-1] & _MORE:
        raise ValueError("these are no compressed run lengths")
    ends = np.flatnonzero(groups & _MORE == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    shifts = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((groups & (_MORE - 1)) << shifts, starts)
    numbers -= np.where(groups[ends] & _SIGN, 1 << (5 * lengths), 0)
    runs = numbers.copy()
    runs[1::2], runs[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    if (runs < 0).any():
        raise ValueError("a run has a negative length")
    return runs


def decode_mask(rle: bytes, size: Size) -> NDArray[np.bool_]:
    """Return rle as an (H, W) mask; the memory is laid out column by column.

    Raises:
        ValueError: it is damaged or of another size.
    """
    runs = decode_runs(rle)
    if runs.sum() != size[0] * size[1]:
        raise ValueError(f"the runs cover {runs.sum()} pixels of {size[0] * size[1]}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[::-1]).T


def paint_runs(canvas: NDArray[np.uint16], runs: NDArray[np.int64], value: int) -> None:
    """Write a value into a canvas wherever a mask is 1.

    Args:
        canvas: (W, H): a column of the image is a row here, as run lengths go.
        runs: of a mask of (H, W), as :func:`decode_runs` gives them.
        value: to write.
    """
    if len(runs) > 1:
        inside = runs[1 : len(runs) & ~1]  # from the first pixel of the mask to its last
        mask = np.repeat(np.arange(len(inside)) % 2 == 0, inside)
        canvas.reshape(-1)[runs[0] : runs[0] + len(mask)][mask] = value


def area_of(rle: bytes) -> int:
    """Return the number of pixels that are 1."""
    return int(decode_runs(rle)[1::2].sum())
