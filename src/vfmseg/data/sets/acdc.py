"""ACDC, adverse conditions with the 19 classes of Cityscapes (Sakaridis et al., ICCV 2021).

``train`` and ``val`` are those of all four conditions; ``val_night`` and the like are the parts. The test
split has no public labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

CONDITIONS: Final = ("fog", "night", "rain", "snow")


def _split(name: str, conditions: Sequence[str]) -> SplitSpec:
    folders = tuple(f"{condition}/{name}" for condition in conditions)
    return SplitSpec(
        images=FileSet(
            archives=(("rgb_anon_trainvaltest.zip",),),
            folder="rgb_anon",
            subfolders=folders,
            suffix="_rgb_anon.png",
        ),
        labels=FileSet(
            archives=(("gt_trainval.zip",),),
            folder="gt",
            subfolders=folders,
            suffix="_gt_labelTrainIds.png",
        ),
        classes="cityscapes_train_ids",
        onto="cityscapes",
        ignored_values=(255,),
    )


SPEC = DatasetSpec(
    name="acdc",
    title="ACDC",
    num_classes=19,
    splits={"train": _split("train", CONDITIONS), "val": _split("val", CONDITIONS)},
    parts={f"{name}_{one}": _split(name, (one,)) for name in ("train", "val") for one in CONDITIONS},
    licence="non-commercial, registration required",
    homepage="https://acdc.vision.ee.ethz.ch/download",
)
