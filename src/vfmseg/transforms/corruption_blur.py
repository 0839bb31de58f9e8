"""Turns an image into a blurred one: out of focus, behind frosted glass, in motion, or zoomed while exposed.

Constants: those of the ImageNet-C release (arXiv 1903.12261). Lengths are pixels of the image as it is,
whatever its size, as in the published Cityscapes-C (arXiv 1907.07484).
"""

from __future__ import annotations

from math import cos, radians, sin
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vfmseg.transforms.color import Pixels

Value = TypeVar("Value", bound=np.generic)

_DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
"""Radius of the disc, and sigma by which its rim is smoothed."""
_GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
"""Sigma of the blur before and after; how far off colours are taken; times that each pixel takes one."""
_MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
"""Radius (the trail has 2 * radius + 1 pixels) and sigma of its weights."""
_MOTION_DEGREES = 45
"""Motion is at most this far from horizontal."""
_ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
"""Magnifications begin at 1 and end before the first number, with the second between them."""


def defocus_blur(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Average over a disc, as a lens does that is out of focus; ``rng`` is not used."""
    radius, sigma = _DEFOCUS[severity - 1]
    reach = radius + 2  # room for the smoothed rim
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = cv2.GaussianBlur((x * x + y * y <= radius * radius).astype(np.float32), (0, 0), sigma)
    return cv2.filter2D(image, -1, disc / disc.sum())


def glass_blur(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Let each pixel take the colour of a random one nearby, between two Gaussian blurs: frosted glass.

    This happens to one pixel after the other, so that a colour can be carried on by the next. Pixels that are
    ``2 * reach`` rows or columns apart cannot meet and take theirs at once, in a random order of these sets, where
    the published order is row by row: displacements have no preferred direction here. The paper speaks of
    exchanges; its pictures have the statistics of copies (sharper, with clumps of one colour), so copies it is.
    """
    sigma, reach, times = _GLASS[severity - 1]
    # Pixels are moved as one number each.
    packed = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), sigma), cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0]
    height, width = packed.shape
    pixels = packed.reshape(-1)
    rows, columns = np.ogrid[:height, :width]
    spacing = 2 * reach
    for round_ in range(times):
        # Offsets are in [-reach, reach), of which there are as many as the sets are apart; every second round turns
        # them, so that the image does not drift away from its labels.
        shifts = rng.integers(-reach, reach, (2, height, width), dtype=np.int8)
        if round_ % 2:
            shifts = -shifts
        partners = np.clip(rows + shifts[0], 0, height - 1) * width + np.clip(
            columns + shifts[1], 0, width - 1
        )
        for start in rng.permutation(spacing * spacing).tolist():
            part = np.s_[start // spacing :: spacing, start % spacing :: spacing]
            packed[part] = pixels[partners[part]]
    moved = cv2.cvtColor(packed[..., None].view(np.uint8), cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), sigma), np.uint8)


def motion_blur(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Draw every pixel out to one side, as a moving camera does; the direction is at most 45° from horizontal."""
    radius, sigma = _MOTION[severity - 1]
    return trail(image, radius, sigma, rng.uniform(-_MOTION_DEGREES, _MOTION_DEGREES))


def zoom_blur(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Average the image and magnifications about its middle, as zooming while exposing does; ``rng`` is not used."""
    end, step = _ZOOM[severity - 1]
    height, width = image.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    zooms = np.arange(1.0, end, step)[1:]
    # The image itself counts twice: as it is, and as the magnification 1.
    total = image.astype(np.float32) * 2
    for zoom in zooms.tolist():
        matrix = cv2.getRotationMatrix2D(middle, 0, zoom)
        zoomed = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        cv2.accumulate(zoomed, total)
    return cv2.convertScaleAbs(total, alpha=1 / (len(zooms) + 2))


def trail(image: NDArray[Value], radius: int, sigma: float, degrees: float) -> NDArray[Value]:
    """Average each pixel with those along a line that begins at it, with the weights of half a Gaussian.

    Args:
        image: (H, W) or (H, W, 3), uint8 or float32.
        radius: the line has ``2 * radius + 1`` points, a pixel apart.
        sigma: of the Gaussian, pixels.
        degrees: direction of the line, from the x axis towards the y axis.

    Returns:
        The blurred image, of the same shape and type.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    # Each point counts for the pixel nearest to it, as published: no weight between pixels keeps lines sharp.
    x, y = (np.rint(steps * part).astype(int) for part in (cos(radians(degrees)), sin(radians(degrees))))
    left, top = int(x.min()), int(y.min())
    kernel = np.zeros((int(y.max()) - top + 1, int(x.max()) - left + 1), np.float32)
    np.add.at(kernel, (y - top, x - left), weights)
    anchor = (-left, -top)
    blurred = cv2.filter2D(image, -1, kernel / kernel.sum(), anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, image.dtype)
