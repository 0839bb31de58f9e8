"""COCO 2017, panoptic with 133 classes and instance with 80 (Lin et al., ECCV 2014; Kirillov et al., CVPR 2019)."""

from __future__ import annotations

from vfmseg.data.segment_spec import Files, JsonSegments, JsonShapes, Place
from vfmseg.data.spec import DatasetSpec

PANOPTIC_ZIP = "panoptic_annotations_trainval2017"
INSTANCE_ZIP = "annotations_trainval2017"


def _images(split: str) -> Files:
    name = f"{split}2017"
    return Files(
        places=(
            Place(f"{name}.zip", name),
            Place("", name),
            Place("", f"{name}/{name}"),
            Place("", f"images/{name}"),
        ),
        suffix=".jpg",
    )


def _json(archive: str, name: str) -> Files:
    inside = f"annotations/{name}.json"
    return Files(
        places=(Place(f"{archive}.zip", inside), Place("", inside), Place("", f"{archive}/{inside}"))
    )


def _pngs(split: str) -> Files:
    name = f"panoptic_{split}2017"
    inner = f"annotations/{name}"
    return Files(
        places=(
            Place(f"{PANOPTIC_ZIP}.zip/{inner}.zip", name),  # a zip inside the zip, as released
            Place(f"{PANOPTIC_ZIP}.zip", inner),
            Place(f"{inner}.zip", name),
            Place("", inner),
            Place("", f"{inner}/{name}"),
            Place(f"{PANOPTIC_ZIP}/{inner}.zip", name),
            Place("", f"{PANOPTIC_ZIP}/{inner}"),
        ),
        suffix=".png",
    )


def _panoptic(split: str) -> tuple[JsonSegments, ...]:
    json = _json(PANOPTIC_ZIP, f"panoptic_{split}2017")
    return (JsonSegments(images=_images(split), labels=_pngs(split), json=json, classes="coco_panoptic"),)


def _instance(split: str) -> tuple[JsonShapes, ...]:
    json = _json(INSTANCE_ZIP, f"instances_{split}2017")
    return (JsonShapes(images=_images(split), json=json, classes="coco_instance"),)


SPEC = DatasetSpec(
    name="coco",
    title="COCO 2017",
    num_classes=133,
    splits={},  # no label images of classes alone
    segments={
        "panoptic": {split: _panoptic(split) for split in ("train", "val")},
        "instance": {split: _instance(split) for split in ("train", "val")},
    },
    licence="annotations: CC BY 4.0; images: Flickr terms of use",
    homepage="https://cocodataset.org/#download",
)
