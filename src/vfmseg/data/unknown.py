"""A data set in, the same samples with the pixels of unknown objects out: those of a label value, or of masks beside it.

An unknown object is of none of the classes. Its pixels get no class (255), whatever the label says of them, so that
nothing but the scores of unknown objects counts them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from vfmseg.data.annotations import LabelTable, to_targets
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.data.images import decode_label
from vfmseg.data.pairing import is_hidden
from vfmseg.data.sets.folder import IMAGE_SUFFIXES, LABEL_SUFFIXES
from vfmseg.errors import DataError, LabelError
from vfmseg.types import IGNORE_INDEX, Sample

_MASK_SUFFIXES = (
    "_labels_semantic",
    "_invIds",
    "_gt_invIds",
    "_anomaly",
    "_ood",
    "_unknown",
    *LABEL_SUFFIXES,
)
"""Ends of the stems of masks that their images do not have; the first are those of SMIYC and BRAVO."""
_VALUES = re.compile(r"\d+(,\d+)*")


class WithUnknownValues:
    """Samples of which some values in the label files mark unknown objects.

    Args:
        dataset: of the task semantic; its label map need not know the values.
        values: as stored in the label files, before they become classes.

    Raises:
        LabelError: a value is a class, or labels are stored as colours.
    """

    def __init__(self, dataset: SegmentationDataset, values: Sequence[int]) -> None:
        label_map = dataset.label_map
        names = label_map.label_space.names
        for value in values:
            class_id = label_map.raw_to_id.get(value, IGNORE_INDEX)
            if class_id != IGNORE_INDEX:
                raise LabelError(
                    f"The value {value} cannot mark unknown objects: in {dataset.title} it is the class "
                    f"{names[class_id]!r}. Give a value that is no class, such as 254, or a folder of masks."
                )
        self._refuse_colours(dataset.read_raw_label(0), dataset.label_path(0))
        self.values = tuple(values)
        known = {**label_map.raw_to_id, **dict.fromkeys(values, IGNORE_INDEX)}
        self.dataset = copy.copy(dataset)  # the data set that was given must go on refusing the values
        self.dataset.label_map = replace(label_map, raw_to_id=known)
        self._table = LabelTable(self.dataset.label_map)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; errors as those of the data set."""
        raw = self.dataset.read_raw(index)
        self._refuse_colours(raw.label, self.dataset.label_path(index))
        ids = self._table.to_ids(raw.label, self.dataset.label_path(index))
        image = torch.from_numpy(raw.image).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W), memory stays
        unknown = torch.from_numpy(np.isin(raw.label, self.values))
        return Sample(image, to_targets(ids), self.dataset.image_name(index), unknown=unknown)

    @staticmethod
    def _refuse_colours(label: NDArray[np.uint8] | NDArray[np.uint16], path: str) -> None:
        if label.ndim != 2:
            raise LabelError(
                f"{path} is stored as colours, of which no value can mark unknown objects. Give a folder of masks "
                "instead."
            )


class WithUnknownMasks:
    """Samples with masks of unknown objects from a folder, one PNG an image, paired by name.

    In a mask 0 is known, 255 is ignored in everything (nobody says what it is), and any other value is unknown, as in
    SegmentMeIfYouCan, Fishyscapes and their like. A mask and its image have the same name but for endings such as
    ``_mask``, ``_labels_semantic``, ``_leftImg8bit``; where names repeat, their folders decide.

    What the mask says of unknown and ignored pixels holds whatever the label says of them: labels of known classes leave
    unknown objects void (255), so that dropping void pixels, as the BRAVO toolkit does, would drop the objects. To drop
    a pixel, give it 255 in the mask.

    Args:
        dataset: of the task semantic.
        folder: searched to the bottom.

    Raises:
        DataError: no such folder, no PNG in it, an image without a mask, or names that fit twice.
    """

    def __init__(self, dataset: SegmentationDataset, folder: Path) -> None:
        self.dataset = dataset
        self.folder = folder
        self.masks = _paired(dataset, folder)
        """Path of the mask of each sample."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample and its mask.

        Raises:
            LabelError: the mask is damaged, has colours, or another size than the label; or as the data set raises.
        """
        sample, mask = self.dataset[index], self._read(self.masks[index])
        ids = sample.targets.id_map.numpy()
        if mask.shape != ids.shape:
            raise LabelError(
                f"{self.masks[index]} is {mask.shape[0]} x {mask.shape[1]} (height x width), its image {sample.name} "
                f"{ids.shape[0]} x {ids.shape[1]}. Export both at one size."
            )
        unknown = (mask != 0) & (mask != IGNORE_INDEX)
        known = np.where(mask == 0, ids, np.uint8(IGNORE_INDEX))
        return replace(sample, targets=to_targets(known), unknown=torch.from_numpy(unknown))

    def _read(self, path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
        try:
            mask = decode_label(path.read_bytes(), str(path))
        except OSError as error:
            raise LabelError(f"{path} cannot be read: {error.strerror}.") from None
        if mask.ndim != 2:
            raise LabelError(
                f"{path} is stored as RGB. A mask of unknown objects has one channel: 0 known, 255 ignored, any other "
                "value unknown. Save it as a grey PNG."
            )
        return mask


UnknownSource = WithUnknownValues | WithUnknownMasks
"""Samples that say which pixels are unknown."""


def mark_unknown(dataset: SegmentationDataset, unknown: str) -> UnknownSource:
    """Return the samples with their unknown pixels.

    Args:
        dataset: of the task semantic.
        unknown: ``254``, or values with commas between; or the path of a folder of masks (``./254``, if it is called so).

    Raises:
        DataError: as :class:`WithUnknownValues` and :class:`WithUnknownMasks`.
    """
    if _VALUES.fullmatch(unknown):
        return WithUnknownValues(dataset, [int(value) for value in unknown.split(",")])
    return WithUnknownMasks(dataset, Path(unknown))


@dataclass(frozen=True)
class _Mask:
    path: Path
    folders: tuple[str, ...]
    """Below the folder that was given."""


def _paired(dataset: SegmentationDataset, folder: Path) -> tuple[Path, ...]:
    """Find the mask of each image."""
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {folder} with masks of unknown objects. Give a folder of PNG masks, or the value that "
            "marks unknown objects in the labels, such as 254."
        )
    masks: dict[str, list[_Mask]] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() == ".png" and not is_hidden(inside.as_posix()):
            for stem in _stems(path.stem, _MASK_SUFFIXES):
                masks.setdefault(stem, []).append(_Mask(path, inside.parts[:-1]))
    if not masks:
        raise DataError(
            f"{folder} holds no PNG: masks of unknown objects are looked for there, one an image."
        )
    found: dict[Path, str] = {}
    for name in map(dataset.image_name, range(len(dataset))):
        mask = _mask_of(PurePosixPath(name), masks, folder)
        if mask in found:
            raise DataError(
                f"{mask} would be the mask of both {found[mask]} and {name}. Put the masks into folders named as the "
                "images' are."
            )
        found[mask] = name
    return tuple(found)


def _mask_of(image: PurePosixPath, masks: dict[str, list[_Mask]], folder: Path) -> Path:
    """Return the one mask whose name is the image's, and whose folders are where names repeat."""
    stems = _stems(image.stem, IMAGE_SUFFIXES)
    fitting = next((masks[stem] for stem in stems if stem in masks), [])
    if not fitting:
        raise DataError(
            f"{folder} has no mask of unknown objects for {image}: looked for "
            f"{' or '.join(f'{stem}.png' for stem in stems)}, also with an ending such as _mask. Every image needs one; "
            "where nothing is unknown, it is all 0."
        )
    if len(fitting) > 1:
        parents = image.parts[:-1]
        fitting = [mask for mask in fitting if mask.folders == parents[len(parents) - len(mask.folders) :]]
        if len(fitting) != 1:
            raise DataError(
                f"{folder} has {len(fitting) or 'several'} masks by the name of {image}, of which "
                f"{'none lies' if not fitting else 'more than one lies'} in folders named as the image's. Leave one."
            )
    return fitting[0].path


def _stems(stem: str, suffixes: Sequence[str]) -> list[str]:
    """Return a stem as it is and without each ending that it has."""
    shorter = [stem.removesuffix(suffix) for suffix in suffixes if stem.endswith(suffix)]
    return list(dict.fromkeys([stem, *shorter]))
