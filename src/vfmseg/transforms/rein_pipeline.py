"""Turns a Sample of any size into an augmented Sample of fixed size: Rein's training augmentation (arXiv 2312.04265).

One of several scales, a random crop that no class fills, horizontal flip, and mmsegmentation's photometric distortion, in
this order. It differs from the benchmark's (``pipeline.py``) in more than its numbers: the short side is scaled, not what
fits the crop; pixels are interpolated without antialiasing; colours change after the crop; and what the crop shows
beyond the image is ImageNet's mean colour, as Rein pads after normalisation.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vfmseg.errors import RecipeError
from vfmseg.transforms.geometry import check_sizes, crop_window, cut, look_up, pad, pad_to_planes
from vfmseg.transforms.photometric import PhotometricDraws, distort, draw_photometric
from vfmseg.types import IGNORE_INDEX, Sample, Size, Targets

MAX_REDRAWS = 10
"""How often a crop that one class fills is drawn again; the last one is kept as it is."""
MEAN_COLOR = (124, 116, 104)
"""ImageNet's mean of red, green and blue, to the nearest of 8 bits; normalised by ImageNet's statistics, below 0.01."""
_LONGEST = 4
"""Long sides end at this many times the crop."""


@dataclass(frozen=True, kw_only=True)
class ReinAugmentation:
    """Which random changes training images go through. The defaults are the published ones."""

    size: Size
    """(height, width) in pixels of every augmented sample."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest short side of the scaled image, as a factor of the crop's shorter side."""
    num_scales: int = 16
    """Scales to choose from, evenly spread over the range: of a crop of 512, 256, 307, 358 and so on to 1024."""
    max_class_share: float = 0.75
    """While a single class fills this share of a crop's labelled pixels or more, the crop is drawn again; 1: never for
    that reason, but for a crop of one class alone."""
    color_jitter: bool = True
    """Whether brightness, contrast, saturation and hue vary, each in half of the samples."""
    flip: bool = True
    """Whether half of the samples are mirrored left to right."""

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise RecipeError(
                f"augmentation size is {self.size}, but height and width must be at least 1 pixel. "
                "Give the model's image size, for example size: [512, 512]."
            )
        low, high = self.scale_range
        if not 0 < low <= high:
            raise RecipeError(
                f"augmentation scale_range is {self.scale_range}, but it must be two factors above 0, "
                "the smaller first. The published one is scale_range: [0.5, 2.0]."
            )
        if self.num_scales < 1 or not 0 < self.max_class_share <= 1:
            raise RecipeError(
                f"augmentation num_scales is {self.num_scales} and max_class_share {self.max_class_share}, but there "
                "must be at least one scale, and the share must lie above 0 and not above 1. Published: 16 and 0.75."
            )

    @property
    def short_sides(self) -> tuple[int, ...]:
        """The short sides that scaled images may have, in pixels, ascending."""
        crop = min(self.size)
        factors = np.linspace(*self.scale_range, self.num_scales)
        # Factors such as 0.7 are not exact; 0.7 * 10 must not become 6.
        return tuple(max(1, int(crop * factor + 1e-6)) for factor in factors)


@dataclass(frozen=True, kw_only=True)
class ReinPlan:
    """All that was drawn for one sample."""

    resized_size: Size
    """(height, width) of the scaled image."""
    top: int
    """First row of the crop in the scaled image; 0 where the scaled image is not taller than the crop."""
    left: int
    """First column of the crop in the scaled image; 0 where it is not wider than the crop."""
    flip: bool
    """Whether the crop is mirrored left to right."""
    color: PhotometricDraws
    """What happens to its colours."""


class ReinTransform:
    """Augments samples; ``transform(sample, rng)`` depends on the sample, the settings and ``rng`` only."""

    def __init__(self, settings: ReinAugmentation) -> None:
        self.settings = settings

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return a new, augmented sample of ``settings.size``; ``sample`` is left as it is.

        A crop without a labelled pixel is kept after the last draw, and a warning names the image; none for an image
        whose targets are segments, as it teaches that there is nothing.

        Args:
            sample: image and id map of one size.
            rng: source of all randomness.

        Raises:
            LabelError: image and id map differ in size.
        """
        check_sizes(sample)
        return apply_plan(sample, draw_rein_plan(self.settings, sample, rng), self.settings.size)


def short_side_size(image_size: Size, short_side: int, longest: int) -> Size:
    """Return the size of an image whose short side is scaled to ``short_side``, unless its long one then is too long.

    Args:
        image_size: (height, width).
        short_side: pixels wanted.
        longest: pixels that the long side may have; both shrink until it has.

    Returns:
        (height, width), at least 1 each; halves are rounded up.
    """
    short, long = min(image_size), max(image_size)
    factor = min(short_side / short, longest / long)
    height, width = (max(1, int(side * factor + 0.5)) for side in image_size)
    return height, width


def draw_rein_plan(settings: ReinAugmentation, sample: Sample, rng: np.random.Generator) -> ReinPlan:
    """Draw one augmentation of ``sample``; of its content only labels matter, for redrawing crops.

    Args:
        settings: what to draw from.
        sample: the sample to be augmented.
        rng: source of all randomness.
    """
    sides, crop = settings.short_sides, settings.size
    image_size = (sample.image.shape[-2], sample.image.shape[-1])
    resized_size = short_side_size(image_size, sides[int(rng.integers(len(sides)))], _LONGEST * min(crop))
    plan = ReinPlan(resized_size=resized_size, top=0, left=0, flip=False, color=PhotometricDraws())
    last_top, last_left = (max(0, resized_size[axis] - crop[axis]) for axis in (0, 1))
    counts = np.zeros(0, np.int64)
    for _ in range(1 + MAX_REDRAWS):
        plan = replace(plan, top=int(rng.integers(last_top + 1)), left=int(rng.integers(last_left + 1)))
        counts = class_counts(sample.targets, *_label_index(image_size, plan, crop))
        if np.count_nonzero(counts) > 1 and counts.max() < settings.max_class_share * counts.sum():
            break
        if last_top == last_left == 0:
            break  # there is nothing else to draw
    if not counts.any() and sample.targets.segment_classes is None:
        warnings.warn(
            f"{sample.name}: no labelled pixel in the last of {1 + MAX_REDRAWS} random crops, so it teaches nothing. "
            "If that is many images, look at their labels with `vfmseg check-data`.",
            stacklevel=3,
        )
    return replace(
        plan,
        flip=settings.flip and bool(rng.random() < 0.5),
        color=draw_photometric(rng) if settings.color_jitter else PhotometricDraws(),
    )


def class_counts(targets: Targets, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the pixels of each class among some rows and columns; those of crowds count, unlabelled ones do not."""
    ids = look_up(targets.id_map.numpy(), rows, columns)
    if ids.dtype == np.uint8:
        counts = cv2.calcHist([ids], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
    else:
        counts = np.bincount(ids.ravel(), minlength=IGNORE_INDEX + 1)
    counts[IGNORE_INDEX] = 0
    if targets.segment_classes is None:
        return counts
    segments = np.flatnonzero(counts)
    return np.bincount(targets.segment_classes.numpy()[segments], counts[segments]).astype(np.int64)


def apply_plan(sample: Sample, plan: ReinPlan, size: Size) -> Sample:
    """Return the sample that ``plan`` makes of ``sample``; a pure function of its arguments.

    Args:
        sample: image and id map of one size.
        plan: what to do.
        size: (height, width) of the result.

    Returns:
        A sample in new memory. What the crop shows beyond the scaled image is ``MEAN_COLOR`` in the image and
        ``IGNORE_INDEX`` in the id map. Segments that are no longer seen keep their numbers.
    """
    image_size = (sample.image.shape[-2], sample.image.shape[-1])
    rows, columns = _label_index(image_size, plan, size)
    ids = look_up(sample.targets.id_map.numpy(), rows, columns)
    height, width = plan.resized_size
    pixels = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())  # (H, W, 3)
    if image_size != plan.resized_size:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    crop = np.ascontiguousarray(cut(pixels, crop_window(plan.top, plan.left, plan.resized_size, size)))
    if plan.flip:
        crop, ids = cv2.flip(crop, 1), np.ascontiguousarray(ids[:, ::-1])
    planes = pad_to_planes(distort(crop, plan.color), size, MEAN_COLOR)
    ids = pad(ids, size, IGNORE_INDEX)
    return replace(
        sample,
        image=torch.from_numpy(planes),
        targets=replace(sample.targets, id_map=torch.from_numpy(ids)),
    )


def _label_index(image_size: Size, plan: ReinPlan, size: Size) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns of the id map that the crop shows, as OpenCV's nearest resize chooses them."""
    top, left, height, width = crop_window(plan.top, plan.left, plan.resized_size, size)
    spans = ((top, height), (left, width))
    rows, columns = (
        # OpenCV floors index times 1 / (new / old), in double precision.
        np.minimum(np.arange(start, start + count) * (1.0 / (new / old)), old - 1).astype(np.intp)
        for (start, count), old, new in zip(spans, image_size, plan.resized_size, strict=True)
    )
    return rows, columns
