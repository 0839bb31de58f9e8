"""A sample in, the same at half its size out: how Rein's programs store Mapillary for validation (arXiv 2312.04265)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vfmseg.types import Sample


def halve(sample: Sample) -> Sample:
    """Return a semantic sample of half the height and width, rounded down and at least 1.

    The image is resized bicubically, id map and unknown pixels by nearest neighbours, all as Pillow does.

    Args:
        sample: with a uint8 id map of classes.
    """
    image = Image.fromarray(sample.image.permute(1, 2, 0).contiguous().numpy())
    half = (max(1, image.width // 2), max(1, image.height // 2))

    def nearest(pixels: Tensor) -> Tensor:
        halved = Image.fromarray(pixels.to(torch.uint8).numpy()).resize(half, Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(halved)).to(pixels.dtype)

    return replace(
        sample,
        image=torch.from_numpy(np.array(image.resize(half, Image.Resampling.BICUBIC))).permute(2, 0, 1),
        targets=replace(sample.targets, id_map=nearest(sample.targets.id_map)),
        unknown=None if sample.unknown is None else nearest(sample.unknown),
    )
