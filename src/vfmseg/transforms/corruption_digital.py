"""Turns an image into one that was stretched, sampled or stored badly: contrast, elastic, pixelate, JPEG.

Constants: those of the ImageNet-C release (arXiv 1903.12261); the elastic displacements are the ones of its
extension to images of any size (arXiv 1907.07484), without the affine part: labels stay where they are.
"""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vfmseg.transforms.color import Pixels

_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
"""Factor of the distance to the mean."""
_ELASTIC_PX = (1.02, 1.33, 1.73, 2.04, 2.45)
"""Root mean square of the displacement along each axis of a square image, pixels, whatever its size; an image that is
twice as wide as high has 1 / sqrt(2) of it, one that is twice as high as wide sqrt(2). That is what the published
constants come to: uniform noise of 0.5 % of the height, smoothed by a Gaussian of 1 % of each side, times 12.5, 16.25,
21.25, 25, 30."""
_ELASTIC_SIGMA = 0.01
"""Sigma of the Gaussian that displacements are smoothed by, share of the image's side."""
_PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)
"""Size of the small image, share of each side."""
_JPEG_QUALITY = (25, 18, 15, 10, 7)


def contrast(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Draw each channel's values together about their mean; ``rng`` is not used."""
    factor = _CONTRAST[severity - 1]
    mean = np.array(cv2.mean(image)[:3])
    table = np.rint(np.arange(256)[:, None] * factor + mean * (1 - factor)).astype(np.uint8)
    return cv2.LUT(image, table[None])


def elastic_transform(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Move pixels by a smooth random field of one to three pixels; what is moved in is mirrored at the borders."""
    height, width = image.shape[:2]
    distance = _ELASTIC_PX[severity - 1] * (height / width) ** 0.5
    x, y = (
        distance * _smooth_field((height, width), rng) + axis
        for axis in (np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None])
    )
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def pixelate(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Make the image smaller by averaging boxes and large again by repeating pixels; ``rng`` is not used."""
    share = _PIXELATE[severity - 1]
    height, width = image.shape[:2]
    small_size = (max(1, int(width * share)), max(1, int(height * share)))
    small = Image.fromarray(image).resize(small_size, Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Store the image as a JPEG of low quality and read it again; ``rng`` is not used."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY[severity - 1])
    return np.array(Image.open(file))


def _smooth_field(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (H, W) normal noise of variance 1, smoothed by a Gaussian of 1 % of each side."""
    steps, kernels, cells = [], [], []
    for side in size:
        sigma = side * _ELASTIC_SIGMA
        # Two grid points a sigma say all there is; the rest is interpolated.
        step = max(1.0, sigma / 2)
        steps.append(step)
        kernels.append(cv2.getGaussianKernel(2 * int(np.ceil(3 * sigma / step)) + 1, sigma / step))
        cells.append(int(np.ceil(side / step)) + 2)
    noise = rng.standard_normal(cells, dtype=np.float32)
    down, across = kernels
    gain = float(np.sqrt(np.square(down).sum() * np.square(across).sum()))
    smooth = cv2.sepFilter2D(noise, -1, across, down / gain)
    to_grid = np.array([[1 / steps[1], 0, 0.5], [0, 1 / steps[0], 0.5]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(smooth, to_grid, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
