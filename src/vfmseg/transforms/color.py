"""Turns the pixels of an image into brighter, flatter or more colourful ones: the training colour jitter.

The result equals torchvision's ``adjust_*`` functions on uint8 tensors value for value, at a fraction of
their cost: brightness and contrast are one 256-entry table, saturation works on planes, and hue moves only
the middle channel of each pixel (see :func:`rotate_hue`). What is drawn (:class:`ColorDraws`) stands apart
from how it is applied (:func:`adjust_color`), which is a pure function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2.functional import adjust_hue

from vfmseg.transforms.geometry import Window, cut

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB, or one (H, W) plane of it."""

_BLOCK_PIXELS = 1 << 17
"""Planes are worked on in blocks of about this many pixels, so that temporaries stay in the cache."""
_HUE_DOUBT = 2e-3
"""Distance from a rounding step, in grey levels, below which float32 may fall on either side. The float32 hue
of torchvision is off by up to 6e-4 (rounding of an angle in sixths, times a range of 255)."""


@dataclass(frozen=True, kw_only=True)
class ColorDraws:
    """What one colour jitter does. A factor of None leaves that property alone."""

    brightness: float | None = None
    """Multiplies the pixels."""
    contrast: float | None = None
    """Scales the distance to the image's mean grey."""
    saturation: float | None = None
    """Scales the distance to the pixel's grey."""
    hue: float | None = None
    """Fraction of the colour circle in (-1/6, 1/6) by which hues turn."""
    contrast_first: bool = True
    """Whether contrast comes before saturation and hue, or after them."""


def adjust_color(pixels: Pixels, draws: ColorDraws, region: Window | None = None) -> Pixels:
    """Return the jittered pixels of ``region``, as if the whole image had been jittered and then cut.

    Brightness comes first, then contrast, saturation and hue in the drawn order. Contrast refers to the mean
    grey of the whole image; nothing else looks beyond the region.

    Args:
        pixels: (H, W, 3) uint8 RGB; not changed.
        draws: the factors.
        region: what is wanted; None means all.

    Returns:
        (height, width, 3) uint8 of the region; a view of ``pixels`` where nothing was to be done.
    """
    wanted = pixels if region is None else cut(pixels, region)
    has_chroma = draws.saturation is not None or draws.hue is not None
    table = None if draws.brightness is None else _blend_table(0.0, draws.brightness)
    if draws.contrast is not None and has_chroma and not draws.contrast_first:
        whole = _adjust_chroma(_look_up(pixels, table), draws)
        last_table = _blend_table(mean_grey(whole), draws.contrast)
        return _look_up(whole if region is None else cut(whole, region), last_table)
    if draws.contrast is not None:
        contrast_table = _blend_table(mean_grey(_look_up(pixels, table)), draws.contrast)
        table = contrast_table if table is None else contrast_table[table]
    jittered = _look_up(wanted, table)
    return _adjust_chroma(jittered, draws) if has_chroma else jittered


def grey_plane(red: Pixels, green: Pixels, blue: Pixels) -> Pixels:
    """Return ``floor(0.2989 r + 0.587 g + 0.114 b)`` of three (H, W) uint8 planes, rounded as in torchvision.

    Where the exact value is an integer, float32 decides on which side it falls, hence torch's own operators.
    """
    grey = torch.from_numpy(red).to(torch.float32).mul_(0.2989)
    grey.add_(torch.from_numpy(green), alpha=0.587).add_(torch.from_numpy(blue), alpha=0.114)
    return grey.numpy().astype(np.uint8)


def mean_grey(pixels: Pixels) -> float:
    """Return the mean over the image of the floored grey of (H, W, 3) ``pixels``; the sum is exact."""
    total = sum(cv2.sumElems(grey_plane(*cv2.split(block)))[0] for block in _row_blocks(pixels))
    return total / (pixels.shape[0] * pixels.shape[1])


def saturate(planes: Sequence[Pixels], factor: float) -> list[Pixels]:
    """Return the planes with their distance to the pixel's grey scaled by ``factor``.

    Args:
        planes: red, green and blue, each (H, W) uint8.
        factor: 0 is grey, 1 changes nothing.
    """
    grey = torch.from_numpy(grey_plane(*planes)).to(torch.float32)
    blended = []
    for plane in planes:
        value = torch.from_numpy(plane).to(torch.float32).mul_(factor).add_(grey, alpha=1.0 - factor)
        blended.append(value.clamp_(0, 255).numpy().astype(np.uint8))
    return blended


def rotate_hue(planes: Sequence[Pixels], turn: float) -> tuple[list[Pixels], NDArray[np.intp]]:
    """Turn every hue by ``turn`` of the colour circle, and say where float32 rounding decides the result.

    In HSV, a turn of less than a sixth of the circle keeps the largest and the smallest channel and moves the
    middle one by ``6 * turn`` times their distance; what is too much for the way to the end is reflected,
    and the channel that was at the end takes the middle's place. So no division and no angle is needed.

    Args:
        planes: red, green and blue, each (H, W) uint8.
        turn: in (-1/6, 1/6).

    Returns:
        The turned planes, and the flat indices of the pixels that may differ by one grey level from
        torchvision's float32 arithmetic: those whose exact value is next to a rounding step.
    """
    red, green, blue = planes
    r_lt_g, g_lt_b, r_lt_b = (
        cv2.compare(low, high, cv2.CMP_LT) for low, high in ((red, green), (green, blue), (red, blue))
    )
    lower, higher = cv2.min(red, green), cv2.max(red, green)
    largest, smallest = cv2.max(higher, blue), cv2.min(lower, blue)
    middle = cv2.max(lower, cv2.min(higher, blue))
    spread = largest - smallest

    # The middle channel rises with the hue in the sectors red-green-blue, green-blue-red, blue-red-green.
    falls = r_lt_g ^ g_lt_b ^ r_lt_b
    height = cv2.addWeighted(spread & ~falls, 6 * turn, spread & falls, -6 * turn, 0, dtype=cv2.CV_32F)
    height += (middle - smallest).astype(np.float32)
    below = (height < 0).view(np.uint8)
    room = np.subtract(spread.astype(np.float32), np.abs(height, out=height), out=height)
    above = (room < 0).view(np.uint8)
    level = np.subtract(largest.astype(np.float32), np.abs(room, out=room), out=room)
    # torchvision's way back to uint8 multiplies by 255.999 and truncates.
    level *= np.float32(255.999 / 255)
    moved = level.astype(np.uint8)

    level -= np.rint(level)
    doubtful = np.flatnonzero(np.abs(level, out=level) < _HUE_DOUBT)
    doubtful = doubtful[spread.reshape(-1)[doubtful] > 0]

    # Beyond an end, the channel that was there changes places with the middle one.
    new_middle = moved.copy()
    cv2.copyTo(smallest, below, new_middle)
    cv2.copyTo(largest, above, new_middle)
    cv2.copyTo(moved, below, smallest)
    cv2.copyTo(moved, above, largest)
    # Who is largest and smallest; equal channels count in the order red, green, blue.
    masks_of_largest = (~(r_lt_g | r_lt_b), r_lt_g & ~g_lt_b, r_lt_b & g_lt_b)
    masks_of_smallest = (r_lt_g & r_lt_b, g_lt_b & ~r_lt_g, ~(g_lt_b | r_lt_b))
    turned = []
    for is_largest, is_smallest in zip(masks_of_largest, masks_of_smallest, strict=True):
        plane = new_middle.copy()
        cv2.copyTo(smallest, is_smallest, plane)
        cv2.copyTo(largest, is_largest, plane)
        turned.append(plane)
    return turned, doubtful


def _adjust_chroma(pixels: Pixels, draws: ColorDraws) -> Pixels:
    """Return new (H, W, 3) pixels with saturation and hue adjusted, in this order, block by block."""
    adjusted = np.empty(pixels.shape, np.uint8)
    doubtful_at: list[NDArray[np.intp]] = []
    doubtful_colors: list[Pixels] = []
    start = 0
    for block, out in zip(_row_blocks(pixels), _row_blocks(adjusted), strict=True):
        planes: Sequence[Pixels] = cv2.split(block)
        if draws.saturation is not None:
            planes = saturate(planes, draws.saturation)
        if draws.hue is not None:
            before = planes
            planes, doubtful = rotate_hue(before, draws.hue)
            doubtful_at.append(doubtful + start)
            doubtful_colors.append(np.stack([plane.reshape(-1)[doubtful] for plane in before]))
        cv2.merge(planes, dst=out)
        start += planes[0].size
    if draws.hue is not None:
        # Rounding decides these few, so they go the way of the published arithmetic.
        colors = torch.from_numpy(np.concatenate(doubtful_colors, axis=1)[:, None])  # (3, 1, P)
        exact = adjust_hue(colors, draws.hue).numpy()[:, 0]
        adjusted.reshape(-1, 3)[np.concatenate(doubtful_at)] = exact.T
    return adjusted


def _blend_table(background: float, factor: float) -> Pixels:
    """Return ``factor * x + (1 - factor) * background`` for the 256 levels x, clamped and truncated."""
    levels = torch.arange(256, dtype=torch.float32).mul_(factor)
    blended = levels.add_(torch.full((1,), background), alpha=1.0 - factor)
    return blended.clamp_(0, 255).numpy().astype(np.uint8)


def _look_up(pixels: Pixels, table: Pixels | None) -> Pixels:
    return pixels if table is None else cv2.LUT(pixels, table)


def _row_blocks(pixels: Pixels) -> list[Pixels]:
    rows = max(1, _BLOCK_PIXELS // max(1, pixels.shape[1]))
    return [pixels[top : top + rows] for top in range(0, pixels.shape[0], rows)]
