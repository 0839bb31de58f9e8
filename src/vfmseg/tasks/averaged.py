"""Test-time augmentation of semantic models: variants of one image in, one map of their averaged scores out.

What windows average is averaged here, too: logits of pixel decoders, scores of mask decoders. All variants go through the
image band by band side by side, so that memory grows with their number, but not with the image's height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from vfmseg.tasks.base import Segment
from vfmseg.tasks.window_scores import window_scores
from vfmseg.transforms.averaged_views import AveragedViews
from vfmseg.transforms.row_band import MAX_UINT8_CLASSES, Confidence
from vfmseg.transforms.sliding_window import WindowPlan, cut_rows
from vfmseg.transforms.window_merge import stream_logits
from vfmseg.types import SemanticMap, Size

PlanAt = Callable[[Size, Size], WindowPlan]
"""(height, width) of an image and of the crops in, how windows lie on it at its own resolution out."""


def scaled_plan(base: WindowPlan, scale: float, plan_at: PlanAt) -> WindowPlan:
    """Return how windows lie on an image that is seen at ``scale`` times the size that ``base`` sees it at.

    Args:
        base: how the image is seen without augmentation; returned as it is for a scale of 1.
        scale: factor.
        plan_at: how windows lie on an image of the scaled size.
    """
    if scale == 1:
        return base
    height, width = (max(1, round(length * scale)) for length in base.resized_size)
    plan = plan_at((height, width), base.crop_size)
    rows = replace(plan.rows, size=base.rows.size, blend=base.rows.blend)
    columns = replace(plan.columns, size=base.columns.size, blend=base.columns.blend)
    return replace(base, rows=rows, columns=columns)


@torch.no_grad()
def predict_averaged(
    segment: Segment,
    image: Tensor,
    base: WindowPlan,
    views: AveragedViews,
    plan_at: PlanAt,
    *,
    crops_at_once: int = 8,
    confidence: bool = False,
    measure: Callable[[Tensor], Tensor] | None = None,
) -> SemanticMap:
    """Predict one image by the mean of its variants' class scores.

    Args:
        segment: the model.
        image: (3, H, W) uint8, on the CPU or the device of ``segment``.
        base: how the image is seen without augmentation.
        views: the variants.
        plan_at: how windows lie on the scaled variants.
        crops_at_once: most crops handed to ``segment`` together.
        confidence: also return the probability of the chosen class, of pixel decoders the softmax of the mean logits.
        measure: in its place, return what this makes of the mean logits or scores, (K, rows, W) -> (rows, W).

    Returns:
        The map at the image's own size, on the CPU, confidence in float32.
    """
    kinds: list[Confidence] = []

    def scored(variant: Tensor, plan: WindowPlan) -> Iterator[Tensor]:
        for row in cut_rows(variant, plan):
            scores, kind = window_scores(segment, row, plan.crop_size, crops_at_once)
            kinds.append(kind)
            yield scores

    streams = []
    for scale, is_flipped in views.variants:
        plan = scaled_plan(base, scale, plan_at)
        variant = image.flip(-1) if is_flipped else image
        streams.append(stream_logits(scored(variant, plan), plan))
    classes, certain = [], []
    for bands in zip(*streams, strict=True):  # each of the same rows of the image
        mean: Tensor | None = None
        for (_, logits), (_, is_flipped) in zip(bands, views.variants, strict=True):
            upright = logits.flip(-1) if is_flipped else logits
            mean = upright if mean is None else mean + upright
        assert mean is not None
        mean = mean / len(views.variants)
        best, winner = mean.max(0)
        classes.append(winner.to(torch.uint8 if len(mean) <= MAX_UINT8_CLASSES else torch.int16).cpu())
        if measure is not None:
            certain.append(measure(mean).cpu())
        elif confidence:
            sure = 1 / (mean - best).exp().sum(0) if kinds[0] == "softmax" else best
            certain.append(sure.cpu())
    return SemanticMap(torch.cat(classes), torch.cat(certain) if certain else None)
