"""Cityscapes, fine annotations with 19 evaluated classes (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec


def split(name: str) -> SplitSpec:
    """Return the images and label ids of ``train`` or ``val``."""
    return SplitSpec(
        images=FileSet(
            archives=(("leftImg8bit_trainvaltest.zip",),),
            folder=f"leftImg8bit/{name}",
            suffix="_leftImg8bit.png",
        ),
        labels=FileSet(
            archives=(("gtFine_trainvaltest.zip",),),
            folder=f"gtFine/{name}",
            suffix="_gtFine_labelIds.png",
        ),
        classes="cityscapes",
    )


SPEC = DatasetSpec(
    name="cityscapes",
    title="Cityscapes",
    num_classes=19,
    splits={"train": split("train"), "val": split("val")},
    licence="Cityscapes licence: non-commercial, registration required",
    homepage="https://www.cityscapes-dataset.com/downloads/",
)
