"""GTA V (Richter et al., "Playing for Data", ECCV 2016) to train on, with Cityscapes val to validate on."""

from __future__ import annotations

from vfmseg.data.sets import cityscapes
from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

NUM_PARTS = 10


def _parts(kind: str) -> tuple[tuple[str, ...], ...]:
    return tuple((f"{number:02d}_{kind}.zip",) for number in range(1, NUM_PARTS + 1))


SPEC = DatasetSpec(
    name="gta5",
    title="GTA V",
    num_classes=19,
    splits={
        "train": SplitSpec(
            images=FileSet(archives=_parts("images"), folder="images", suffix=".png"),
            labels=FileSet(archives=_parts("labels"), folder="labels", suffix=".png"),
            classes="gta5",
            resize_labels=True,  # a few frames were released with labels of another size
        ),
        "val": cityscapes.split("val"),
    },
    licence="research and education only",
    homepage="https://download.visinf.tu-darmstadt.de/data/from_games/",
)
