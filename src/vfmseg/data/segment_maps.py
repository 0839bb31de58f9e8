"""Label images that number their instances -> segments, by the rules of ADE20K, Cityscapes and own folders.

No list says here what a segment is: the values of the pixels do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

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


class NumberedInstances(FromMaps):
    """Own folders and generated scenes: masks of classes, and as many images of instance numbers.

    Equal numbers in pixels of one thing class are one instance. Pixels of a thing class without a number are
    a crowd: a group that nobody told apart. A stuff class is one segment.
    """

    def __init__(self, label_map: LabelMap, numbers: InstancePixels) -> None:
        super().__init__(label_map)
        self.numbers = numbers

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_table"}  # quick to make again

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return one segment for each stuff class and for each instance.

        Raises:
            LabelError: sizes differ, or a number stands on stuff.
        """
        name = files.label_path(row)
        ids = self._table.to_ids(files.read_raw_label(row), name)
        numbers, title = self.numbers.read(row)
        check_size(ids, numbers, name, title)
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

    def take(self, kept: NDArray[np.int64]) -> NumberedInstances:
        """Return the annotator of some rows."""
        return NumberedInstances(
            self.label_map, replace(self.numbers, index=self.numbers.index.keep(kept, ()))
        )

    def state(self) -> str:
        """Return the state of the instance numbers."""
        return self.numbers.state()

    @cached_property
    def _table(self) -> LabelTable:
        return LabelTable(self.label_map)


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


def check_size(label: NDArray[Any], instances: NDArray[Any], name: str, title: str) -> None:
    """Raise if two label images of one sample differ in size.

    Raises:
        LabelError: both files and sizes are named.
    """
    if label.shape[:2] != instances.shape[:2]:
        raise LabelError(
            f"{title} is {instances.shape[0]} x {instances.shape[1]} (height x width), the classes in {name} are "
            f"{label.shape[0]} x {label.shape[1]}. Export both at one size."
        )
