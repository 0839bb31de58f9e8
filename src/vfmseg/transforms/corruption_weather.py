"""Turns an image into one taken in snow, behind a frosted pane, in fog or in brighter light.

Constants: those of the ImageNet-C release (arXiv 1903.12261), for values scaled to [0, 1] and lengths in pixels.
Its frost is a photograph laid over the image; here it is generated (see ``corruption_textures``) and laid over
it with the same weights.
"""

from __future__ import annotations

import cv2
import numpy as np

from vfmseg.transforms.color import Pixels
from vfmseg.transforms.corruption_blur import trail
from vfmseg.transforms.corruption_textures import frosted_pane, plasma

_SNOW = (
    (0.10, 0.3, 3.0, 0.50, 10, 4, 0.80),
    (0.20, 0.3, 2.0, 0.50, 12, 4, 0.70),
    (0.55, 0.3, 4.0, 0.90, 12, 8, 0.70),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
"""Mean and standard deviation of the noise that flakes are cut from, its magnification, the level below which
there is no flake; radius and sigma of their trails; weight of the image beside its whitened copy."""
_SNOW_DEGREES = (45, 135)
"""Flakes fall in a direction between these; 90 is straight down."""
_FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
"""Weights of the image and of the frost."""
_FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
"""Weight of the fog, and the decay of its finer structure (see ``plasma``)."""
_BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""What is added to V of HSV."""


def snow(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Whiten the image and let flakes with trails fall, the same ones again turned by 180 degrees."""
    mean, deviation, zoom, lowest, radius, sigma, weight = _SNOW[severity - 1]
    height, width = image.shape[:2]
    cells = (int(np.ceil(height / zoom)), int(np.ceil(width / zoom)))
    noise = rng.standard_normal(cells, dtype=np.float32) * deviation + mean
    # Corner to corner, as published. Were they to meet at every second pixel, more of the noise would pass the threshold.
    down, across = ((few - 1) / max(side - 1, 1) for few, side in zip(cells, (height, width), strict=True))
    to_cells = np.array([[across, 0, 0], [0, down, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    flakes = cv2.warpAffine(noise, to_cells, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    flakes[flakes < lowest] = 0
    flakes = trail(np.minimum(flakes, 1), radius, sigma, rng.uniform(*_SNOW_DEGREES))
    fallen = cv2.addWeighted(flakes, 255, cv2.rotate(flakes, cv2.ROTATE_180), 255, 0)
    white = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * np.float32(1.5) + np.float32(127.5)
    planes = []
    for plane in cv2.split(image.astype(np.float32)):
        whitened = cv2.addWeighted(plane, weight, cv2.max(plane, white), 1 - weight, 0)
        planes.append(cv2.add(whitened, fallen, dtype=cv2.CV_8U))
    return cv2.merge(planes)


def frost(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Lay a generated pane of ice crystals over the image; published frost is a photograph, which we have not."""
    weight, frost_weight = _FROST[severity - 1]
    return cv2.addWeighted(image, weight, frosted_pane(image.shape[:2], rng), frost_weight, 0)


def fog(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Add a plasma fractal and scale back to the brightest value that the image had."""
    weight, decay = _FOG[severity - 1]
    brightest = float(image.max()) / 255
    scale = brightest / (brightest + weight)
    density = cv2.convertScaleAbs(plasma(image.shape[:2], decay, rng), alpha=255)
    return cv2.addWeighted(image, scale, cv2.cvtColor(density, cv2.COLOR_GRAY2RGB), weight * scale, 0)


def brightness(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Raise V of HSV, with hue and saturation kept; ``rng`` is not used."""
    raised = _BRIGHTNESS[severity - 1] * 255
    planes = cv2.split(image)
    value = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    # With hue and saturation kept, all channels grow by the same factor.
    before = np.arange(1, 256)
    factors = np.concatenate([[0], np.minimum(before + raised, 255) / before]).astype(np.float32)
    factor = cv2.LUT(value, factors)
    bright = cv2.merge([cv2.multiply(plane, factor, dtype=cv2.CV_8U) for plane in planes])
    bright[value == 0] = round(raised)  # black has no hue: it becomes grey
    return bright
