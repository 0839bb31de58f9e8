"""Turns instance masks into COCO's compressed run-length strings and back.

COCO counts runs of equal pixels down the columns, first pixels outside the mask (a run of 0 if the first pixel
is inside), and writes each count, from the fourth on, as its difference to the one two before. Numbers become
groups of five bits, lowest first, with a sixth bit where more follow, each shifted into printable characters
by 48; the highest bit of the last group is the sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.types import Instances, Size

_CONTINUES, _SIGN, _OFFSET = 32, 16, 48


class RunLength(TypedDict):
    """A mask as COCO writes it to JSON."""

    size: list[int]
    """[height, width]"""
    counts: str
    """Compressed runs."""


def encode_instances(found: Instances) -> list[RunLength]:
    """Return the S masks of an image, in their order."""
    masks = []
    for packed in found.packed_masks.cpu().numpy():
        rows, octets = np.flatnonzero(packed.any(1)), np.flatnonzero(packed.any(0))
        part = np.zeros((0, 0), np.uint8)
        top = left = 0
        if len(rows):  # most masks are small: only what holds something is unpacked
            top, left = int(rows[0]), 8 * int(octets[0])
            part = np.unpackbits(packed[top : rows[-1] + 1, octets[0] : octets[-1] + 1], axis=1)
            part = part[:, : found.size[1] - left]
        masks.append(_encode_part(part, top, left, found.size))
    return masks


def encode_masks(masks: Tensor | NDArray[np.bool_]) -> list[RunLength]:
    """Return each of the masks (S, H, W) bool as run lengths."""
    array = masks.cpu().numpy() if isinstance(masks, Tensor) else masks
    return [encode_mask(mask) for mask in array]


def encode_mask(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> RunLength:
    """Return a mask (H, W), bool or 0 and 1, as run lengths.

    Raises:
        ValueError: it has no pixels.
    """
    height, width = mask.shape
    if not mask.size:
        raise ValueError(f"a mask of {height} x {width} has no pixels to encode")
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    columns, rows = np.flatnonzero(pixels.any(0)), np.flatnonzero(pixels.any(1))
    if not len(rows):
        return _encode_part(pixels[:0], 0, 0, (height, width))
    part = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _encode_part(part, int(rows[0]), int(columns[0]), (height, width))


def _encode_part(part: NDArray[np.uint8], top: int, left: int, size: Size) -> RunLength:
    """Encode a mask of ``size`` that holds ``part`` (h, w), 0 and 1, at ``top`` and ``left``, and else nothing."""
    height, width = size
    if not part.size:
        return {"size": [height, width], "counts": _to_text(np.array([height * width]))}
    # Columns of the part lie one after the other, with a 0 in front of each and one at the very end.
    walk = np.zeros((part.shape[1], part.shape[0] + 1), np.uint8)
    walk[:, 1:] = cv2.transpose(part).reshape(part.shape[1], part.shape[0])
    flat = np.append(walk.reshape(-1), np.uint8(0))
    changes = np.flatnonzero(flat[1:] != flat[:-1])  # last 0 before a run, last 1 of it; alternating
    column, row = np.divmod(changes, part.shape[0] + 1)
    # ``changes`` counts from 0 at a column's 0, so that its pixel p (from 0) stands at p + 1.
    places = (column + left) * height + row + top
    starts, stops = places[0::2], places[1::2]
    # A run that ends at the bottom goes on if the next begins at the top.
    is_real = starts[1:] != stops[:-1]
    edges = np.empty(2 * (int(is_real.sum()) + 1) + 1, np.int64)
    edges[0::2] = np.concatenate([[0], stops[:-1][is_real], stops[-1:]])
    edges[1::2] = np.concatenate([starts[:1], starts[1:][is_real]])
    counts = np.diff(edges)
    if edges[-1] < height * width:
        counts = np.append(counts, height * width - edges[-1])
    return {"size": [height, width], "counts": _to_text(counts)}


def decode(run_lengths: Iterable[RunLength]) -> list[NDArray[np.bool_]]:
    """Return the masks, (H, W) bool each; sizes may differ.

    Raises:
        ValueError: the runs do not add up to the size, or are cut off.
    """
    return [_decode_mask(run_length["counts"], run_length["size"]) for run_length in run_lengths]


def pack_masks(masks: Sequence[NDArray[np.bool_]], size: Size) -> Tensor:
    """Return masks of one ``size``, (H, W) bool each, as ``Instances.packed_masks``."""
    packed = np.zeros((len(masks), size[0], -(-size[1] // 8)), np.uint8)
    for target, mask in zip(packed, masks, strict=True):
        target[:] = np.packbits(mask, axis=1)
    return torch.from_numpy(packed)


def _decode_mask(text: str | bytes, size: Sequence[int]) -> NDArray[np.bool_]:
    height, width = size
    counts = _from_text(text.encode("ascii") if isinstance(text, str) else text)
    if (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(
            f"runs of {int(counts.sum())} pixels do not fill a mask of {height} x {width}, "
            f"which has {height * width}"
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _to_text(counts: NDArray[np.int64]) -> str:
    """Write run lengths as characters."""
    numbers = counts.copy()
    numbers[3:] -= counts[1:-2]
    groups, is_used = [], []
    more = np.ones(len(numbers), bool)
    while more.any():
        is_used.append(more)
        group = numbers & 31
        numbers = numbers >> 5
        # What remains is nothing but the sign, and the group's highest bit says so: done.
        more = more & (numbers != np.where(group & _SIGN, -1, 0))
        groups.append(group + np.where(more, _CONTINUES, 0) + _OFFSET)
    characters = np.stack(groups, 1)[np.stack(is_used, 1)]  # number by number, lowest group first
    return characters.astype(np.uint8).tobytes().decode("ascii")


def _from_text(text: bytes) -> NDArray[np.int64]:
    """Read run lengths from characters; inverse of ``_to_text``."""
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - _OFFSET
    if not len(groups):
        return np.zeros(0, np.int64)
    continues = groups & _CONTINUES > 0
    if continues[-1] or (groups < 0).any() or (groups > 63).any():
        raise ValueError("the string of run lengths is cut off or damaged")
    ends = np.flatnonzero(~continues)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shift = 5 * (np.arange(len(groups)) - np.repeat(starts, ends - starts + 1))
    if shift.max() > 55:
        raise ValueError("the string of run lengths is damaged: a number has too many digits")
    numbers = np.add.reduceat((groups & 31) << shift, starts)
    numbers -= np.where(groups[ends] & _SIGN, np.int64(1) << (shift[ends] + 5), 0)
    # From the fourth on they are differences to the one two before: each parity adds up on its own.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
