"""A PNG of segment ids, and arrays that say what each id is -> segments: COCO's panoptic format."""

from __future__ import annotations

import threading
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vfmseg.data.coco_json import MAX_ID, Entries
from vfmseg.data.images import decode_image
from vfmseg.data.json_plan import take_rows
from vfmseg.data.segment_table import FromJson
from vfmseg.data.segments import MAX_SEGMENTS, AnnotatedInstances, LabelFiles, cut_out, paint_segments
from vfmseg.errors import ImageError, LabelError
from vfmseg.types import Targets

_JPEG: Final = b"\xff\xd8\xff"
_SHOWN: Final = 5
_local = threading.local()


class PanopticPngs(FromJson):
    """The segments of a COCO panoptic JSON."""

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return the segments in the order of the JSON, without those that have no pixel in the PNG.

        Raises:
            LabelError: the PNG is damaged, or holds ids that the JSON does not.
        """
        name = files.label_path(row)
        codes = read_ids(files.read_label_bytes(row), name)
        start, stop = self.span(row)
        ids = self._table["ids"][start:stop]
        if len(ids) > MAX_SEGMENTS:
            raise LabelError(f"{name} has {len(ids)} segments; {MAX_SEGMENTS} are possible.")
        lookup = _lookup()
        lookup[ids] = np.arange(1, len(ids) + 1)
        places = np.take(lookup, codes)
        lookup[ids] = 0
        lost = (places == 0) & (codes != 0)
        if lost.any():
            values, counts = np.unique(codes[lost], return_counts=True)
            order = np.argsort(-counts, kind="stable")[:_SHOWN]
            shown = ", ".join(f"{values[i]} ({counts[i]} pixels)" for i in order)
            more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
            raise LabelError(
                f"{name} holds segment ids that the JSON does not list for it: {shown}{more}. The PNGs and the "
                "JSON are of different releases or one was edited: fetch or export both again."
            )
        classes = self._table["classes"][start:stop].astype(np.int64)
        return paint_segments(places, classes, self._table["is_crowd"][start:stop])

    def instances(self, row: int, files: LabelFiles) -> AnnotatedInstances:
        """Return one mask for each segment of a thing class: segments do not overlap."""
        return cut_out(self.targets(row, files), self.label_space)


def segment_arrays(entries: Entries, rows: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of chosen entries: ``ends`` (n,), and ``ids``, ``classes``, ``is_crowd`` (s,)."""
    ends, items = take_rows(entries.ends, rows)
    return {
        "ends": ends,
        "ids": entries.ids[items],
        "classes": entries.classes[items],
        "is_crowd": entries.is_crowd[items],
    }


def read_ids(data: bytes, name: str) -> NDArray[np.uint32]:
    """Decode a PNG whose colours are ids: red + 256 green + 65536 blue.

    Returns:
        (H, W) uint32.

    Raises:
        LabelError: damaged, or a JPEG.
    """
    if data.startswith(_JPEG):
        raise LabelError(
            f"{name} is a JPEG, which changes colours and with them ids. Export the labels as PNG."
        )
    try:
        pixels = decode_image(data, name)  # also of grey and palette PNGs the colour is the id
    except ImageError as error:
        raise LabelError(str(error).replace("as an image", "as a label")) from error
    padded = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)  # (H, W, 4), alpha 255
    return padded.view("<u4")[..., 0] & MAX_ID


def _lookup() -> NDArray[np.uint16]:
    """Return a table over all ids, one for each thread; untouched pages of it take no memory."""
    if not hasattr(_local, "lookup"):
        _local.lookup = np.zeros(MAX_ID + 1, np.uint16)
    table: NDArray[np.uint16] = _local.lookup
    return table
