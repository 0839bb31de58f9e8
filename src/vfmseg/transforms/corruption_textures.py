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

    This is midpoint displacement (Fournier, Fussell, Carpenter 1982): a grid is interpolated to half its spacing
    and displaced, until the spacing is a pixel. The first grid has the next power of two of the longer side.
    """
    spacing = 1 << (max(size) - 1).bit_length()
    field = np.zeros((3, 3), np.float32)  # one cell beyond the image on every side
    height = 1.0
    while spacing > 1:
        spacing //= 2
        cells = [-(-side // spacing) + 2 for side in size]
        finer = cv2.resize(field, None, fx=2, fy=2)[1 : 1 + cells[0], 1 : 1 + cells[1]]
        field = finer + (rng.random(cells, dtype=np.float32) * 2 - 1) * np.float32(height)
        height /= decay * decay
    field = field[1:-1, 1:-1]
    lowest, highest = float(field.min()), float(field.max())
    # One pixel has neither: it is in the middle.
    return (field - lowest) / (highest - lowest) if highest > lowest else np.full(size, 0.5, np.float32)


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
