"""Turns an image of any size into one crop of the model's size, by a plan that also says how to go back.

This is the published view of tasks with instances (EoMT, arXiv 2503.19108): the whole image is scaled until it
just fits into the crop, and what is left at the bottom or right is black. Windows, which cover the image
piece by piece, are in ``sliding_window``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vfmseg.types import Size


@dataclass(frozen=True)
class LetterboxPlan:
    """Where an image lies in its crop: at the top left, ``resized_size`` large. All sizes (height, width)."""

    image_size: Size
    """Of the image."""
    crop_size: Size
    """Of the model's input."""
    resized_size: Size
    """Of the image inside the crop; equal to the crop in one direction, except for rounding to 1 pixel."""


def plan_letterbox(image_size: Size, crop_size: Size) -> LetterboxPlan:
    """Plan the view of an image: scaled by ``min(crop height / height, crop width / width)``, sizes rounded.

    Halves are rounded to even sizes, as published. An image may be so long and narrow that its short side
    rounds to nothing; it is kept at one pixel.

    Args:
        image_size: (height, width), at least 1 each.
        crop_size: (height, width) of the model's input.
    """
    if min(*image_size, *crop_size) < 1:
        raise ValueError(f"cannot fit an image of {image_size} into a crop of {crop_size} (height, width)")
    factor = min(crop / size for crop, size in zip(crop_size, image_size, strict=True))
    height, width = (max(1, round(size * factor)) for size in image_size)
    return LetterboxPlan(image_size, crop_size, (height, width))


def to_crop(image: Tensor, plan: LetterboxPlan) -> Tensor:
    """Return the image scaled into the crop; the rest of the crop is 0.

    Args:
        image: (3, H, W) uint8 of ``plan.image_size``.
        plan: from :func:`plan_letterbox`.

    Returns:
        (3, h, w) uint8 of ``plan.crop_size``, on the device of the image.
    """
    if tuple(image.shape[-2:]) != plan.image_size:
        raise ValueError(f"the plan is for images of {plan.image_size}, not {tuple(image.shape[-2:])}")
    height, width = plan.resized_size
    crop = torch.zeros((3, *plan.crop_size), dtype=torch.uint8)
    # Pillow itself: torch rounds its uint8 weights more coarsely, and some pixels come out one grey level off.
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    crop[:, :height, :width] = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    return crop.to(image.device)


def to_image(logits: Tensor, plan: LetterboxPlan) -> Tensor:
    """Return logits of the crop at the image's size: the way back of :func:`to_crop`.

    Logits are resized to the crop, the padding is cut off, and the rest is resized to the image, both
    bilinearly. This holds everything in full; ``postprocess`` finds panoptic and instance masks without that.

    Args:
        logits: (..., K, h, w) float, at the patch grid or any size.
        plan: how the image was scaled into the crop.

    Returns:
        (..., K, H, W) float32.
    """
    height, width = plan.resized_size
    lead = logits.shape[:-2]
    at_crop = _resize(logits.reshape(1, -1, *logits.shape[-2:]).float(), plan.crop_size)
    return _resize(at_crop[..., :height, :width], plan.image_size).reshape(*lead, *plan.image_size)


def _resize(logits: Tensor, size: Size) -> Tensor:
    """Resize (1, C, h, w) bilinearly; as it is where it has that size."""
    if tuple(logits.shape[-2:]) == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)
