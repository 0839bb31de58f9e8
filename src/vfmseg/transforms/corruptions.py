"""Turns an image into one of 15 common corruptions at one of five severities, the same for the same seed.

The kinds and their constants are those of ImageNet-C (arXiv 1903.12261), for images of any size as in its
extension to detection and segmentation (arXiv 1907.07484): lengths in pixels are those of the image as it is.
Which constants, and what is ours, stands in ``corruption_noise``, ``corruption_blur``, ``corruption_weather`` and
``corruption_digital``. Frost is generated where the published one is a photograph. Labels stay as they are for
all kinds; elastic displacements are of one to three pixels, where images are not higher than wide.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from vfmseg.errors import RecipeError, nearest
from vfmseg.transforms.color import Pixels
from vfmseg.transforms.corruption_blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from vfmseg.transforms.corruption_digital import contrast, elastic_transform, jpeg_compression, pixelate
from vfmseg.transforms.corruption_noise import gaussian_noise, impulse_noise, shot_noise
from vfmseg.transforms.corruption_weather import brightness, fog, frost, snow

_FUNCTIONS: dict[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = {
    function.__name__: function
    for function in (
        *(gaussian_noise, shot_noise, impulse_noise),
        *(defocus_blur, glass_blur, motion_blur, zoom_blur),
        *(snow, frost, fog, brightness),
        *(contrast, elastic_transform, pixelate, jpeg_compression),
    )
}

CORRUPTIONS: tuple[str, ...] = tuple(_FUNCTIONS)
"""The kinds, in the order of the paper's tables: noise, blur, weather, digital."""
SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)


def corrupt(image: Pixels, kind: str, severity: int, seed: int) -> Pixels:
    """Return a corrupted copy of an image.

    The result depends on the arguments alone, not on the process or what was corrupted before. The severities of
    a kind share their random numbers: fog of one seed grows denser, it does not change its place.

    Args:
        image: (H, W, 3) uint8 RGB of any size from one pixel on; not changed.
        kind: one of :data:`CORRUPTIONS`.
        severity: 1 (weakest) to 5.
        seed: at least 0; of one image, as of :func:`image_seed`, or all images get the same noise.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        RecipeError: ``kind`` or ``severity`` is not known.
        ValueError: ``image`` is of another type or shape, or has no pixels.
    """
    check_corruption(kind, severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"corrupt takes (H, W, 3) uint8 with a pixel or more, not {image.shape} {image.dtype}"
        )
    rng = np.random.Generator(np.random.SFC64([zlib.crc32(kind.encode()), seed]))
    return _FUNCTIONS[kind](np.ascontiguousarray(image), severity, rng)


def check_corruption(kind: str, severity: int) -> None:
    """Raise a RecipeError that names what is wrong, unless there is such a kind and severity."""
    if kind not in _FUNCTIONS:
        raise RecipeError(
            f"No corruption is called {kind!r}.{nearest(kind, CORRUPTIONS)} There are: {', '.join(CORRUPTIONS)}."
        )
    if severity not in SEVERITIES:
        raise RecipeError(f"The severity of {kind} is 1 (weakest), 2, 3, 4 or 5, not {severity!r}.")


def image_seed(name: str, seed: int) -> int:
    """Return the seed of one image of a data set, from its name and the seed of the run (both decide)."""
    return zlib.crc32(f"{seed} {name}".encode())
