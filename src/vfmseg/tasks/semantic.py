"""What the semantic task means: how an image is viewed, predicted and scored. Stateless."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vfmseg.postprocess.semantic import pixel_scores
from vfmseg.transforms.sliding_window import cut, merge_to_classes, plan_windows
from vfmseg.types import Output, SemanticMap, Size

HEADLINE = "val/miou"
"""The number by which runs of this task are compared; higher is better."""


@torch.inference_mode()
def predict_windows(
    segment: Callable[[Tensor], Output],
    images: Sequence[Tensor],
    crop_size: Size,
    *,
    crops_at_once: int = 8,
    confidence: bool = False,
) -> list[SemanticMap]:
    """Predict images by the benchmark's sliding windows (arXiv 2404.12172; datasets of any size).

    Args:
        segment: uint8 crops (n, 3, h, w) of ``crop_size`` in, a decoder's output out.
        images: (3, H, W) uint8 each, of any size, on the device of ``segment``.
        crop_size: (height, width) that ``segment`` expects.
        crops_at_once: most crops handed to ``segment`` together.
        confidence: also return the probability of the chosen class.

    Returns:
        One map per image at the image's own size.
    """
    plans = [plan_windows((image.shape[-2], image.shape[-1]), crop_size) for image in images]
    crops = torch.cat([cut(image, plan) for image, plan in zip(images, plans, strict=True)])
    scores = torch.cat(
        [
            pixel_scores(segment(crops[first : first + crops_at_once]), crop_size)
            for first in range(0, len(crops), crops_at_once)
        ]
    )
    maps, first = [], 0
    for plan in plans:
        stop = first + len(plan.windows)
        classes, probability = merge_to_classes(scores[first:stop], plan, confidence=confidence)
        maps.append(SemanticMap(classes, probability))
        first = stop
    return maps
