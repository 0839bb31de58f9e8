"""Cityscapes under the 15 common corruptions at 5 severities (Hendrycks & Dietterich, 2019; Michaelis et al., 2019).

Nobody publishes the images: people make them from Cityscapes, as
``Cityscapes-C/<corruption>/<severity>/val/<city>/*_leftImg8bit.png``, and use its labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from vfmseg.data.sets import cityscapes
from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec

CORRUPTIONS: Final = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
SEVERITIES: Final = (1, 2, 3, 4, 5)


def _val(corruptions: Sequence[str], severities: Sequence[int]) -> SplitSpec:
    clean = cityscapes.split("val")
    images = FileSet(
        archives=(("Cityscapes-C.zip",),),
        folder="Cityscapes-C",
        subfolders=tuple(f"{one}/{severity}/val" for one in corruptions for severity in severities),
        suffix=clean.images.suffix,
    )
    return replace(clean, images=images, shares_labels=True)


SPEC = DatasetSpec(
    name="cityscapes_c",
    title="Cityscapes-C",
    num_classes=19,
    splits={"train": cityscapes.split("train"), "val": _val(CORRUPTIONS, SEVERITIES)},
    parts={
        **{f"val_{one}": _val((one,), SEVERITIES) for one in CORRUPTIONS},
        **{
            f"val_{one}_{severity}": _val((one,), (severity,))
            for one in CORRUPTIONS
            for severity in SEVERITIES
        },
    },
    licence="that of Cityscapes",
    homepage="made from Cityscapes, https://www.cityscapes-dataset.com/downloads/",
)
