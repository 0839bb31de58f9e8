"""Turns 8-bit pixels into brighter, flatter or more colourful ones, as Rein's training does (arXiv 2312.04265).

That is mmsegmentation's photometric distortion: brightness is added, contrast multiplies the pixel itself, saturation and
hue are changed in 8-bit HSV, and every step is cut back to 8 bits. Unlike the benchmark's jitter (``color.py``) no step
looks beyond the pixel, so it can be done after the crop. What is drawn (:class:`PhotometricDraws`) stands apart from
how it is applied (:func:`distort`), which is a pure function.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB."""

BRIGHTNESS = 32.0
"""Largest number of grey levels added or taken away."""
FACTORS = (0.5, 1.5)
"""Smallest and largest factor of contrast and of saturation."""
HUE_STEPS = 18
"""Hues turn by a whole number of steps of two degrees, from ``-HUE_STEPS`` to one less than ``HUE_STEPS``."""
_HUES = 180
"""Hues of 8-bit HSV."""
_LEVELS = np.arange(256, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class PhotometricDraws:
    """What one distortion does. None leaves that property alone."""

    brightness: float | None = None
    """Grey levels added to every channel."""
    contrast: float | None = None
    """Multiplies every channel."""
    saturation: float | None = None
    """Multiplies the saturation of HSV."""
    hue: int | None = None
    """Steps of two degrees by which hues turn."""
    contrast_first: bool = True
    """Whether contrast comes before saturation and hue, or after them."""


def draw_photometric(rng: np.random.Generator) -> PhotometricDraws:
    """Draw one distortion: each property with probability one half, and the order likewise."""
    contrast_first = bool(rng.integers(2))
    return PhotometricDraws(
        brightness=float(rng.uniform(-BRIGHTNESS, BRIGHTNESS)) if rng.integers(2) else None,
        contrast=float(rng.uniform(*FACTORS)) if rng.integers(2) else None,
        saturation=float(rng.uniform(*FACTORS)) if rng.integers(2) else None,
        hue=int(rng.integers(-HUE_STEPS, HUE_STEPS)) if rng.integers(2) else None,
        contrast_first=contrast_first,
    )


def distort(pixels: Pixels, draws: PhotometricDraws) -> Pixels:
    """Return the distorted pixels: brightness, then contrast, saturation and hue in the drawn order.

    Args:
        pixels: (H, W, 3) uint8 RGB; not changed.
        draws: what to do.

    Returns:
        (H, W, 3) uint8; ``pixels`` itself where nothing was to be done.
    """
    table = None if draws.brightness is None else _table(1.0, draws.brightness)
    contrast = None if draws.contrast is None else _table(draws.contrast, 0.0)
    has_chroma = draws.saturation is not None or draws.hue is not None
    if contrast is not None and (draws.contrast_first or not has_chroma):
        table, contrast = contrast if table is None else contrast[table], None
    if table is not None:
        pixels = cv2.LUT(pixels, table)
    # Two steps are two ways through HSV and back, as published: each rounds to 8 bits.
    if draws.saturation is not None:
        pixels = _in_hsv(pixels, 1, _table(draws.saturation, 0.0))
    if draws.hue is not None:
        pixels = _in_hsv(pixels, 0, ((_LEVELS + draws.hue) % _HUES).astype(np.uint8))
    return pixels if contrast is None else cv2.LUT(pixels, contrast)


def _table(factor: float, offset: float) -> Pixels:
    """Return ``factor * x + offset`` of the 256 levels x, clamped and truncated."""
    changed = _LEVELS * np.float32(factor) + np.float32(offset)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _in_hsv(pixels: Pixels, channel: int, table: Pixels) -> Pixels:
    """Look one channel of 8-bit HSV up in ``table``."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
