"""Cityscapes, fine annotations with 19 evaluated classes (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from vfmseg.data.segment_spec import Files, InstanceIds, JsonSegments, Place, SegmentSpec
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


def _segments(name: str) -> tuple[SegmentSpec, ...]:
    """Return what the toolkit's ``createPanopticImgs`` wrote, or else the instance ids that it reads.

    Both give the same segments: one for each value of ``*_instanceIds.png`` whose class is evaluated; a value
    below 1000 of a class with instances is a crowd.
    """
    stem = f"cityscapes_panoptic_{name}"
    images = FileSet(
        archives=(("leftImg8bit_trainvaltest.zip",),),
        folder=f"leftImg8bit/{name}",
        suffix="_leftImg8bit.png",
    )
    made = JsonSegments(
        images=Files(
            places=(
                Place("leftImg8bit_trainvaltest.zip", images.folder),
                Place("", images.folder),
                Place("", f"leftImg8bit_trainvaltest/{images.folder}"),
            ),
            suffix=images.suffix,
        ),
        labels=Files(
            places=(
                Place(f"{stem}.zip", stem),
                Place(f"gtFine/{stem}.zip", stem),
                Place("", f"gtFine/{stem}"),
                Place("", stem),
                Place("", f"gtFine_trainvaltest/gtFine/{stem}"),
            ),
            suffix="_gtFine_panoptic.png",
        ),
        json=Files(
            places=(
                Place("", f"gtFine/{stem}.json"),
                Place("", f"{stem}.json"),
                Place("", f"gtFine_trainvaltest/gtFine/{stem}.json"),
                Place(f"{stem}.zip", f"{stem}.json"),
            )
        ),
        classes="cityscapes",
        matches_by_id=True,
        is_made=True,
    )
    labels = FileSet(
        archives=(("gtFine_trainvaltest.zip",),), folder=f"gtFine/{name}", suffix="_gtFine_instanceIds.png"
    )
    return made, InstanceIds(split=SplitSpec(images=images, labels=labels, classes="cityscapes"))


_SEGMENTS = {name: _segments(name) for name in ("train", "val")}

SPEC = DatasetSpec(
    name="cityscapes",
    title="Cityscapes",
    num_classes=19,
    splits={"train": split("train"), "val": split("val")},
    licence="Cityscapes licence: non-commercial, registration required",
    homepage="https://www.cityscapes-dataset.com/downloads/",
    segments={"panoptic": _SEGMENTS, "instance": _SEGMENTS},
)
