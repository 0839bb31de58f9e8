"""A sample -> an observation: all that the doctor keeps of an image and its label, some numbers each.

Files are read and decoded in threads, which the decoders leave free to run side by side; an image lives only
while it is being looked at.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vfmseg.data.annotations import pack_colours
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.data.images import decode_image, decode_label, read_orientation
from vfmseg.errors import ImageError, LabelError
from vfmseg.types import Size

_JPEG: Final = b"\xff\xd8\xff"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPE_AT: Final = 25
_PNG_PALETTE: Final = 3
_ORIENTATION_MARKS: Final = (b"Exif\0", b"eXIf", b"Raw profile type exif", b"tiff:Orientation")
"""What a JPEG or PNG holds where Pillow finds an orientation: in EXIF, as PNG writes it now or did, or in XMP."""
_EXIF_WITHIN: Final = 1 << 17
"""Bytes from the start of a JPEG in which they lie: a segment has at most 64 KiB."""
_EXACT_FLOAT: Final = 1 << 24
"""OpenCV counts in float32, which is exact up to here."""
_FLAT: Final = 24
"""Range of the summed RGB thumbnail below which a picture shows too little to be compared."""
_SPARSE: Final = (9 * 16, 8 * 16)
"""(width, height) of the points a difference hash looks at."""
_SUBMITTED: Final = 1024
"""Samples handed to the threads at once, so that a large data set costs no memory."""

LabelKind = Literal["values", "palette", "colours", "jpeg", ""]
"""How a label is stored; empty where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one sample."""

    index: int
    image_problem: str = ""
    """Why the image cannot be used, or empty."""
    label_problem: str = ""
    """Why the label cannot be used, or empty."""
    image_size: Size | None = None
    label_size: Size | None = None
    orientation: int = 1
    """EXIF orientation of the image."""
    kind: LabelKind = ""
    codes: tuple[int, ...] = ()
    """Raw values in the label; colours as ``pack_colour`` has them."""
    counts: tuple[int, ...] = ()
    """Pixels of each."""
    digest: bytes = b""
    """Of the image file; equal bytes, equal digest."""
    difference_hash: bytes = b""
    """8 bytes; empty where the picture is flat or cannot be read."""
    read_s: float = 0.0
    decode_s: float = 0.0
    """Of one core."""


def scan(dataset: SegmentationDataset, chosen: Sequence[int], *, num_threads: int) -> Iterator[Observation]:
    """Look at samples, in the given order."""
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(chosen), _SUBMITTED):
            yield from pool.map(partial(observe, dataset), chosen[start : start + _SUBMITTED])


def observe(dataset: SegmentationDataset, index: int) -> Observation:
    """Look at one sample. What is wrong with its files is part of the answer, never raised."""
    started_s = time.perf_counter()
    image_data, image_problem = _read_image(dataset, index)
    label_data, label_problem = _read_label(dataset, index)
    read_s = time.perf_counter() - started_s
    started_s = time.thread_time()
    image, label = None, None
    if not image_problem:
        try:
            image = decode_image(image_data, "it")
        except ImageError as error:
            image_problem = str(error)
    is_jpeg = label_data.startswith(_JPEG)
    if not label_problem and not is_jpeg:
        try:
            label = decode_label(label_data, "it", dataset.label_map.channel)
        except LabelError as error:
            label_problem = str(error)
    decode_s = time.thread_time() - started_s
    kind: LabelKind = "jpeg" if is_jpeg else ""
    codes: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    if label is not None:
        kind = "colours" if label.ndim == 3 else "palette" if _has_palette(label_data) else "values"
        codes, counts = count_values(label)
    return Observation(
        index=index,
        image_problem=image_problem,
        label_problem=label_problem,
        image_size=None if image is None else (image.shape[0], image.shape[1]),
        label_size=None if label is None else (label.shape[0], label.shape[1]),
        orientation=read_orientation(image_data) if image is not None and _may_have_exif(image_data) else 1,
        kind=kind,
        codes=codes,
        counts=counts,
        digest=hashlib.sha256(image_data).digest()[:16] if image_data else b"",
        difference_hash=b"" if image is None else difference_hash(image),
        read_s=read_s,
        decode_s=decode_s,
    )


def count_values(
    label: NDArray[np.uint8] | NDArray[np.uint16],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the raw values of a label in ascending order, and the pixels of each.

    Args:
        label: (H, W) uint8 or uint16 values, or (H, W, 3) uint8 colours, which are packed into one number.
    """
    if label.ndim == 3:
        return _count_colours(label)
    flat = label.reshape(1, -1)  # (H, W) -> (1, H * W)
    bins = int(np.iinfo(label.dtype).max) + 1
    totals = np.zeros(bins, np.int64)
    for start in range(0, flat.shape[1], _EXACT_FLOAT):
        part = flat[:, start : start + _EXACT_FLOAT]
        totals += cv2.calcHist([part], [0], None, [bins], [0, bins]).reshape(-1).astype(np.int64)
    codes = np.flatnonzero(totals)
    return tuple(codes.tolist()), tuple(totals[codes].tolist())


def _count_colours(
    label: NDArray[np.uint8] | NDArray[np.uint16],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sort runs of equal colour instead of pixels, which are far more."""
    packed = pack_colours(label).reshape(-1)  # (H, W, 3) -> (H * W,)
    starts = np.concatenate(([0], np.flatnonzero(packed[1:] != packed[:-1]) + 1))
    lengths = np.diff(starts, append=len(packed))
    codes, run_code = np.unique(packed[starts], return_inverse=True)
    totals = np.bincount(run_code, weights=lengths, minlength=len(codes)).astype(np.int64)
    return tuple(codes.tolist()), tuple(totals.tolist())


def difference_hash(image: NDArray[np.uint8]) -> bytes:
    """Return 64 bits that say, on an 8 x 8 grid, whether the picture gets brighter to the right.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        8 bytes, nearly the same for pictures that look the same; empty for a flat picture.
    """
    sparse = cv2.resize(image, _SPARSE, interpolation=cv2.INTER_LINEAR)  # all pixels: too slow
    small = cv2.resize(sparse, (9, 8), interpolation=cv2.INTER_AREA)  # (8, 9, 3)
    brightness = small.astype(np.int32).sum(axis=2)
    if brightness.max() - brightness.min() < _FLAT:
        return b""
    return np.packbits(brightness[:, 1:] > brightness[:, :-1]).tobytes()


def _read_image(dataset: SegmentationDataset, index: int) -> tuple[bytes, str]:
    try:
        return dataset.read_image_bytes(index), ""
    except ImageError as error:
        return b"", str(error)


def _read_label(dataset: SegmentationDataset, index: int) -> tuple[bytes, str]:
    try:
        return dataset.read_label_bytes(index), ""
    except LabelError as error:
        return b"", str(error)


def _may_have_exif(data: bytes) -> bool:
    """Spare the files that surely have no orientation a second look by Pillow."""
    if data.startswith((_JPEG, _PNG)):
        head = data[:_EXIF_WITHIN] if data.startswith(_JPEG) else data
        return any(mark in head for mark in _ORIENTATION_MARKS)
    return True


def _has_palette(data: bytes) -> bool:
    return data.startswith(_PNG) and data[_PNG_COLOUR_TYPE_AT] == _PNG_PALETTE
