"""ADE20K, scene parsing with 150 classes (Zhou et al., CVPR 2017), as released for SceneParse150."""

from __future__ import annotations

from vfmseg.data.segment_spec import SegmentSpec, StuffAndThings
from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

ARCHIVES = (("ADEChallengeData2016.zip",),)
INSTANCES_HOMEPAGE = "http://sceneparsing.csail.mit.edu/data/ChallengeData2017/annotations_instance.tar"


def _split(folder: str) -> SplitSpec:
    return SplitSpec(
        images=FileSet(archives=ARCHIVES, folder=f"ADEChallengeData2016/images/{folder}", suffix=".jpg"),
        labels=FileSet(archives=ARCHIVES, folder=f"ADEChallengeData2016/annotations/{folder}", suffix=".png"),
        classes="ade20k",
        ignored_values=(0,),  # "other": everything outside the 150 classes
    )


def _segments(folder: str) -> tuple[SegmentSpec, ...]:
    instances = FileSet(
        archives=(("annotations_instance.zip", "annotations_instance.tar", "annotations_instance.tar.gz"),),
        folder=f"annotations_instance/{folder}",
        suffix=".png",
    )
    return (StuffAndThings(semantic=_split(folder), instances=instances, homepage=INSTANCES_HOMEPAGE),)


_SEGMENTS = {"train": _segments("training"), "val": _segments("validation")}

SPEC = DatasetSpec(
    name="ade20k",
    title="ADE20K",
    num_classes=150,
    splits={"train": _split("training"), "val": _split("validation")},
    licence="images: research, education; annotations: BSD-3-Clause",
    homepage="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    segments={"panoptic": _SEGMENTS, "instance": _SEGMENTS},
)
