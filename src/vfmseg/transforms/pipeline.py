"""Turns a Sample of any size into an augmented Sample of fixed size: the benchmark's training augmentation.

Colour jitter, horizontal flip, scale jitter, padding and a random crop, in this order, on the image and its
one id map (Kerssies et al., *How to Benchmark Vision Foundation Models for Semantic Segmentation?*, 2024).
All randomness is drawn first, into an :class:`AugmentationPlan`; applying it (:func:`augment`) is a pure
function.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vfmseg.errors import RecipeError
from vfmseg.transforms.color import ColorDraws, adjust_color
from vfmseg.transforms.geometry import (
    check_sizes,
    crop_window,
    cut,
    look_up,
    mirror,
    nearest_index,
    pad,
    pad_to_planes,
    resize,
    scaled_size,
    source_window,
)
from vfmseg.types import IGNORE_INDEX, Sample, Size, Targets

MAX_CROP_DRAWS = 100
"""A crop without a labelled pixel is drawn again, up to this many times in all; then the last one is kept."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which random changes training images go through. The defaults are the published ones."""

    size: Size
    """(height, width) in pixels of every augmented sample."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest factor of scale jitter; published (0.1, 2.0) for panoptic and instance tasks."""
    color_jitter: bool = True
    """Whether brightness, contrast, saturation and hue vary, each in half of the samples."""
    flip: bool = True
    """Whether half of the samples are mirrored left to right."""
    redraw: Literal["crop", "all"] = "crop"
    """What is drawn again while a crop shows nothing labelled: the crop (benchmark), or everything (EoMT)."""
    brightness: float = 32 / 255
    """Brightness factors are drawn from [1 - brightness, 1 + brightness]; in [0, 1]."""
    contrast: float = 0.5
    """Contrast factors are drawn from [1 - contrast, 1 + contrast]; in [0, 1]."""
    saturation: float = 0.5
    """Saturation factors are drawn from [1 - saturation, 1 + saturation]; in [0, 1]."""
    hue: float = 18 / 360
    """Hues turn by [-hue, hue] of the colour circle; at least 0 and less than 1/6 (60 degrees)."""

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
        magnitudes = (
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        )
        for name, value in magnitudes:
            if not 0 <= value <= 1:
                raise RecipeError(
                    f"augmentation {name} is {value}, but it must lie between 0 and 1. "
                    f"Use {name}: 0 to leave {name} alone."
                )
        if not 0 <= self.hue < 1 / 6:
            raise RecipeError(
                f"augmentation hue is {self.hue}, but it must be a fraction of the colour circle, at least 0 "
                "and below 1/6. Use hue: 0 to leave hue alone; the published one is hue: 0.05."
            )


@dataclass(frozen=True, kw_only=True)
class AugmentationPlan:
    """All that was drawn for one sample."""

    color: ColorDraws
    """The factors of colour jitter."""
    flip: bool
    """Whether the sample is mirrored left to right."""
    scale: float
    """Factor of scale jitter."""
    top: int
    """First row of the crop in the scaled image; 0 where the scaled image is not taller than the crop."""
    left: int
    """First column of the crop in the scaled image; 0 where it is not wider than the crop."""


class TrainTransform:
    """Augments samples; ``transform(sample, rng)`` depends on the sample, the settings and ``rng`` only."""

    def __init__(self, settings: Augmentation) -> None:
        self.settings = settings

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return a new, augmented sample of ``settings.size``; ``sample`` is left as it is.

        While a crop shows no labelled pixel, ``settings.redraw`` is drawn again. After ``MAX_CROP_DRAWS``
        draws, or at once where the whole image is unlabelled, the crop is kept and a warning names the image;
        none for an image without segments where segments are the target, as it teaches that there is nothing.

        Args:
            sample: image and id map of one size.
            rng: source of all randomness.

        Raises:
            LabelError: image and id map differ in size.
        """
        check_sizes(sample)
        return augment(sample, draw_plan(self.settings, sample, rng), self.settings.size)


def draw_plan(settings: Augmentation, sample: Sample, rng: np.random.Generator) -> AugmentationPlan:
    """Draw one augmentation of ``sample``; of its content only labels matter, for redrawing crops.

    Args:
        settings: ranges to draw from.
        sample: the sample to be augmented.
        rng: source of all randomness.
    """
    plan = _draw_view(settings, rng)
    is_labelled = _shows_label(sample.targets, slice(None), slice(None))
    attempts = MAX_CROP_DRAWS if is_labelled else 1
    for attempt in range(attempts):
        if attempt and settings.redraw == "all":
            plan = _draw_view(settings, rng)
        resized_size = scaled_size(_size_of(sample), settings.size, plan.scale)
        last_top, last_left = (max(0, resized_size[axis] - settings.size[axis]) for axis in (0, 1))
        top, left = (int(rng.integers(last + 1)) if last else 0 for last in (last_top, last_left))
        plan = replace(plan, top=top, left=left)
        rows, columns = _label_index(sample, plan, settings.size)
        # A sparse look usually finds a label, and then the full one is not needed.
        if any(_shows_label(sample.targets, rows[::step, None], columns[::step]) for step in (8, 1)):
            return plan
    if not is_labelled and sample.targets.segment_classes is not None:
        return plan
    warnings.warn(
        f"{sample.name}: no labelled pixel in {attempts} random crop(s), so this crop teaches nothing. "
        "If that is many images, look at their labels with `vfmseg check-data`.",
        stacklevel=3,
    )
    return plan


def _draw_view(settings: Augmentation, rng: np.random.Generator) -> AugmentationPlan:
    """Draw everything but the place of the crop."""
    color = _draw_color(settings, rng) if settings.color_jitter else ColorDraws()
    flip = settings.flip and rng.random() < 0.5
    scale = float(rng.uniform(*settings.scale_range))
    return AugmentationPlan(color=color, flip=flip, scale=scale, top=0, left=0)


def augment(sample: Sample, plan: AugmentationPlan, size: Size) -> Sample:
    """Return the sample that ``plan`` makes of ``sample``; a pure function of its arguments.

    Args:
        sample: image and id map of one size.
        plan: what to do.
        size: (height, width) of the result.

    Returns:
        A sample in new memory. What the crop shows beyond the scaled image is 0 in the image and
        ``IGNORE_INDEX`` in the id map. Segments that are no longer seen keep their numbers.
    """
    rows, columns = _label_index(sample, plan, size)
    ids = pad(look_up(sample.targets.id_map.numpy(), rows, columns), size, IGNORE_INDEX)
    planes = pad_to_planes(_crop_image(sample, plan, size), size)
    return replace(
        sample,
        image=torch.from_numpy(planes),
        targets=replace(sample.targets, id_map=torch.from_numpy(ids)),
    )


def _crop_image(sample: Sample, plan: AugmentationPlan, size: Size) -> NDArray[np.uint8]:
    """Return the crop without padding: (at most height, at most width, 3) uint8."""
    image_size = _size_of(sample)
    resized_size = scaled_size(image_size, size, plan.scale)
    window = crop_window(plan.top, plan.left, resized_size, size)
    pixels = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())  # (H, W, 3)
    if plan.color == ColorDraws() and not plan.flip:
        return cut(resize(pixels, resized_size), window)
    # Colours and flip are done only where the crop looks; the rest of the canvas is never read.
    seen = source_window(window, image_size, resized_size)
    colored = adjust_color(pixels, plan.color, mirror(seen, image_size[1]) if plan.flip else seen)
    if plan.flip:
        colored = cv2.flip(colored, 1)
    if colored.shape == pixels.shape:
        return cut(resize(colored, resized_size), window)
    canvas = np.empty_like(pixels)
    cut(canvas, seen)[:] = colored
    return cut(resize(canvas, resized_size), window)


def _label_index(
    sample: Sample, plan: AugmentationPlan, size: Size
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns of the sample's id map that the crop shows."""
    image_size = _size_of(sample)
    resized_size = scaled_size(image_size, size, plan.scale)
    return nearest_index(
        image_size, resized_size, crop_window(plan.top, plan.left, resized_size, size), flip=plan.flip
    )


def _shows_label(targets: Targets, rows: slice | NDArray[np.intp], columns: slice | NDArray[np.intp]) -> bool:
    """Say whether a part of the id map holds a pixel that is neither unlabelled nor of a crowd."""
    ids = targets.id_map.numpy()[rows, columns]
    labelled = ids != IGNORE_INDEX
    if targets.segment_is_crowd is not None:
        labelled[labelled] = ~targets.segment_is_crowd.numpy()[ids[labelled]]
    return bool(labelled.any())


def _draw_color(settings: Augmentation, rng: np.random.Generator) -> ColorDraws:
    """Draw one colour jitter: each property with probability one half, and the order likewise."""

    def factor(center: float, reach: float) -> float | None:
        drawn = float(rng.uniform(center - reach, center + reach))
        return drawn if rng.random() < 0.5 and reach > 0 else None

    return ColorDraws(
        brightness=factor(1.0, settings.brightness),
        contrast=factor(1.0, settings.contrast),
        saturation=factor(1.0, settings.saturation),
        hue=factor(0.0, settings.hue),
        contrast_first=rng.random() < 0.5,
    )


def _size_of(sample: Sample) -> Size:
    height, width = sample.image.shape[-2:]
    return height, width
