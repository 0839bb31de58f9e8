"""A recipe's augmentation in, what varies training images out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vfmseg.runs.augmentation_recipe import AugmentationRecipe, ReinAugmentationRecipe
from vfmseg.transforms.pipeline import Augmentation, TrainTransform
from vfmseg.transforms.rein_pipeline import ReinAugmentation, ReinTransform
from vfmseg.types import Sample, Size


def build_transform(
    augmentation: AugmentationRecipe, size: Size
) -> Callable[[Sample, np.random.Generator], Sample]:
    """Return the augmentation to samples of ``size`` (height, width) in pixels."""
    if isinstance(augmentation, ReinAugmentationRecipe):
        return ReinTransform(
            ReinAugmentation(
                size=size,
                scale_range=(augmentation.scale_min, augmentation.scale_max),
                num_scales=augmentation.num_scales,
                max_class_share=augmentation.max_class_share,
                color_jitter=augmentation.color_jitter,
                flip=augmentation.flip,
            )
        )
    return TrainTransform(
        Augmentation(
            size=size,
            scale_range=(augmentation.scale_min, augmentation.scale_max),
            color_jitter=augmentation.color_jitter,
            flip=augmentation.flip,
            redraw=augmentation.redraw,
        )
    )
