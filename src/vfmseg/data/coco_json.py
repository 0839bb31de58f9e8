"""The bytes of a COCO JSON, panoptic or instance -> arrays with one row for each annotated segment.

A panoptic file of COCO has 1.3 million segments and an instance file 40 million coordinates. Only the fields
that are needed become objects, for as long as it takes to copy them into arrays; outlines stay text until
``shapes.py`` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from vfmseg.data.coco_head import Category, Flag, no_garbage_collection
from vfmseg.data.spec import format_ranges
from vfmseg.errors import LabelError
from vfmseg.types import Size

MAX_ID: Final = (1 << 24) - 1
"""Segment ids are the colours of a PNG: red + 256 green + 65536 blue; 0 is no segment."""
_MOST_PIXELS: Final = 1 << 31
"""No image has that many: decoders refuse it, and run lengths could not count them."""

T = TypeVar("T")


class _Image(msgspec.Struct, gc=False):
    id: int | str
    file_name: str
    height: int = 0
    width: int = 0


class _Segment(msgspec.Struct, gc=False):
    id: int
    category_id: int
    iscrowd: Flag = 0


class _SegmentList(msgspec.Struct, gc=False):
    image_id: int | str
    file_name: str
    segments_info: list[_Segment]


class _Instance(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int
    segmentation: msgspec.Raw
    iscrowd: Flag = 0
    area: float = -1.0


class _Panoptic(msgspec.Struct):
    images: list[_Image]
    annotations: list[_SegmentList]
    categories: list[Category] = []


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Instance]
    categories: list[Category] = []


@dataclass(frozen=True)
class Entries:
    """The images a JSON speaks of, one row each, and their segments, one after the other."""

    image_ids: list[int | str]
    image_files: list[str]
    label_files: list[str]
    """PNG of each image; empty for an instance file, which has none."""
    sizes: NDArray[np.int32]
    """(n, 2) height and width as the JSON says, 0 where it does not."""
    ends: NDArray[np.int64]
    """(n,) where the segments of each image end."""
    ids: NDArray[np.uint32]
    """(s,) segment ids of a panoptic file; empty for an instance file."""
    classes: NDArray[np.uint8]
    """(s,) class ids."""
    is_crowd: NDArray[np.bool_]
    """(s,)"""
    areas: NDArray[np.float64]
    """(s,) areas of an instance file, -1 where it gives none; empty for a panoptic file."""
    outlines: list[msgspec.Raw]
    """s texts of an instance file: polygons or run lengths; empty for a panoptic file."""


def read_panoptic(data: bytes, raw_to_id: Mapping[int, int], title: str) -> Entries:
    """Read a panoptic JSON: one row for each item of ``annotations``.

    Args:
        data: the file.
        raw_to_id: category id -> class id.
        title: what messages call the file.

    Raises:
        LabelError: not such a file, or it contradicts itself; the item is named.
    """
    with no_garbage_collection():
        content = _decode(data, _Panoptic, title, "COCO panoptic")
        image_of = {image.id: image for image in content.images}
        lists = content.annotations
        lost = next((item for item in lists if item.image_id not in image_of), None)
        if lost is not None:
            raise LabelError(
                f"{title}: the segments of {lost.file_name} belong to image_id {lost.image_id!r}, which `images` "
                "does not list."
            )
        # attrgetter and map instead of loops: a second of start-up less on COCO's 1.3 million segments
        parts = list(map(attrgetter("segments_info"), lists))
        ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        segments = list(chain.from_iterable(parts))
        ids, categories, is_crowd = (
            _column(segments, key, title) for key in ("id", "category_id", "iscrowd")
        )
        images = [image_of[item.image_id] for item in lists]
        entries = Entries(
            image_ids=[item.image_id for item in lists],
            image_files=[image.file_name for image in images],
            label_files=[item.file_name for item in lists],
            sizes=_sizes(images, title),
            ends=ends,
            ids=np.zeros(0, np.uint32),
            classes=_classes(categories, raw_to_id, title),
            is_crowd=is_crowd != 0,
            areas=np.zeros(0),
            outlines=[],
        )
    _check_ids(ids, entries, title)
    _check_once(entries.image_ids, title)
    return replace(entries, ids=ids.astype(np.uint32))


def read_instances(data: bytes, raw_to_id: Mapping[int, int], title: str) -> Entries:
    """Read an instance JSON: one row for each item of ``images``, also those without any instance.

    Args and errors as for :func:`read_panoptic`. ``outlines`` refer to ``data``.
    """
    with no_garbage_collection():
        content = _decode(data, _Instances, title, "COCO instance")
        images, instances = content.images, content.annotations
        row_of = {image.id: row for row, image in enumerate(images)}
        lost = next((item.image_id for item in instances if item.image_id not in row_of), None)
        if lost is not None:
            raise LabelError(
                f"{title}: an annotation belongs to image_id {lost!r}, which `images` does not list."
            )
        row_of_each = map(row_of.__getitem__, map(attrgetter("image_id"), instances))
        rows = np.fromiter(row_of_each, np.int64, len(instances))
        order = np.argsort(rows, kind="stable")
        categories, is_crowd = (_column(instances, key, title) for key in ("category_id", "iscrowd"))
        areas = np.fromiter(map(attrgetter("area"), instances), np.float64, len(instances))
        entries = Entries(
            image_ids=[image.id for image in images],
            image_files=[image.file_name for image in images],
            label_files=[],
            sizes=_sizes(images, title),
            ends=np.cumsum(np.bincount(rows, minlength=len(images))),
            ids=np.zeros(0, np.uint32),
            classes=_classes(categories, raw_to_id, title)[order],
            is_crowd=is_crowd[order] != 0,
            areas=areas[order],
            outlines=[instances[i].segmentation for i in order.tolist()],
        )
    _check_once(entries.image_ids, title)
    unsized = np.flatnonzero((entries.sizes < 1).any(axis=1))
    if len(unsized):
        raise LabelError(f"{title}: {entries.image_files[unsized[0]]} has no height and width in `images`.")
    return entries


def size_of(sizes: NDArray[np.int32], row: int) -> Size:
    """Return (height, width) of a row."""
    return int(sizes[row, 0]), int(sizes[row, 1])


def _decode(data: bytes, kind: type[T], title: str, what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise LabelError(f"{title} is no {what} JSON: {error}.") from error


def _column(items: Sequence[Any], key: str, title: str) -> NDArray[np.int64]:
    try:
        return np.fromiter(map(attrgetter(key), items), np.int64, len(items))
    except OverflowError:
        value = max((getattr(item, key) for item in items), key=abs)
        raise LabelError(f"{title} has the {key} {value}, which is no 64-bit number. Correct it.") from None


def _sizes(images: list[Any], title: str) -> NDArray[np.int32]:
    sizes = np.stack([_column(images, side, title) for side in ("height", "width")], axis=1)  # (n, 2)
    beyond = np.flatnonzero(sizes.clip(0, _MOST_PIXELS).prod(1) >= _MOST_PIXELS)
    if len(beyond):
        row = int(beyond[0])
        raise LabelError(
            f"{title}: {images[row].file_name} is said to have a height of {sizes[row, 0]} and a width of "
            f"{sizes[row, 1]} pixels, more than any image. Correct them in `images`."
        )
    return sizes.astype(np.int32)


def _classes(categories: NDArray[np.int64], raw_to_id: Mapping[int, int], title: str) -> NDArray[np.uint8]:
    known = np.array(sorted(raw_to_id), np.int64)
    places = np.minimum(np.searchsorted(known, categories), max(len(known) - 1, 0))
    unknown = np.unique(categories[known[places] != categories]) if len(known) else np.unique(categories)
    if len(unknown):
        raise LabelError(
            f"{title} has the category ids {format_ranges(unknown[:20].tolist())}, which are none of this data set. "
            f"Known are {format_ranges(known.tolist()) or 'none'}."
        )
    return np.array([raw_to_id[int(k)] for k in known], np.uint8)[places]


def _check_ids(ids: NDArray[np.int64], entries: Entries, title: str) -> None:
    rows = np.repeat(np.arange(len(entries.ends)), np.diff(entries.ends, prepend=0))
    wrong = np.flatnonzero((ids < 1) | (ids > MAX_ID))
    if len(wrong):
        raise LabelError(
            f"{title}: {entries.label_files[rows[wrong[0]]]} has a segment with id {ids[wrong[0]]}; ids are 1 to "
            f"{MAX_ID}, as colours of a PNG (0 is no segment)."
        )
    keys = np.sort(rows << 24 | ids)
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        key = int(keys[twice[0]])
        raise LabelError(
            f"{title}: {entries.label_files[key >> 24]} has two segments with id {key & MAX_ID}."
        )


def _check_once(image_ids: list[int | str], title: str) -> None:
    if len(set(image_ids)) == len(image_ids):
        return
    seen: set[int | str] = set()
    for image_id in image_ids:
        if image_id in seen:
            raise LabelError(f"{title} lists the image {image_id!r} twice. Merge the two or remove one.")
        seen.add(image_id)
