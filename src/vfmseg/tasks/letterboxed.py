"""Images in, one prediction of masks for each out: the view of the tasks that know objects.

Panoptic and instance segmentation see each image whole, scaled into the model's view (arXiv 2503.19108, sec. 4.1):
a sliding window would cut objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from vfmseg.tasks.base import Segment
from vfmseg.transforms.letterbox import LetterboxPlan, plan_letterbox, to_crop
from vfmseg.types import MaskFactors, MaskLogits, PixelLogits, Size

Found = TypeVar("Found")


@torch.no_grad()
def predict_whole(
    segment: Segment,
    images: Sequence[Tensor],
    crop_size: Size,
    finish: Callable[[MaskLogits, LetterboxPlan], Found],
    choose: Callable[[Tensor], Tensor],
    *,
    crops_at_once: int = 8,
) -> list[Found]:
    """Predict every image whole, at its own size.

    Args:
        segment: a model with a mask decoder.
        images: (3, H, W) uint8 each, of any size, on the device of ``segment``.
        crop_size: (height, width) that ``segment`` expects.
        finish: mask logits (q, h, w) and class logits (q, K + 1) of one image and its plan in, prediction out.
        choose: class logits (Q, K + 1) of one image in, the queries (q,) that matter to ``finish`` out.
        crops_at_once: most images handed to ``segment`` together.

    Raises:
        TypeError: the model's decoder says no masks.
    """
    plans = [plan_letterbox((image.shape[-2], image.shape[-1]), crop_size) for image in images]
    found: list[Found] = []
    for first in range(0, len(images), crops_at_once):
        chosen = plans[first : first + crops_at_once]
        crops = torch.stack([to_crop(i, p) for i, p in zip(images[first:], chosen, strict=False)])
        output = segment(crops)
        if isinstance(output, PixelLogits):
            raise TypeError(
                "a per-pixel decoder was asked for masks; recipes of this kind are refused earlier"
            )
        last = output[-1]
        for place, plan in enumerate(chosen):
            if isinstance(last, MaskFactors):
                one = last.of_image(place, choose(last.class_logits[place]))
            else:
                one = MaskLogits(last.mask_logits[place], last.class_logits[place])
            found.append(finish(one, plan))
    return found
