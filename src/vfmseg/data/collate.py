"""Lists of Samples -> what a training or an evaluation step takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vfmseg.errors import DataError
from vfmseg.types import Batch, Sample


def collate_batch(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size.

    Args:
        samples: B samples, B >= 1, images (3, H, W) of equal size.

    Returns:
        images (B, 3, H, W) and B targets.

    Raises:
        DataError: the sizes differ; the message names two samples.
    """
    first = samples[0]
    for sample in samples:
        if sample.image.shape != first.image.shape:
            raise DataError(
                f"{sample.name} is {_size(sample)} and {first.name} is {_size(first)} (height x width): only "
                "images of one size make a batch. Crop or resize them in the transform, or use batch size 1."
            )
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        targets=tuple(sample.targets for sample in samples),
        names=tuple(sample.name for sample in samples),
    )


def collate_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Keep samples as they are: evaluation runs at each image's own size."""
    return list(samples)


def _size(sample: Sample) -> str:
    return f"{sample.image.shape[1]} x {sample.image.shape[2]}"
