"""Weights and sampling of the mask classification loss, and how losses are averaged; no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vfmseg.errors import RecipeError

Average = Literal["image", "batch"]
"""``image``: the loss is averaged within each image, then over the images. The published benchmark (one image
at a time, accumulated), and the same number however a batch is cut up or spread over processes.
``batch``: averaged over all pixels, or all masks and queries, of the batch (published EoMT, Mask2Former)."""


def check_average(average: str) -> None:
    """Raise RecipeError unless ``average`` is one of :data:`Average`."""
    if average not in ("image", "batch"):
        raise RecipeError(f"average is {average!r}; allowed are 'image' and 'batch'.")


@dataclass(frozen=True, kw_only=True)
class MaskLossSettings:
    """The mask classification loss of Mask2Former; the defaults are the published values."""

    mask_weight: float = 5.0
    """Weight of the binary cross-entropy of masks, in the matching cost and in the loss."""
    dice_weight: float = 5.0
    """Weight of the dice term, in both."""
    class_weight: float = 2.0
    """Weight of the class term, in both."""
    no_object_weight: float = 0.1
    """Weight of a query without a segment in the class cross-entropy; a query with one weighs 1."""
    num_points: int = 12544
    """Points at which a mask is compared."""
    oversample_ratio: float = 3.0
    """Candidates drawn per point, of which the most uncertain are kept."""
    importance_ratio: float = 0.75
    """Share of the points taken from the most uncertain candidates; the others are uniform."""

    count_empty_images: bool = False
    """Where masks are averaged over the batch, an image without segments counts as if it had one, which lowers the mask
    losses of the others (mmdet's Mask2Former, and so Rein's)."""

    @property
    def num_candidates(self) -> int:
        """Candidates drawn per mask."""
        return int(self.num_points * self.oversample_ratio)

    @property
    def num_uncertain(self) -> int:
        """Points per mask that are chosen among the candidates."""
        return int(self.num_points * self.importance_ratio)

    def __post_init__(self) -> None:
        for name in ("mask_weight", "dice_weight", "class_weight", "no_object_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RecipeError(
                    f"{name} is {value}; allowed is a number of 0 or more. Published: {_PUBLISHED[name]}."
                )
        if self.num_points < 1:
            raise RecipeError(f"num_points is {self.num_points}; allowed is 1 or more. Published: 12544.")
        if self.oversample_ratio < 1:
            raise RecipeError(
                f"oversample_ratio is {self.oversample_ratio}; allowed is 1 or more. Published: 3."
            )
        if not 0 <= self.importance_ratio <= 1:
            raise RecipeError(
                f"importance_ratio is {self.importance_ratio}; allowed is 0 to 1. Published: 0.75."
            )


_PUBLISHED = {"mask_weight": 5, "dice_weight": 5, "class_weight": 2, "no_object_weight": 0.1}
