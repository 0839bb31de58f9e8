"""Windows in, one score per class and cell of each out, and a warning of those that are no numbers."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from vfmseg.postprocess.semantic import is_finite, pixel_scores
from vfmseg.tasks.base import Segment
from vfmseg.transforms.row_band import Confidence
from vfmseg.types import PixelLogits, Size


def window_scores(
    segment: Segment, crops: Tensor, crop_size: Size, at_once: int
) -> tuple[Tensor, Confidence]:
    """Return scores (n, K, ., .) of all crops, and what their best one means: a logit, or a score in [0, 1].

    Args:
        segment: the model.
        crops: (n, 3, h, w) uint8.
        crop_size: (h, w) in pixels.
        at_once: most crops handed to ``segment`` together.
    """
    kind: Confidence = "score"
    found, finite = [], []
    for first in range(0, len(crops), at_once):
        output = segment(crops[first : first + at_once])
        kind = "softmax" if isinstance(output, PixelLogits) else "score"
        found.append(pixel_scores(output, crop_size))
        finite.append(is_finite(output))
    bad = int((~torch.cat(finite)).sum())  # one transfer
    if bad:
        warnings.warn(
            f"{bad} of {len(crops)} views have NaN or infinite logits, so that their classes mean nothing. The weights "
            "are damaged, or training diverged: use a checkpoint from before.",
            RuntimeWarning,
            stacklevel=4,
        )
    return torch.cat(found), kind
