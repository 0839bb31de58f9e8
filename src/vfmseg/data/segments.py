"""Pixels with codes, and what each code is -> the segments of one image, flat or as one mask per instance.

All readers of panoptic and instance labels end here: they say which pixels hold which of S segments; which
of them have pixels, and how they are numbered, is decided once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.data.run_lengths import area_of, decode_mask, encode_mask
from vfmseg.errors import LabelError
from vfmseg.types import IGNORE_INDEX, LabelSpace, Size, Targets

TASKS: Final = ("semantic", "panoptic", "instance")
"""What a data set can be asked for."""

MAX_SEGMENTS: Final = (1 << 16) - 2
"""Of one image: places are uint16, and 0 means "none"."""


@dataclass(frozen=True)
class AnnotatedInstances:
    """The instances of one image as they were annotated, one mask each: they may overlap."""

    rles: tuple[bytes, ...]
    """S masks as COCO's compressed run lengths (column by column) over ``size``."""
    classes: Tensor
    """(S,) int64 class ids."""
    is_crowd: Tensor
    """(S,) bool: a region of several objects that nobody told apart."""
    areas: Tensor
    """(S,) float64 pixels: as annotated (COCO: of the polygon), else counted. Evaluators sort sizes by it."""
    size: Size
    """(height, width) in pixels."""

    def __len__(self) -> int:
        return len(self.rles)

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(S, H, W) masks, one byte a pixel."""
        masks = np.zeros((len(self), *self.size), np.bool_)
        for mask, rle in zip(masks, self.rles, strict=True):
            mask[:] = decode_mask(rle, self.size)
        return masks

    @property
    def packed_masks(self) -> Tensor:
        """(S, H, ceil(W / 8)) uint8 masks at one bit a pixel, as ``types.Instances`` holds them."""
        packed = np.zeros((len(self), self.size[0], -(-self.size[1] // 8)), np.uint8)
        for one, rle in zip(
            packed, self.rles, strict=True
        ):  # one at a time: at a byte a pixel all are gigabytes
            one[:] = np.packbits(decode_mask(rle, self.size), axis=1)
        return torch.from_numpy(packed)


class LabelFiles(Protocol):
    """Where an annotator reads from: the data set that it belongs to."""

    def read_label_bytes(self, index: int) -> bytes:
        """Return the label file as stored."""

    def read_raw_label(self, index: int) -> NDArray[Any]:
        """Return the label as decoded."""

    def label_path(self, index: int) -> str:
        """Return what messages call the label."""

    def image_name(self, index: int) -> str:
        """Return the name of the sample."""


class Annotator(Protocol):
    """Turns what is stored about a sample into segments. Row ``i`` belongs to sample ``i`` of its data set."""

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the segments."""

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return the segments of one image, painted into one map.

        Raises:
            LabelError: what is stored is damaged or contradicts itself; the file is named.
        """

    def instances(self, row: int, files: LabelFiles) -> AnnotatedInstances:
        """Return the instances of one image, things only, one mask each.

        Raises:
            LabelError: as for ``targets``.
        """

    def take(self, kept: NDArray[np.int64]) -> Annotator:
        """Return the annotator of the rows ``kept``, in that order."""

    def state(self) -> str:
        """Return a text that differs whenever what is read beside the label files may have changed."""

    def num_segments(self, row: int) -> int | None:
        """Return how many segments are annotated, or None where only the label file knows."""


def number_of(places: int) -> NDArray[np.int64]:
    """Return the numbers of ``places`` segments: 0, 1, 2 ... without ``IGNORE_INDEX``."""
    numbers = np.arange(places)
    return numbers + (numbers >= IGNORE_INDEX)


def paint_segments(
    places: NDArray[np.uint8] | NDArray[np.uint16],
    classes: Sequence[int] | NDArray[np.int64],
    is_crowd: Sequence[bool] | NDArray[np.bool_],
) -> Targets:
    """Number the segments that have pixels.

    Args:
        places: (H, W): 0 where there is no segment, else 1 + its place in ``classes``.
        classes: (P,) class id of each segment; ``IGNORE_INDEX`` for pixels that have no class.
        is_crowd: (P,) whether it is a crowd.

    Returns:
        Segments in the given order, without those that have no pixel or no class. The id map is uint8 up to
        255 segments, else int32; the number 255 is left out, and its entry in the tables (class 0) is unused.
    """
    classes, is_crowd = np.asarray(classes, np.int64), np.asarray(is_crowd, np.bool_)
    is_small = len(classes) <= IGNORE_INDEX
    if is_small:  # 8-bit tables are looked up ten times as fast
        small = places.astype(np.uint8, copy=False)
        seen = cv2.calcHist([small], [0], None, [256], [0, 256]).reshape(-1)[: len(classes) + 1] > 0
    else:
        seen = np.zeros(len(classes) + 1, np.bool_)
        seen[places] = True
    kept = np.flatnonzero(seen[1:] & (classes != IGNORE_INDEX))
    numbers = number_of(len(kept))
    is_narrow = len(kept) <= IGNORE_INDEX
    table = np.full(256 if is_small else len(classes) + 1, IGNORE_INDEX, np.uint8 if is_narrow else np.int32)
    table[kept + 1] = numbers
    length = int(numbers[-1]) + 1 if len(kept) else 0
    segment_classes, segment_is_crowd = np.zeros(length, np.int64), np.zeros(length, np.bool_)
    segment_classes[numbers], segment_is_crowd[numbers] = classes[kept], is_crowd[kept]
    return Targets(
        torch.from_numpy(np.asarray(cv2.LUT(small, table)) if is_small else table[places]),
        torch.from_numpy(segment_classes),
        torch.from_numpy(segment_is_crowd),
    )


def find_codes(codes: NDArray[np.uint32], title: str) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Return the distinct codes of an image, ascending, and (H, W) the place of each pixel's code, from 1.

    Runs of equal codes are sorted instead of pixels, which are far more.

    Args:
        codes: (H, W) what stands for the segment of each pixel.
        title: what messages call the file.

    Raises:
        LabelError: there are more than ``MAX_SEGMENTS``.
    """
    flat = codes.reshape(-1)  # (H * W,)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    values, run_place = np.unique(flat[starts], return_inverse=True)
    if len(values) > MAX_SEGMENTS:
        raise LabelError(
            f"{title} tells {len(values)} segments apart; {MAX_SEGMENTS} are possible. Is it an image of instance "
            "numbers? Every object has one number in all of its pixels."
        )
    places = np.repeat((run_place + 1).astype(np.uint16), np.diff(starts, append=len(flat)))
    return values, places.reshape(codes.shape)


def keep_things(targets: Targets, thing_ids: NDArray[np.int64]) -> Targets:
    """Return the segments that are things, renumbered.

    Args:
        targets: segments of any class.
        thing_ids: (K,) class id among the things, -1 for stuff.
    """
    assert targets.segment_classes is not None
    assert targets.segment_is_crowd is not None
    classes = thing_ids[targets.segment_classes.numpy()]
    places = np.zeros(max(len(classes), IGNORE_INDEX) + 1, np.uint16)
    places[: len(classes)] = np.arange(1, len(classes) + 1)
    places[IGNORE_INDEX] = 0
    return paint_segments(
        places[targets.id_map.numpy()],
        np.where(classes < 0, IGNORE_INDEX, classes),
        targets.segment_is_crowd.numpy(),
    )


def cut_out(targets: Targets, label_space: LabelSpace) -> AnnotatedInstances:
    """Return one mask for each segment of a thing class, as it lies in the flat map."""
    assert targets.segment_classes is not None
    assert targets.segment_is_crowd is not None
    id_map, classes = targets.id_map.numpy(), targets.segment_classes.numpy()
    present = np.flatnonzero(np.array([label_space.is_thing[c] for c in classes.tolist()], np.bool_))
    present = present[present != IGNORE_INDEX]
    rles = tuple(encode_mask(id_map == number) for number in present)
    return AnnotatedInstances(
        rles,
        torch.from_numpy(classes[present]),
        targets.segment_is_crowd[torch.from_numpy(present)],
        torch.tensor([area_of(rle) for rle in rles], dtype=torch.float64),
        (id_map.shape[0], id_map.shape[1]),
    )


def things_of(space: LabelSpace) -> tuple[LabelSpace, NDArray[np.int64]]:
    """Return the thing classes alone, and (K,) the id of each class among them, -1 for stuff."""
    things = [i for i, is_thing in enumerate(space.is_thing) if is_thing]
    ids = np.full(space.num_classes, -1, np.int64)
    ids[things] = np.arange(len(things))
    return LabelSpace(
        tuple(space.names[i] for i in things),
        tuple(space.colours[i] for i in things),
        tuple(True for _ in things),
        tuple(space.category_ids[i] for i in things),
    ), ids
