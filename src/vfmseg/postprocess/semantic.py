"""Turns a decoder's Output into one score per class and pixel: what windows average and argmax decides on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vfmseg.types import MaskFactors, MaskLogits, Output, PixelLogits, Size

_BAND_FLOATS = 1 << 19
"""Mask probabilities worked on at once on a CPU."""


def semantic_scores(prediction: MaskLogits | MaskFactors, size: Size) -> Tensor:
    """Return the score of every class at every pixel: over the queries, the sum of mask times class.

    ``S_c(pixel) = sum_q sigmoid(m_q(pixel)) softmax(z_q)_c`` (MaskFormer, arXiv 2107.06278, sec. 3.4), with
    mask logits first upsampled bilinearly and no-object dropped after the softmax. Not a probability: scores
    of a pixel need not sum to one.

    Args:
        prediction: mask logits (B, Q, h', w') and class logits (B, Q, K + 1).
        size: (h, w) of the scores in pixels.

    Returns:
        (B, K, h, w) float32, at least 0.
    """
    with torch.autocast(device_type=prediction.class_logits.device.type, enabled=False):
        classes = prediction.class_logits.float().softmax(-1)[..., :-1].transpose(1, 2)  # B K Q
        num_images, num_classes, num_queries = classes.shape
        height, width = size
        rows = height if classes.device.type != "cpu" else max(1, _BAND_FLOATS // max(1, num_queries * width))
        scores = classes.new_empty(num_images, num_classes, height, width)
        for mask_logits, image_classes, image_scores in zip(
            prediction.mask_logits, classes, scores, strict=True
        ):
            # One image at a time: Q masks at full size are the largest thing here. The rest is done in bands
            # of rows, which stay in the cache.
            masks = F.interpolate(mask_logits[None].float(), size, mode="bilinear", align_corners=False)[0]
            for top in range(0, height, rows):
                band = masks[:, top : top + rows].sigmoid()  # Q r w
                image_scores[:, top : top + rows] = (image_classes @ band.flatten(1)).unflatten(
                    1, (-1, width)
                )
        return scores


def pixel_scores(output: Output, crop_size: Size) -> Tensor:
    """Return class scores of whatever a decoder said.

    Args:
        output: pixel logits, or mask logits of which the last layer counts.
        crop_size: (h, w) of the segmented crop in pixels.

    Returns:
        (B, K, ., .): pixel logits as they are, at the patch grid; for masks, :func:`semantic_scores` at
        ``crop_size``.
    """
    if isinstance(output, PixelLogits):
        return output.logits
    return semantic_scores(output[-1], crop_size)


def is_finite(output: Output) -> Tensor:
    """Return (B,) bool: whether a decoder said nothing but numbers of an image, so that its best class means something.

    As for segments, a class ruled out by minus infinity is a number.
    """
    if isinstance(output, PixelLogits):
        parts = [output.logits]
    elif isinstance(last := output[-1], MaskFactors):
        parts = [last.embeddings, last.features, last.class_logits.float().softmax(-1)]
    else:
        parts = [last.mask_logits, last.class_logits.float().softmax(-1)]
    # A sum is finite if all its parts are, and costs a fraction of asking each.
    return torch.stack([part.flatten(1).sum(1, dtype=torch.float32) for part in parts]).isfinite().all(0)
