"""Mapillary Vistas 1.2 and 2.0 (Neuhold et al., ICCV 2017), with the classes of Cityscapes or with their own.

Mapped by name: the class files say of each class which one of Cityscapes it counts as.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

FOLDERS: Final = {"train": "training", "val": "validation"}


def _splits(version: str, onto: str) -> Mapping[str, SplitSpec]:
    # the download of 2.0 holds the labels of both, that of 1.2 its own alone, without a folder of that name
    downloads = [f"mapillary-vistas-dataset_public_v{number}.zip" for number in (version, "2.0")]
    archives = (tuple(dict.fromkeys(downloads)),)
    return {
        split: SplitSpec(
            images=FileSet(archives=archives, folder=f"{folder}/images", suffix=".jpg"),
            labels=FileSet(
                archives=archives,
                folder=f"{folder}/v{version}/labels",
                other_folders=(f"{folder}/labels",) if version == "1.2" else (),
                suffix=".png",
            ),
            classes=f"mapillary_v{version}",
            onto=onto,
        )
        for split, folder in FOLDERS.items()
    }


def _spec(name: str, version: str, num_classes: int, onto: str = "") -> DatasetSpec:
    return DatasetSpec(
        name=name,
        title=f"Mapillary Vistas {version}",
        num_classes=num_classes,
        splits=_splits(version, onto),
        licence="research, non-commercial",
        homepage="https://www.mapillary.com/dataset/vistas",
    )


SPECS: Final = (
    _spec("mapillary", "1.2", 19, "cityscapes"),
    _spec("mapillary_v2", "2.0", 19, "cityscapes"),
    _spec("mapillary_own", "1.2", 65),
    _spec("mapillary_v2_own", "2.0", 116),
)
