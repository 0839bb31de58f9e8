"""Classes in, colours and id PNGs out."""

from __future__ import annotations

import colorsys
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vfmseg.types import LabelSpace

_GOLDEN_RATIO = 0.618034
_MAX_PALETTE_ID = 255


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` RGB colours that stay apart: hues one golden ratio apart, four tones in turn."""
    colours = []
    for number in range(count):
        hue = number * _GOLDEN_RATIO % 1
        value, saturation = ((0.95, 0.7), (0.75, 0.9), (0.55, 0.6), (0.9, 0.4))[number % 4]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def colour_table(label_space: LabelSpace) -> NDArray[np.uint8]:
    """Return (n, 3) RGB per id, n at least 256; ids that no class has are black, 255 (ignore) is white."""
    table = np.zeros((max(_MAX_PALETTE_ID + 1, label_space.num_classes), 3), np.uint8)
    table[: label_space.num_classes] = label_space.colours
    table[_MAX_PALETTE_ID] = 255
    return table


def palette_bytes(label_space: LabelSpace) -> bytes:
    """Return the 768 bytes of a PNG palette: the colours of the ids 0 to 255, see :func:`colour_table`."""
    return colour_table(label_space)[: _MAX_PALETTE_ID + 1].tobytes()


def save_id_png(path: Path, classes: NDArray[np.uint8] | NDArray[np.int16], label_space: LabelSpace) -> None:
    """Write class ids as an 8-bit PNG whose palette shows the classes' colours; whole or not at all.

    Args:
        path: of the file; its folder exists.
        classes: (H, W) ids ``0..K-1``, 255 = ignore; ids above 255 make a 16-bit grey PNG.
        label_space: names and colours.

    Raises:
        OSError: the file cannot be written.
    """
    if label_space.num_classes > _MAX_PALETTE_ID:
        image = Image.fromarray(classes.astype(np.uint16))
    else:
        image = Image.fromarray(classes.astype(np.uint8))
        image.putpalette(palette_bytes(label_space))
    save_picture(path, image, "PNG")


def save_picture(path: Path, image: Image.Image, file_format: str, **options: int) -> None:
    """Write a picture whole or not at all.

    Args:
        path: of the file; its folder exists.
        image: what to write.
        file_format: Pillow's name of it, such as ``JPEG``.
        **options: Pillow's, such as ``quality``.

    Raises:
        OSError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        image.save(partial, format=file_format, **options)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
