"""Draws the textures that weather lays over images: clouds of fog, and panes with ice crystals."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vfmseg.transforms.color import Pixels

_FERNS_PER_PANE = 320
"""Crystals on a square pane."""
_FERN_LENGTH = (0.04, 0.22)
"""Length of a crystal's stem, share of the longer side."""
_FERN_STEPS = 28
"""Pairs of branches on a stem; they leave it at 60 degrees, as ice does."""
_ICE_RED = (0.75, 1.0)
"""Red of the ice, share of its blue; green is between them."""
_ICE_LEVEL = (110.0, 200.0)
"""Mean blue of a pane."""
_SHIFT = 4
"""Bits of a pixel's fraction that lines are drawn with."""


def plasma(size: tuple[int, int], decay: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a cloudy (H, W) field in [0, 1]: noise on ever finer grids, ``decay ** -2`` as high on each next one.

    This is midpoint displacement (Fournier, Fussell, Carpenter 1982), from squares to diamonds and back (Miller 1986):
    points of a grid stay, those in the middle of four of them are their mean and displaced, and so are then those
    between. As published, it is drawn on a square whose side is the next power of two of the longer side and whose
    opposite edges meet; its lowest and highest value are 0 and 1, and an image shows a part of it that may have neither.
    """
    field = np.zeros((1, 1), np.float32)
    height = np.float32(1)
    while len(field) < max(size):
        side = len(field)
        middle, beside, below = (rng.random((3, side, side), dtype=np.float32) * 2 - 1) * height
        right = field + np.roll(field, -1, 1)
        middle += (right + np.roll(right, -1, 0)) / 4
        beside += (right + middle + np.roll(middle, 1, 0)) / 4
        below += (field + np.roll(field, -1, 0) + middle + np.roll(middle, 1, 1)) / 4
        finer = np.empty((2 * side, 2 * side), np.float32)
        finer[::2, ::2], finer[::2, 1::2] = field, beside
        finer[1::2, ::2], finer[1::2, 1::2] = below, middle
        field = finer
        height /= np.float32(decay * decay)
    lowest, highest = float(field.min()), float(field.max())
    if highest == lowest:  # one pixel has neither: it is in the middle
        return np.full(size, 0.5, np.float32)
    return (field[: size[0], : size[1]] - lowest) / (highest - lowest)


def frosted_pane(size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """Return (H, W, 3) uint8 RGB of a frosted pane: feathers of ice on a haze, from grey to bluish white.

    Crystals are as large beside the image whatever its size. Mean and spread of the brightness are about those
    of the photographs that published frost is made of: 90 to 210, and 15 to 50.
    """
    longer = max(size)
    haze = plasma(size, 1.4, rng)
    red, brightest = rng.uniform(*_ICE_RED), rng.uniform(*_ICE_LEVEL)
    feathers = np.zeros(size, np.uint8)
    num_ferns = max(4, round(_FERNS_PER_PANE * min(size) / longer))
    for level in (100, 150, 200, 250):  # brighter ones lie on top
        ferns = [_fern(size, longer, rng) for _ in range(num_ferns // 4)]
        lines = np.rint(np.concatenate(ferns) * (1 << _SHIFT)).astype(np.int32)
        cv2.polylines(feathers, list(lines), False, level, 1, cv2.LINE_AA, _SHIFT)
    # Thick ice scatters: what is drawn shines a little beyond its edges.
    glow = cv2.GaussianBlur(feathers, (0, 0), max(longer / 150, 0.5))
    ice = cv2.addWeighted(feathers, 0.25, glow, 0.35, 0, dtype=cv2.CV_32F) + 60 * haze
    ice += brightest - float(ice.mean())
    return cv2.merge(
        [cv2.convertScaleAbs(np.maximum(ice, 0), alpha=share) for share in (red, (1 + red) / 2, 1)]
    )


def _fern(size: tuple[int, int], longer: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the (N, 2, 2) line segments, ends as x and y, of one crystal: a bent stem and its branches."""
    length = rng.uniform(*_FERN_LENGTH) * longer
    turn, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.8, 0.8)
    along = np.linspace(0, 1, _FERN_STEPS + 1)
    angle = turn + bend * along
    step = length / _FERN_STEPS * np.stack([np.cos(angle), np.sin(angle)], -1)
    stem = rng.uniform(0, 1, 2) * size[::-1] + np.cumsum(step, axis=0)
    segments = [np.stack([stem[:-1], stem[1:]], 1)]
    for side in (-np.pi / 3, np.pi / 3):
        reach = length * 0.35 * (1 - along) * rng.uniform(0.5, 1, along.size)
        branch = reach[:, None] * np.stack([np.cos(angle + side), np.sin(angle + side)], -1)
        segments.append(np.stack([stem, stem + branch], 1))
    return np.concatenate(segments)
