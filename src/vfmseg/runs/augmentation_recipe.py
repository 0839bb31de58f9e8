"""What a recipe may say of its augmentation: one frozen dataclass a published way, told apart by its name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from vfmseg.runs.values import PositiveFloat, PositiveFraction, PositiveInt

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@checked(frozen=True, kw_only=True, config=_STRICT)
class BenchmarkAugmentationRecipe:
    """That of the benchmark (arXiv 2404.12172), and of EoMT."""

    method: Literal["benchmark"] = "benchmark"
    """Colour jitter, flip, any scale of a range, random crop."""
    scale_min: PositiveFloat = 0.5
    """Smallest scale of the image against the crop."""
    scale_max: PositiveFloat = 2.0
    """Largest scale."""
    color_jitter: bool = True
    """Brightness ±32/255, contrast ±0.5, saturation ±0.5, hue ±18/360, each with probability 0.5."""
    flip: bool = True
    """Mirror left and right with probability 0.5."""
    redraw: Literal["crop", "all"] = "crop"
    """What is drawn again while a crop shows nothing labelled: the crop (benchmark), or all of it (EoMT)."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class ReinAugmentationRecipe:
    """That of Rein (arXiv 2312.04265), made of mmsegmentation's transforms."""

    method: Literal["rein"] = "rein"
    """One of some scales, random crop that no class fills, flip, photometric distortion in 8-bit HSV."""
    scale_min: PositiveFloat = 0.5
    """Smallest short side of the image, as a factor of the crop's."""
    scale_max: PositiveFloat = 2.0
    """Largest short side; the long side ends at four times the crop's."""
    num_scales: PositiveInt = 16
    """How many scales there are, evenly spread."""
    max_class_share: PositiveFraction = 0.75
    """A crop of which one class fills this share or more is drawn again, up to 10 times."""
    color_jitter: bool = True
    """Brightness ±32 grey levels, contrast and saturation times 0.5 to 1.5, hue -36° to 34° in steps of 2°, each with
    probability 0.5, in 8 bits after each."""
    flip: bool = True
    """Mirror left and right with probability 0.5."""


AugmentationRecipe = Annotated[
    BenchmarkAugmentationRecipe | ReinAugmentationRecipe, Field(discriminator="method")
]

AUGMENTATION_RECIPES = {"benchmark": BenchmarkAugmentationRecipe, "rein": ReinAugmentationRecipe}
"""The word in a recipe -> what else can be said of that augmentation."""


def augmentation_contradictions(augmentation: AugmentationRecipe) -> list[str]:
    """Return what is wrong across the fields of an augmentation, one sentence each."""
    if augmentation.scale_min <= augmentation.scale_max:
        return []
    return [
        f"augmentation.scale_min {augmentation.scale_min} is above augmentation.scale_max "
        f"{augmentation.scale_max}; swap them"
    ]
