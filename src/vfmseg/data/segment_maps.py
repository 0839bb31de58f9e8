"""Label images that number their instances -> segments, by the rules of ADE20K, Cityscapes and own folders.

No list says here what a segment is: the values of the pixels do.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vfmseg.data.annotations import LabelTable
from vfmseg.data.images import decode_label
from vfmseg.data.index import Index
from vfmseg.data.segments import (
    AnnotatedInstances,
    Annotator,
    LabelFiles,
    cut_out,
    find_codes,
    keep_things,
    paint_segments,
    things_of,
)
from vfmseg.data.source import Source
from vfmseg.data.spec import LabelMap
from vfmseg.errors import ArchiveError, LabelError
from vfmseg.types import IGNORE_INDEX, LabelSpace, Targets

Own = TypeVar("Own", bound="FromTwoMaps")


@dataclass(frozen=True)
class InstancePixels:
    """The label images of all samples that hold instances, beside the semantic ones."""

    index: Index
    """Its labels are the instance images; in the order of the data set."""
    sources: tuple[Source, ...]

    def read(self, row: int) -> tuple[NDArray[Any], str]:
        """Return the values as stored, and what messages call the file."""
        source = self.sources[self.index.labels.sources[row]]
        member = self.index.labels.member(row)
        title = f"{source.title}: {member.name}"
        try:
            return decode_label(source.read(member), title), title
        except ArchiveError as error:
            raise LabelError(str(error)) from error

    def take(self, kept: NDArray[np.int64]) -> InstancePixels:
        """Return those of some rows."""
        return replace(self, index=self.index.keep(kept, ()))

    def state(self) -> str:
        """Return a text that differs whenever a file may have changed."""
        stamps = [
            source.stamp_of(self.index.labels.name(int(i)) for i in rows)
            for number, source in enumerate(self.sources)
            if len(rows := np.flatnonzero(self.index.labels.sources == number))
        ]
        return json.dumps(stamps)


class FromMaps:
    """What annotators that read label images have in common: instances are cut out of the flat map."""

    def __init__(self, label_map: LabelMap) -> None:
        self.label_map = label_map

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the semantic label."""
        return self.label_map.label_space

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return the segments of one image."""
        raise NotImplementedError

    def instances(self, row: int, files: LabelFiles) -> AnnotatedInstances:
        """Return one mask for each thing of the flat map: nothing overlaps in such labels."""
        return cut_out(self.targets(row, files), self.label_space)

    def num_segments(self, row: int) -> None:
        """Return None: only the label images know."""

    def state(self) -> str:
        """Return nothing: label files are all that is read."""
        return ""


class FromTwoMaps(FromMaps):
    """What annotators share that read a map of classes and, beside it, an image that holds instances."""

    def __init__(self, label_map: LabelMap, pixels: InstancePixels) -> None:
        super().__init__(label_map)
        self._pixels = pixels

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_table"}  # quick to make again

    def read(self, row: int, files: LabelFiles) -> tuple[NDArray[np.uint8], NDArray[Any], str]:
        """Return class ids (H, W), the other image's values (H, W, ...), and what messages call the other.

        Raises:
            LabelError: one cannot be read, or their sizes differ.
        """
        name = files.label_path(row)
        ids = self._table.to_ids(files.read_raw_label(row), name)
        values, title = self._pixels.read(row)
        if ids.shape != values.shape[:2]:
            raise LabelError(
                f"{title} is {values.shape[0]} x {values.shape[1]} (height x width), the classes in {name} are "
                f"{ids.shape[0]} x {ids.shape[1]}. Export both at one size."
            )
        return ids, values, title

    def take(self: Own, kept: NDArray[np.int64]) -> Own:
        """Return the annotator of some rows."""
        taken = copy.copy(self)
        taken._pixels = self._pixels.take(kept)
        return taken

    def state(self) -> str:
        """Return the state of the images that hold instances."""
        return self._pixels.state()

    @cached_property
    def _table(self) -> LabelTable:
        return LabelTable(self.label_map)


class CityscapesInstanceIds(FromMaps):
    """Cityscapes ``*_instanceIds.png``: label id, or 1000 x label id + number of the instance."""

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return what the toolkit's panoptic images hold: see ``sets/cityscapes.py``.

        Raises:
            LabelError: a value of no class.
        """
        raw = files.read_raw_label(row)
        if raw.ndim != 2:
            raise LabelError(
                f"{files.label_path(row)} is a colour image; instance ids are a 16-bit grey PNG."
            )
        values, places = find_codes(raw.astype(np.uint32), files.label_path(row))
        is_single = values >= 1000
        labels = np.where(is_single, values // 1000, values).tolist()
        unknown = [int(v) for v, label in zip(values, labels, strict=True) if label not in self._raw_to_id]
        if unknown:
            raise LabelError(
                f"{files.label_path(row)} holds the values {unknown[:5]}, which are no instance ids of "
                f"Cityscapes (0-33, or 1000 times that and a number). {self.label_map.remedy}"
            )
        classes = np.array([self._raw_to_id[label] for label in labels])
        is_thing = np.array([c != IGNORE_INDEX and self.label_space.is_thing[c] for c in classes])
        # a region of a countable class without numbers is a group that nobody told apart
        return paint_segments(places, classes, is_thing & ~is_single)

    def take(self, kept: NDArray[np.int64]) -> CityscapesInstanceIds:
        """Return itself: it holds nothing about single samples."""
        return self

    @property
    def _raw_to_id(self) -> dict[int, int]:
        return dict(self.label_map.raw_to_id)


class NumberedInstances(FromTwoMaps):
    """Own folders and generated scenes: masks of classes, and as many images of instance numbers.

    Equal numbers in pixels of one thing class are one instance. Pixels of a thing class without a number are
    a crowd: a group that nobody told apart. A stuff class is one segment.
    """

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return one segment for each stuff class and for each instance.

        Raises:
            LabelError: sizes differ, or a number stands on stuff.
        """
        ids, numbers, title = self.read(row, files)
        if numbers.ndim != 2:
            raise LabelError(f"{title} is a colour image; instance numbers are a grey PNG of 8 or 16 bits.")
        codes, places = find_codes(ids.astype(np.uint32) << 16 | numbers, title)
        classes, numbered = (codes >> 16).astype(np.int64), codes & 0xFFFF != 0
        is_thing = np.array([c != IGNORE_INDEX and self.label_space.is_thing[c] for c in classes])
        wrong = np.flatnonzero(numbered & ~is_thing & (classes != IGNORE_INDEX))
        if len(wrong):
            code = int(codes[wrong[0]])
            raise LabelError(
                f"{title} has the instance {code & 0xFFFF} on pixels of "
                f"{self.label_space.names[code >> 16]!r}, which is no thing. Set these pixels to 0, or list the "
                f"class under `things:` in the YAML file. Things are: "
                f"{', '.join(things_of(self.label_space)[0].names) or 'none'}."
            )
        return paint_segments(places, classes, is_thing & ~numbered)


class ThingsOnly:
    """Another annotator's things, as the task instance wants them: stuff is left out, classes renumbered."""

    def __init__(self, inner: Annotator) -> None:
        self.inner = inner
        self.label_space, self._ids = things_of(inner.label_space)

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return the segments that are things."""
        return keep_things(self.inner.targets(row, files), self._ids)

    def instances(self, row: int, files: LabelFiles) -> AnnotatedInstances:
        """Return the instances with the classes of ``label_space``."""
        truth = self.inner.instances(row, files)
        return replace(truth, classes=torch.from_numpy(self._ids[truth.classes.numpy()]))

    def take(self, kept: NDArray[np.int64]) -> ThingsOnly:
        """Return the annotator of some rows."""
        return ThingsOnly(self.inner.take(kept))

    def state(self) -> str:
        """Return the other annotator's state."""
        return self.inner.state()

    def num_segments(self, row: int) -> None:
        """Return None: the other annotator counts stuff too."""
