"""Turns an image of any size into crops of the model's size, by a plan that also says how to go back.

There are three plans. :func:`plan_windows` is the published evaluation: the image is resized until it just
covers the crop, and windows are spread along the longer side. :func:`stride_plan` is that of mmsegmentation, and so of
Rein: windows at a fixed stride in both directions. :func:`tile_plan` leaves the image at its own
resolution and covers it with overlapping tiles in both directions. The way back, from the logits of the crops
to those of the image, is in ``window_merge``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from vfmseg.errors import RecipeError
from vfmseg.transforms.averaged_views import AveragedViews
from vfmseg.types import Size

Blend = Literal["mean", "ramp"]
"""How overlapping windows share a pixel: equally, or each by its distance to the window's border."""


@dataclass(frozen=True)
class Axis:
    """How the windows lie along one direction of the image. All lengths in pixels."""

    size: int
    """Length of the image."""
    resized: int
    """Length after the resize; windows lie on this axis."""
    window: int
    """Length of a window."""
    starts: tuple[int, ...]
    """First pixel of each window, ascending. A window that reaches beyond ``resized`` sees padding there."""
    blend: Blend

    @property
    def padded(self) -> int:
        """Length of the resized image with its padding at the end."""
        return max(self.resized, self.starts[-1] + self.window)

    def weights(self) -> Tensor:
        """Return (n, window) float32: the share of each window in each of its pixels; shares sum to 1."""
        positions = torch.arange(self.window, dtype=torch.float64)
        to_border = torch.minimum(positions, positions.flip(0)) + 0.5
        share = to_border if self.blend == "ramp" else torch.ones_like(positions)
        total = torch.zeros(self.padded, dtype=torch.float64)
        for start in self.starts:
            total[start : start + self.window] += share
        return torch.stack([share / total[start : start + self.window] for start in self.starts]).float()

    def uncovered(self) -> Tensor:
        """Return (padded,) bool: pixels that no window sees; there are some in published spans only."""
        seen = torch.zeros(self.padded, dtype=torch.bool)
        for start in self.starts:
            seen[start : start + self.window] = True
        return ~seen


@dataclass(frozen=True)
class WindowPlan:
    """Where the windows lie. Windows are numbered row by row, each row from left to right."""

    rows: Axis
    """Top to bottom."""
    columns: Axis
    """Left to right."""
    antialias: bool = True
    """Whether the resize of the image averages what it skips."""

    @property
    def image_size(self) -> Size:
        """(height, width) of the image."""
        return self.rows.size, self.columns.size

    @property
    def resized_size(self) -> Size:
        """(height, width) to which the image is resized before it is cut."""
        return self.rows.resized, self.columns.resized

    @property
    def crop_size(self) -> Size:
        """(height, width) of every window."""
        return self.rows.window, self.columns.window

    @property
    def shape(self) -> tuple[int, int]:
        """Number of window rows, and of windows in each."""
        return len(self.rows.starts), len(self.columns.starts)

    @property
    def num_windows(self) -> int:
        """Number of windows."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class View:
    """How evaluation looks at an image: by default as :func:`plan_windows` plans."""

    stride: int | None = None
    """Pixels from one window to the next, see :func:`stride_plan`."""
    fit: Size | None = None
    """(height, width) of the box that the image is scaled to fit, see :func:`stride_plan`; needs ``stride``."""
    augment: AveragedViews | None = None
    """Test-time augmentation: the variants of the image whose class scores are averaged; None: the image as it is."""

    def plan(self, image_size: Size, crop_size: Size) -> WindowPlan:
        """Return the plan for an image of (height, width) and crops of the model's size."""
        if self.stride is None:
            return plan_windows(image_size, crop_size)
        return stride_plan(image_size, crop_size, self.stride, fit=self.fit)

    def plan_at(self, image_size: Size, crop_size: Size) -> WindowPlan:
        """Return how windows lie on an image of (height, width) at its own resolution, as scaled variants are seen."""
        if self.stride is None:
            return tile_plan(image_size, crop_size, 0)
        return stride_plan(image_size, crop_size, self.stride, cover=False)


DEFAULT_VIEW = View()
"""As the benchmark evaluates."""


def plan_windows(image_size: Size, crop_size: Size, *, published_spans: bool = False) -> WindowPlan:
    """Plan the published evaluation: resize to cover the crop, then slide along the longer side.

    The image is scaled by ``max(crop height / height, crop width / width)`` and sizes are rounded, so that it
    covers the crop and equals it in one direction. In the other, the fewest windows are spread evenly.

    The published start of window j is ``int(j * (crop - overlap))``. For some sizes (never for crops of 512
    or 1024) the truncation leaves the last pixel without a window, and the published merge is NaN there.
    Here the last window always ends at the border; all other spans are the published ones.

    Args:
        image_size: (height, width).
        crop_size: (height, width) of the model's input.
        published_spans: keep the published start of the last window too, NaN and all.
    """
    factor = max(crop / size for crop, size in zip(crop_size, image_size, strict=True))

    def axis(size: int, crop: int) -> Axis:
        resized = max(crop, round(size * factor))
        count = math.ceil(resized / crop)
        overlap = (count * crop - resized) / (count - 1) if count > 1 else 0.0
        starts = [int(j * (crop - overlap)) for j in range(count)]
        if not published_spans:
            starts[-1] = resized - crop
        return Axis(size, resized, crop, tuple(starts), "mean")

    return WindowPlan(axis(image_size[0], crop_size[0]), axis(image_size[1], crop_size[1]))


def stride_plan(
    image_size: Size, crop_size: Size, stride: int, *, cover: bool = True, fit: Size | None = None
) -> WindowPlan:
    """Plan mmsegmentation's sliding windows, with which Rein is evaluated (arXiv 2312.04265): crop 512, stride 341.

    Windows start at multiples of the stride, the last ones shifted back to the border, and overlaps are averaged. An
    image smaller than the crop is padded at the bottom and right; mmsegmentation hands the model the smaller image.

    Args:
        image_size: (height, width).
        crop_size: (height, width) of the model's input.
        stride: pixels from one window to the next; 1 to the crop's shorter side. Published: 341 for 512, 683 for 1024.
        cover: first scale the image as :func:`plan_windows` does. For Cityscapes that is the published 1024 x 512 (2048
            x 1024 with crops of 1024); otherwise windows lie on the image's own resolution.
        fit: in place of both, scale the image without antialiasing until it just fits this box, whose longer side is for
            the image's longer one: the published evaluation of each data set.

    Raises:
        RecipeError: windows at this stride leave gaps, or do not move.
    """
    if not 0 < stride <= min(crop_size):
        raise RecipeError(
            f"window stride is {stride} pixels, but with crops of {crop_size[0]} x {crop_size[1]} it must lie between "
            f"1 and {min(crop_size)}. Published: 341 with crops of 512, 683 with 1024."
        )
    factor = max(crop / size for crop, size in zip(crop_size, image_size, strict=True)) if cover else 1.0
    if fit is not None:
        factor = min(max(fit) / max(image_size), min(fit) / min(image_size))

    def axis(size: int, crop: int) -> Axis:
        resized = max(crop, round(size * factor)) if cover else size
        if fit is not None:
            resized = max(1, int(size * factor + 0.5))
        last = max(0, resized - crop)
        starts = tuple(min(j * stride, last) for j in range(math.ceil(last / stride) + 1))
        return Axis(size, resized, crop, starts, "mean")

    rows, columns = (axis(size, crop) for size, crop in zip(image_size, crop_size, strict=True))
    return WindowPlan(rows, columns, antialias=fit is None)


def tile_plan(image_size: Size, crop_size: Size, overlap: int) -> WindowPlan:
    """Plan overlapping tiles over an image at its own resolution, for images larger than the crop.

    Tiles are spread evenly in both directions and blended by ramps: the closer a pixel is to a tile's
    border, the less that tile counts. An image smaller than the crop is padded at the bottom and right.

    Args:
        image_size: (height, width).
        crop_size: (height, width) of the model's input.
        overlap: pixels that neighbouring tiles share at least; 0 to the crop's shorter side minus 1.

    Raises:
        RecipeError: the overlap does not fit the crop.
    """
    if not 0 <= overlap < min(crop_size):
        raise RecipeError(
            f"tile overlap is {overlap} pixels, but with crops of {crop_size[0]} x {crop_size[1]} it must "
            f"lie between 0 and {min(crop_size) - 1}. A quarter, {min(crop_size) // 4}, does well."
        )

    def axis(size: int, crop: int) -> Axis:
        count = max(1, math.ceil((size - overlap) / (crop - overlap)))
        starts = [j * (size - crop) // (count - 1) for j in range(count)] if count > 1 else [0]
        return Axis(size, size, crop, tuple(starts), "ramp")

    return WindowPlan(axis(image_size[0], crop_size[0]), axis(image_size[1], crop_size[1]))


def cut(image: Tensor, plan: WindowPlan) -> Tensor:
    """Return all windows of an image.

    Args:
        image: (3, H, W) uint8 of ``plan.image_size``.
        plan: from one of the functions above.

    Returns:
        (n, 3, h, w) uint8, in the order of the plan; beyond the image 0.
    """
    return torch.cat(list(cut_rows(image, plan)))


def cut_rows(image: Tensor, plan: WindowPlan) -> Iterator[Tensor]:
    """Yield the windows of an image one window row after the other, so that few are in memory at a time.

    Args:
        image: (3, H, W) uint8 of ``plan.image_size``.
        plan: from one of the functions above.

    Yields:
        (windows in a row, 3, h, w) uint8.
    """
    if tuple(image.shape[-2:]) != plan.image_size:
        raise ValueError(f"the plan is for images of {plan.image_size}, not {tuple(image.shape[-2:])}")
    height, width = plan.crop_size
    resized = resize(image, list(plan.resized_size), antialias=plan.antialias)
    for top in plan.rows.starts:
        windows = resized.new_zeros((plan.shape[1], 3, height, width))
        for window, left in zip(windows, plan.columns.starts, strict=True):
            part = resized[:, top : top + height, left : left + width]
            window[:, : part.shape[1], : part.shape[2]] = part
        yield windows
