"""A data set's name, path and split -> Samples, read lazily from where the files were found."""

from __future__ import annotations

import logging
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from vfmseg.data.annotations import LabelTable, is_constant, resize_nearest, to_targets
from vfmseg.data.examine import drop_failing
from vfmseg.data.folder_plan import plan_folder
from vfmseg.data.images import RawSample, apply_orientation, decode_image, decode_label, read_orientation
from vfmseg.data.index import Index, Names, load_or_build_index
from vfmseg.data.opened import check_index
from vfmseg.data.pairing import ReadFrom, Unpaired
from vfmseg.data.proposal import MAX_LABELS, propose_description
from vfmseg.data.segment_open import open_task, rows_kept, why_without_segments
from vfmseg.data.segments import AnnotatedInstances, Annotator
from vfmseg.data.spec import LabelMap
from vfmseg.errors import ArchiveError, DataError, ImageError, LabelError
from vfmseg.types import LabelSpace, Sample, Targets

logger = logging.getLogger(__name__)


class SegmentationDataset(Dataset[Sample]):
    """Un-augmented samples of one split, in a fixed order.

    Cheap to copy to loader workers: it holds arrays of file positions, and each process opens the
    archives for itself. Use :func:`open_dataset` to make one.
    """

    def __init__(
        self,
        plan: ReadFrom,
        index: Index,
        label_map: LabelMap,
        *,
        resize_labels: bool = False,
        annotator: Annotator | None = None,
    ) -> None:
        self.title = plan.title
        """Data set and split, for messages."""
        self.label_map = label_map
        self.index = index
        self.num_resized_labels = 0
        """Labels resized to their image's size so far, in this process."""
        self._sources = tuple(plan.sources)
        self._resize_labels = resize_labels
        self.annotator = annotator
        """What reads segments; None where a label is a map of classes."""

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_table"}  # quick to make again

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            ImageError, LabelError: a file is damaged, holds unknown values, or sizes differ; file and archive
                are named.
        """
        if self.annotator is not None:
            return self._read_segments(index, self.annotator)
        raw = self.read_raw(index)
        ids = self._table.to_ids(raw.label, self.label_path(index))
        image = torch.from_numpy(raw.image).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W), memory stays
        return Sample(image, to_targets(ids), self.index.images.name(index))

    def targets(self, index: int) -> Targets:
        """Read one label only, at its own size.

        Raises:
            LabelError: it is damaged or holds unknown values; file and archive are named.
        """
        if self.annotator is not None:
            return self.annotator.targets(range(len(self))[index], self)
        return to_targets(self._table.to_ids(self.read_raw_label(index), self.label_path(index)))

    def instance_truth(self, index: int) -> AnnotatedInstances:
        """Read the instances of one image as annotated, one mask each, crowds included; stuff is left out.

        Raises:
            DataError: the data set was opened for the task semantic.
            LabelError: the annotation is damaged; file and archive are named.
        """
        if self.annotator is None:
            raise DataError(f"{self.title} was opened for the task semantic, which knows no instances.")
        return self.annotator.instances(range(len(self))[index], self)

    @property
    def label_space(self) -> LabelSpace:
        """The classes."""
        return self.label_map.label_space if self.annotator is None else self.annotator.label_space

    @property
    def names(self) -> Names:
        """Names of the samples, decoded lazily."""
        return self.index.names

    @property
    def skipped(self) -> tuple[Unpaired, ...]:
        """Files that are there but left out on request, with the reasons."""
        return self.index.skipped

    @property
    def sentence(self) -> str:
        """What was found where, to be printed."""
        return self.index.sentence

    def image_name(self, index: int) -> str:
        """Return the name of a sample: its image's path inside the archive."""
        return self.index.images.name(index)

    def image_path(self, index: int) -> str:
        """Return archive and member of an image, for messages."""
        return self._path_text(self.index.images.sources[index], self.index.images.name(index))

    def label_path(self, index: int) -> str:
        """Return archive and member of a label, for messages."""
        return self._path_text(self.index.labels.sources[index], self.index.labels.name(index))

    def read_image_bytes(self, index: int) -> bytes:
        """Return the image file as stored.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            return self._sources[self.index.images.sources[index]].read(self.index.images.member(index))
        except ArchiveError as error:
            raise ImageError(str(error)) from error

    def read_label_bytes(self, index: int) -> bytes:
        """Return the label file as stored.

        Raises:
            LabelError: it cannot be read.
        """
        try:
            return self._sources[self.index.labels.sources[index]].read(self.index.labels.member(index))
        except ArchiveError as error:
            raise LabelError(str(error)) from error

    def read_raw_label(self, index: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Return a label at its own size, (H, W) raw values or (H, W, 3) colours."""
        return decode_label(self.read_label_bytes(index), self.label_path(index), self.label_map.channel)

    def read_raw(self, index: int) -> RawSample:
        """Return image and label at one size, the label with its raw values.

        Raises:
            ImageError: the image cannot be read or decoded.
            LabelError: the label cannot be read or decoded, or has another size than its image.
        """
        data = self.read_image_bytes(index)
        image, orientation = decode_image(data, self.image_path(index)), 1
        label = self.read_raw_label(index)
        size = image.shape[:2]
        if label.shape[:2] == size:
            return RawSample(image, label, orientation, is_resized=False)
        if label.shape[:2] == size[::-1] and (orientation := read_orientation(data)) >= 5:
            return RawSample(apply_orientation(image, orientation), label, orientation, is_resized=False)
        if not self._resize_labels:
            raise LabelError(
                f"{self.label_path(index)} is {label.shape[0]} x {label.shape[1]} (height x width), its "
                f"image {self.index.images.name(index)} is {size[0]} x {size[1]}. Export both at one size: "
                "a resized label would be wrong at every border."
            )
        if not self.num_resized_labels:
            logger.warning(
                "%s is %d x %d, its image %d x %d: resized (nearest), as published code does for this data "
                "set. Further ones are counted, not logged.",
                *(self.label_path(index), *label.shape[:2], *size),
            )
        self.num_resized_labels += 1
        return RawSample(image, resize_nearest(label, size), 1, is_resized=True)

    def _read_segments(self, index: int, annotator: Annotator) -> Sample:
        row = range(len(self))[index]
        targets = annotator.targets(row, self)
        data = self.read_image_bytes(row)
        image, size = decode_image(data, self.image_path(row)), tuple(targets.id_map.shape)
        if image.shape[:2] != size and image.shape[1::-1] == size:
            image = apply_orientation(image, read_orientation(data))
        if image.shape[:2] != size:
            raise LabelError(
                f"{self.label_path(row)} is for an image of {size[0]} x {size[1]} (height x width), its image "
                f"{self.index.images.name(row)} is {image.shape[0]} x {image.shape[1]}. Export both at one size."
            )
        return Sample(torch.from_numpy(image).permute(2, 0, 1), targets, self.index.images.name(row))

    @cached_property
    def _table(self) -> LabelTable:
        return LabelTable(self.label_map)

    def _path_text(self, source: int, name: str) -> str:
        return f"{self._sources[source].title}: {name}"


def open_dataset(
    name: str,
    path: str | Path,
    split: str,
    *,
    task: str = "semantic",
    allow_unpaired: bool = False,
    allow_missing: bool = False,
    skip_constant_labels: bool = False,
    skip_bad: bool = False,
    val_fraction: float = 0.0,
    seed: int = 0,
) -> SegmentationDataset:
    """Open one split of a data set where its files are: original archives or unpacked folders.

    Args:
        name: one of ``catalog.DATASETS``.
        path: the folder with the downloads; for ``folder`` a folder, archive or YAML file; for ``scenes``
            what ``scenes.py`` wrote.
        split: ``train``, ``val`` or ``test``.
        task: ``semantic``, ``panoptic`` or ``instance``: what the targets hold, and of which classes.
        allow_unpaired: leave out images without label and labels without image (listed in ``skipped``)
            instead of raising.
        allow_missing: of downloads in parts (GTA V), use those that are there.
        skip_constant_labels: leave out what published loaders leave out: labels of one single value, and with
            segments also images without any. Reads every label once unless a JSON says it; the answer is
            cached.
        skip_bad: leave out files that cannot be decoded, sizes that differ and unknown values. Reads
            everything once; the answer is cached.
        val_fraction: only ``folder`` without a val split: share of the images to validate on.
        seed: of that draw.

    Raises:
        ArchiveError: downloads are missing, wrong or damaged.
        DataError: unknown data set or split, files without partner, an empty split, no class names.
    """
    opened = open_task(
        name, path, split, task, allow_missing=allow_missing, val_fraction=val_fraction, seed=seed
    )
    plan, index, label_map, annotator = opened.plan, opened.index, opened.label_map, opened.annotator
    check_index(index, plan, allow_unpaired=allow_unpaired)
    if label_map is None:
        raise DataError(
            f"{plan.title}: the classes have no names yet. Save this as a YAML file, correct the names, and "
            f"give its path instead (relative paths in it are relative to it):\n\n{_propose(plan, index)}"
        )
    resize = opened.resize_labels
    dataset = SegmentationDataset(plan, index, label_map, resize_labels=resize, annotator=annotator)
    for wanted, check, what in (
        (skip_bad, _why_bad, "files that cannot be used"),  # first: the other cannot read those
        (skip_constant_labels, _why_constant, "labels of one single value"),
    ):
        if wanted:
            fingerprint = f"{plan.fingerprint} {label_map} without {what}"
            if annotator is not None:
                fingerprint += f" {task} {annotator.state()}"
            kept = drop_failing(dataset.index, plan.sources, fingerprint, partial(check, dataset), what=what)
            if annotator is not None:
                annotator = annotator.take(rows_kept(kept, dataset.index))
            dataset = SegmentationDataset(plan, kept, label_map, resize_labels=resize, annotator=annotator)
    if not len(dataset):
        reason = dataset.skipped[-1].reason
        raise DataError(f"{plan.title}: all {len(index)} samples were left out, the last because: {reason}.")
    return dataset


def propose_folder_yaml(path: str | Path, split: str = "train") -> str:
    """Return the text of a YAML file for a folder data set, from the values of a bounded number of labels."""
    plan, _ = plan_folder(path, split)
    return _propose(plan, load_or_build_index(plan))


def _propose(plan: ReadFrom, index: Index) -> str:
    reader = SegmentationDataset(plan, index, LabelMap(LabelSpace((), (), ()), {}))
    chosen = np.unique(np.linspace(0, len(index) - 1, min(MAX_LABELS, len(index))).astype(int))
    path = str(Path(plan.sources[0].title).absolute())
    return propose_description(path, (reader.read_raw_label(int(i)) for i in chosen))


def _why_constant(dataset: SegmentationDataset, index: int) -> str:
    if dataset.annotator is not None:
        return why_without_segments(dataset.annotator, index, dataset)
    return "its label has one single value" if is_constant(dataset.read_raw_label(index)) else ""


def _why_bad(dataset: SegmentationDataset, index: int) -> str:
    try:
        dataset[index]
    except DataError as error:
        return str(error)
    return ""
