"""PASCAL VOC 2012 segmentation (Everingham et al., IJCV 2015): 20 classes and background, without SBD."""

from __future__ import annotations

from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

ARCHIVES = (("VOCtrainval_11-May-2012.zip", "VOCtrainval_11-May-2012.tar"),)
ROOT = "VOCdevkit/VOC2012"


def _split(name: str) -> SplitSpec:
    return SplitSpec(
        images=FileSet(archives=ARCHIVES, folder=f"{ROOT}/JPEGImages", suffix=".jpg"),
        labels=FileSet(archives=ARCHIVES, folder=f"{ROOT}/SegmentationClass", suffix=".png"),
        list_file=f"{ROOT}/ImageSets/Segmentation/{name}.txt",
        classes="pascal_voc2012",
        ignored_values=(255,),  # the border drawn around objects
    )


SPEC = DatasetSpec(
    name="pascal_voc",
    title="PASCAL VOC 2012",
    num_classes=21,
    splits={"train": _split("train"), "val": _split("val")},
    licence="Flickr terms of use for the images",
    homepage="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
)
