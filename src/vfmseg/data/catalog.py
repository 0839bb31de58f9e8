"""The names of all data sets -> what they are and where to get them, without importing anything heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vfmseg.data.scene_style import CLASSES
from vfmseg.data.sets import (
    acdc,
    ade20k,
    bdd100k,
    cityscapes,
    cityscapes_c,
    coco,
    folder,
    gta5,
    mapillary,
    pascal_voc,
    synthia,
    urbansyn,
)
from vfmseg.data.spec import DatasetSpec
from vfmseg.errors import DataError, nearest


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What a person wants to know about a data set before using it."""

    name: str
    title: str
    num_classes: int | None
    """None where the data says it."""
    splits: tuple[str, ...]
    files: tuple[str, ...]
    """Downloads expected below the path, unpacked or not."""
    licence: str
    homepage: str
    """Where to get it."""


SCENES_NAME: Final = "scenes"
"""Written by ``scenes.py`` in the layout of a folder data set, and read as one."""

SPECS: Final[dict[str, DatasetSpec]] = {
    spec.name: spec
    for spec in (
        ade20k.SPEC,
        pascal_voc.SPEC,
        cityscapes.SPEC,
        gta5.SPEC,
        coco.SPEC,
        bdd100k.SPEC,
        *mapillary.SPECS,
        acdc.SPEC,
        synthia.SPEC,
        urbansyn.SPEC,
        cityscapes_c.SPEC,
    )
}
"""Data sets with a layout of their own."""

DATASETS: Final[dict[str, DatasetInfo]] = {
    **{
        spec.name: DatasetInfo(
            name=spec.name,
            title=spec.title,
            num_classes=spec.num_classes,
            splits=tuple(spec.splits) or ("train", "val"),
            files=spec.files,
            licence=spec.licence,
            homepage=spec.homepage,
        )
        for spec in SPECS.values()
    },
    folder.NAME: DatasetInfo(
        name=folder.NAME,
        title=folder.TITLE,
        num_classes=None,
        splits=("train", "val", "test"),
        files=("images/{train,val}/*", "masks/{train,val}/*.png", "dataset.yaml"),
        licence="yours",
        homepage="your disk",
    ),
    SCENES_NAME: DatasetInfo(
        name=SCENES_NAME,
        title="generated street scenes",
        num_classes=len(CLASSES),
        splits=("train", "val"),
        files=(),
        licence="Apache-2.0",
        homepage="made by vfmseg, nothing to download",
    ),
}
"""Everything ``open_dataset`` knows by name."""


def tasks_of(name: str) -> tuple[str, ...]:
    """Return the tasks that a data set has labels for: semantic, panoptic, instance."""
    return SPECS[name].tasks if name in SPECS else ("semantic", "panoptic", "instance")


def check_name(name: str) -> None:
    """Raise if no data set has this name.

    Raises:
        DataError: with all names and the nearest.
    """
    if name not in DATASETS:
        raise DataError(
            f"There is no data set {name!r}. Known: {', '.join(DATASETS)}.{nearest(name, DATASETS)}"
        )
