"""Images with segments -> the doctor's report: for the tasks panoptic and instance, every sample is read once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from vfmseg.data import catalog
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.doctor_report import SEVERITIES, Finding, Place, Report, SplitFacts, ValueRow
from vfmseg.data.shapes import Shapes
from vfmseg.errors import ArchiveError, DataError
from vfmseg.types import IGNORE_INDEX, Size

_AT_ONCE: Final = 256
"""Samples handed to the threads at once, so that a large data set costs no memory."""


@dataclass(frozen=True)
class _Seen:
    """What is kept of one sample."""

    problem: str
    size: Size = (0, 0)
    pixels: dict[int, int] = field(default_factory=dict)
    """Class -> pixels."""
    num_segments: int = 0
    num_crowds: int = 0
    num_ignored: int = 0
    num_hidden: int = 0
    """Annotated segments without a pixel."""


@dataclass
class _Split:
    """One split, added up."""

    name: str
    dataset: SegmentationDataset
    chosen: list[int]
    pixels: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    sizes: Counter[Size] = field(default_factory=Counter)
    bad: list[Place] = field(default_factory=list)
    empty: list[Place] = field(default_factory=list)
    num_segments: int = 0
    num_crowds: int = 0
    num_ignored: int = 0
    num_hidden: int = 0
    elapsed_s: float = 0.0

    def add(self, index: int, seen: _Seen) -> None:
        """Take one sample into account."""
        if seen.problem:
            self.bad.append(Place(self.name, self.dataset.image_name(index), seen.problem))
            return
        self.sizes[seen.size] += 1
        self.pixels.update(seen.pixels)
        self.images.update(list(seen.pixels))
        self.num_segments += seen.num_segments
        self.num_crowds += seen.num_crowds
        self.num_ignored += seen.num_ignored
        self.num_hidden += seen.num_hidden
        if not seen.num_segments:
            self.empty.append(Place(self.name, self.dataset.image_name(index)))


def examine_segments(
    path: str | Path,
    *,
    name: str,
    task: str,
    splits: Sequence[str],
    limit: int | None,
    allow_unpaired: bool,
    skip_bad: bool,
    val_fraction: float,
    num_threads: int,
    progress: Callable[[int, int], None] | None,
) -> Report:
    """Look at every image and its segments; arguments as for ``doctor.examine``.

    Raises:
        ArchiveError: downloads are missing, wrong or damaged.
        DataError: no labels for this task, or contradicting annotations.
    """
    opened: list[_Split] = []
    absent: DataError | None = None
    for wanted in splits or ("train", "val"):
        try:
            dataset = open_dataset(
                name, path, wanted, task=task, allow_unpaired=True, val_fraction=val_fraction
            )
        except ArchiveError as error:
            if splits:
                raise
            absent = error
            continue
        count = len(dataset) if limit is None else min(limit, len(dataset))
        opened.append(_Split(wanted, dataset, np.linspace(0, len(dataset) - 1, count).astype(int).tolist()))
    if not opened:
        raise absent or DataError(f"{path} has no split to examine.")
    total, done = sum(len(split.chosen) for split in opened), 0
    with ThreadPoolExecutor(num_threads) as pool:
        for split in opened:
            start = time.perf_counter()
            for first in range(0, len(split.chosen), _AT_ONCE):
                part = split.chosen[first : first + _AT_ONCE]
                for index, seen in zip(part, pool.map(_Look(split.dataset), part), strict=True):
                    split.add(index, seen)
                    done += 1
                    if progress is not None:
                        progress(done, total)
            split.elapsed_s = time.perf_counter() - start
    names = opened[0].dataset.label_space.names
    findings = [*_findings(opened, allow_unpaired=allow_unpaired, skip_bad=skip_bad), *_unseen(opened, names)]
    return Report(
        title=f"{catalog.DATASETS[name].title} in {path}, task {task}",
        class_names=names,
        splits=tuple(_facts(split) for split in opened),
        values=tuple(
            ValueRow(
                value=str(class_id),
                class_name=class_name,
                pixels=tuple(split.pixels[class_id] for split in opened),
                images=tuple(split.images[class_id] for split in opened),
            )
            for class_id, class_name in enumerate(names)
        ),
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        proposal="",
        images_per_s=total / max(sum(split.elapsed_s for split in opened), 1e-9),
    )


class _Look:
    """Reads samples of one data set; what is wrong with a sample is part of the answer, never raised."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self._dataset = dataset

    def __call__(self, index: int) -> _Seen:
        try:
            sample = self._dataset[index]
        except DataError as error:
            return _Seen(str(error))
        targets = sample.targets
        assert targets.segment_classes is not None
        assert targets.segment_is_crowd is not None
        numbers, counts = np.unique(targets.id_map.numpy(), return_counts=True)
        classes, pixels = targets.segment_classes.numpy(), Counter[int]()
        is_segment = numbers != IGNORE_INDEX
        for number, count in zip(numbers[is_segment].tolist(), counts[is_segment].tolist(), strict=True):
            pixels[int(classes[number])] += count
        size = (sample.image.shape[1], sample.image.shape[2])
        ignored = int(counts[~is_segment].sum())
        present, crowds = int(is_segment.sum()), int(targets.segment_is_crowd.sum())
        assert self._dataset.annotator is not None
        annotated = self._dataset.annotator.num_segments(range(len(self._dataset))[index])
        hidden = 0 if annotated is None else annotated - present
        return _Seen("", size, dict(pixels), present, crowds, ignored, hidden)


def _facts(split: _Split) -> SplitFacts:
    pixels = sum(split.pixels.values()) + split.num_ignored
    return SplitFacts(
        split=split.name,
        sentence=split.dataset.sentence,
        num_samples=len(split.dataset),
        num_examined=len(split.chosen),
        ignored_share=split.num_ignored / pixels if pixels else float("nan"),
        read_ms=float("nan"),  # reading and decoding are not told apart here
        decode_ms=1000 * split.elapsed_s / len(split.chosen),
        sizes=tuple(split.sizes.most_common()),
    )


def _findings(opened: Sequence[_Split], *, allow_unpaired: bool, skip_bad: bool) -> Iterator[Finding]:
    unpaired = [Place(s.name, file.name, file.reason) for s in opened for file in s.dataset.skipped]
    if unpaired:
        yield Finding(
            severity="info" if allow_unpaired else "error",
            code="unpaired",
            what=f"{len(unpaired)} files have no partner",
            remedy="They will be left out, as asked."
            if allow_unpaired
            else "Complete the files, or leave these out: --data.allow_unpaired true",
            places=tuple(unpaired),
        )
    bad = [place for split in opened for place in split.bad]
    if bad:
        yield Finding(
            severity="info" if skip_bad else "error",
            code="sample_unusable",
            what=f"{len(bad)} samples cannot be used",
            remedy="They will be left out, as asked."
            if skip_bad
            else "Mend them, or leave them out: --data.skip_bad true",
            places=tuple(bad),
        )
    empty = [place for split in opened for place in split.empty]
    if empty:
        yield Finding(
            severity="info",
            code="no_segments",
            what=f"{len(empty)} images have no segment; they are kept, as images of background alone",
            remedy="To leave them out as published loaders do: --data.skip_constant_labels true",
            places=tuple(empty),
        )
    for split in opened:
        if (
            split.num_segments == split.num_crowds
            and len(split.chosen) == len(split.dataset)
            and not split.bad
        ):
            yield Finding(
                severity="error",
                code="nothing_to_find",
                what=f"no image of the split {split.name} has a segment that is no crowd, so there is nothing to "
                + ("score" if split.name == "val" else "learn"),
                remedy="Put images with objects into it, or look whether the classes are those of the annotations.",
            )
    crowds, segments = sum(s.num_crowds for s in opened), sum(s.num_segments for s in opened)
    if crowds:
        yield Finding(
            severity="info",
            code="crowds",
            what=f"{crowds} of {segments} segments are crowds; training leaves them out, evaluation ignores them",
            remedy="",
        )
    hidden = sum(s.num_hidden for s in opened)
    if hidden:
        yield Finding(
            severity="info",
            code="segments_hidden",
            what=f"{hidden} annotated segments have no pixel: others cover them, they lie outside their image, or the "
            "label image lacks them; training leaves them out",
            remedy="",
        )
    clipped = sum(s.dataset.annotator.num_clipped for s in opened if isinstance(s.dataset.annotator, Shapes))
    if clipped:
        yield Finding(
            severity="info",
            code="polygons_clipped",
            what=f"{clipped} polygons reach outside their image and are cut off at its border",
            remedy="",
        )


def _unseen(opened: Sequence[_Split], names: Sequence[str]) -> Iterator[Finding]:
    places = [Place(s.name, name) for s in opened for i, name in enumerate(names) if not s.images[i]]
    if places:
        yield Finding(
            severity="info",
            code="classes_unseen",
            what=f"{len(places)} times a class occurs in no segment that was looked at",
            remedy="",
            places=tuple(places),
        )
