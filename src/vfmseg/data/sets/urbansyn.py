"""UrbanSyn (Gomez et al., 2023) to train on, with Cityscapes val to validate on."""

from __future__ import annotations

from vfmseg.data.sets import cityscapes
from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

SPEC = DatasetSpec(
    name="urbansyn",
    title="UrbanSyn",
    num_classes=19,
    splits={
        "train": SplitSpec(  # released as folders of files, not as archives
            images=FileSet(archives=(("rgb",),), folder="rgb", prefix="rgb_", suffix=".png"),
            labels=FileSet(archives=(("ss",),), folder="ss", prefix="ss_", suffix=".png"),
            classes="cityscapes_train_ids",
            onto="cityscapes",
            ignored_values=(19, 255),
        ),
        "val": cityscapes.split("val"),
    },
    licence="CC BY-SA 4.0",
    homepage="https://huggingface.co/datasets/UrbanSyn/UrbanSyn",
)
