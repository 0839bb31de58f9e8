"""Outlines of instances, polygons or run lengths -> masks: COCO's instance format.

Outlines overlap. For training they are painted into one flat map: crowds first, then from the largest to the
smallest, so that what is small stays visible; an instance that others cover entirely has no pixel left and is
no segment. ``instances`` gives every mask as it was annotated, hidden pixels included: evaluation uses that.
A lossless second layer for training is to come.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from vfmseg.data.coco_json import Entries, size_of
from vfmseg.data.json_plan import take_rows
from vfmseg.data.run_lengths import area_of, decode_runs, encode_polygons, encode_runs, paint_runs
from vfmseg.data.segment_cache import Arrays
from vfmseg.data.segment_table import FromJson
from vfmseg.data.segments import MAX_SEGMENTS, AnnotatedInstances, LabelFiles, paint_segments
from vfmseg.errors import LabelError
from vfmseg.types import LabelSpace, Size, Targets

logger = logging.getLogger(__name__)

_FEWEST_NUMBERS: Final = 6
"""x and y of three points."""
_BEYOND_PX: Final = 0.5
"""How far a point may lie outside before it counts: tools write points on the border, and round."""
_FARTHEST_PX: Final = 100_000.0
"""How far outside a point is no outline any more. pycocotools walks along every edge, and from about 100,000,000 pixels
on its counters overflow and end the process."""


class _RunLengths(msgspec.Struct, gc=False):
    counts: list[int] | str
    size: tuple[int, int]


_OUTLINE: Final = msgspec.json.Decoder(list[list[float]] | _RunLengths)


class Shapes(FromJson):
    """The instances of a COCO instance JSON."""

    def __init__(self, label_space: LabelSpace, table: Arrays) -> None:
        super().__init__(label_space, table)
        self.num_clipped = 0
        """Polygons that reached outside their image so far, in this process."""

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return the instances that are visible in the flat map, in the order of the JSON.

        Raises:
            LabelError: an outline that cannot be read, or of another size than its image.
        """
        truth = self.instances(row, files)
        if len(truth) > MAX_SEGMENTS:
            raise LabelError(
                f"{self._title(row, files)} has {len(truth)} instances; {MAX_SEGMENTS} are possible."
            )
        canvas = np.zeros(truth.size[::-1], np.uint16)  # (W, H), as run lengths go
        runs = [decode_runs(rle) for rle in truth.rles]
        pixels = np.array([one[1::2].sum() for one in runs])
        is_crowd = truth.is_crowd.numpy()
        for place in np.lexsort((-pixels, ~is_crowd)):
            paint_runs(canvas, runs[place], int(place) + 1)
        return paint_segments(np.ascontiguousarray(canvas.T), truth.classes.numpy(), is_crowd)

    def instances(self, row: int, files: LabelFiles) -> AnnotatedInstances:
        """Return one mask for each annotation, also where they overlap; areas are the annotated ones.

        Raises:
            LabelError: as for ``targets``.
        """
        table = self._table
        start, stop = self.span(row)
        size = size_of(table["sizes"], self.place(row))
        rles = tuple(self._rle(i, row, start, size, files) for i in range(start, stop))
        areas = np.array(table["areas"][start:stop])
        for i in np.flatnonzero(areas < 0).tolist():
            areas[i] = area_of(rles[i])
        return AnnotatedInstances(
            rles,
            torch.from_numpy(table["classes"][start:stop].astype(np.int64)),
            torch.from_numpy(np.array(table["is_crowd"][start:stop])),
            torch.from_numpy(areas),
            size,
        )

    def _rle(self, item: int, row: int, first: int, size: Size, files: LabelFiles) -> bytes:
        start, stop = self._table["outline_starts"][item], self._table["outline_stops"][item]
        try:
            outline = _OUTLINE.decode(self._table["outlines"][start:stop].data)
            if isinstance(outline, _RunLengths):
                return _from_runs(outline, size)
            polygons = _check_polygons(outline, size)
        except (msgspec.MsgspecError, ValueError) as error:
            raise LabelError(
                f"{self._title(row, files)}: annotation {item - first + 1} of this image has no usable "
                f"`segmentation`: {error}. Correct or remove it, or leave the image out with skip_bad: true."
            ) from error
        self._count_outside(polygons, size, row, files)
        return encode_polygons(polygons, size)

    def _count_outside(
        self, polygons: list[NDArray[np.float64]], size: Size, row: int, files: LabelFiles
    ) -> None:
        for polygon in polygons:
            low, high = min(polygon.min(), 0), (polygon[0::2].max() - size[1], polygon[1::2].max() - size[0])
            if low < -_BEYOND_PX or max(high) > _BEYOND_PX:
                if not self.num_clipped:
                    logger.warning(
                        "%s: a polygon reaches outside its image of %d x %d (height x width): cut off at the border. "
                        "Further ones are counted, not logged.",
                        *(self._title(row, files), *size),
                    )
                self.num_clipped += 1

    def _title(self, row: int, files: LabelFiles) -> str:
        return f"{files.label_path(row)}: {files.image_name(row)}"


def shape_arrays(entries: Entries, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the arrays of chosen entries: ``sizes`` (n, 2), ``ends`` (n,), the outlines as text, and so on.

    Outlines stay text, 400 MB of it in COCO train: mapped from the cache, it takes no memory, and an image's
    share of it is read in microseconds when the image is. Reading all of it at once takes seconds.
    """
    ends, items = take_rows(entries.ends, rows)
    texts = [entries.outlines[i] for i in items.tolist()]
    stops = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    return {
        "sizes": entries.sizes[rows],
        "ends": ends,
        "classes": entries.classes[items],
        "is_crowd": entries.is_crowd[items],
        "areas": entries.areas[items],
        "outlines": np.frombuffer(b"".join(texts), np.uint8),
        "outline_starts": np.concatenate((np.zeros(1, np.int64), stops[:-1]))[: len(stops)],
        "outline_stops": stops,
    }


def _from_runs(outline: _RunLengths, size: Size) -> bytes:
    if outline.size != size:
        raise ValueError(f"its run lengths are for {outline.size[0]} x {outline.size[1]} (height x width)")
    if isinstance(outline.counts, str):
        rle = outline.counts.encode()
        runs = decode_runs(rle)
    else:
        runs = np.array(outline.counts, np.int64)
        rle = encode_runs(runs, size) if len(runs) and runs.min() >= 0 else b""
    if runs.sum() != size[0] * size[1] or not rle:
        raise ValueError(f"its runs cover {runs.sum()} pixels, the image has {size[0] * size[1]}")
    return rle


def _check_polygons(outline: list[list[float]], size: Size) -> list[NDArray[np.float64]]:
    if not outline:
        raise ValueError("it is empty (a box alone is no mask)")
    for polygon in outline:
        if len(polygon) < _FEWEST_NUMBERS or len(polygon) % 2:
            raise ValueError(
                f"a polygon has {len(polygon)} numbers; x and y of at least three points are needed"
            )
    polygons = [np.array(polygon, np.float64) for polygon in outline]
    for places in polygons:
        outside = np.maximum(-places, places - np.resize(size[::-1], len(places)))  # x and y in turn
        farthest = int(outside.argmax())
        if not outside[farthest] <= _FARTHEST_PX:
            x, y = places[farthest & ~1], places[farthest | 1]
            raise ValueError(
                f"a point of it lies at x {x:g}, y {y:g}, far outside the image of {size[0]} x {size[1]} (height x width)"
            )
    return polygons
