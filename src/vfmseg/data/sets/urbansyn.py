"""UrbanSyn (Gomez et al., 2023) to train on, with Cityscapes val to validate on."""

from __future__ import annotations

from vfmseg.data.sets import cityscapes
from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

SPEC = DatasetSpec(
    name="urbansyn",
    title="UrbanSyn",
    num_classes=19,
    splits={
        "train": SplitSpec(  # archives on its own site, folders of files at Hugging Face
            images=FileSet(archives=(("rgb.zip",),), folder="rgb", prefix="rgb_", suffix=".png"),
            labels=FileSet(archives=(("ss.zip",),), folder="ss", prefix="ss_", suffix=".png"),
            classes="cityscapes_train_ids",
            onto="cityscapes",
            ignored_values=(19, 255),
        ),
        "val": cityscapes.split("val"),
    },
    licence="CC BY-SA 4.0",
    homepage="https://www.urbansyn.org, or as folders https://huggingface.co/datasets/UrbanSyn/UrbanSyn",
)
