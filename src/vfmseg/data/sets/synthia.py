"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016) to train on, with Cityscapes val to validate on.

Its classes are mapped by name onto those of Cityscapes; terrain, truck and train are never drawn.
"""

from __future__ import annotations

from vfmseg.data.sets import cityscapes
from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

ARCHIVES = (("RAND_CITYSCAPES",),)
"""What the RAR archive that people download becomes; it cannot be read in place."""

SPEC = DatasetSpec(
    name="synthia",
    title="SYNTHIA",
    num_classes=19,
    splits={
        "train": SplitSpec(
            images=FileSet(
                archives=ARCHIVES, folder="RAND_CITYSCAPES/RGB", other_folders=("RGB",), suffix=".png"
            ),
            labels=FileSet(
                archives=ARCHIVES,
                folder="RAND_CITYSCAPES/GT/LABELS",
                other_folders=("GT/LABELS",),
                suffix=".png",
            ),
            classes="synthia",
            onto="cityscapes",
        ),
        "val": cityscapes.split("val"),
    },
    licence="CC BY-NC-SA 3.0",
    homepage="http://synthia-dataset.net/downloads/ (SYNTHIA_RAND_CITYSCAPES.rar, to be unpacked)",
)
