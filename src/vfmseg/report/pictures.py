"""Turns picture files into data URIs of a size that suits a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from vfmseg.errors import ImageError

_SMALL_FILE = 150_000
"""Bytes up to which a picture of fitting size is embedded as it is."""

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """A picture that needs no file beside the page."""

    uri: str
    width: int
    height: int
    """Of the embedded picture, in pixels."""


def embed(path: Path, most_wide: int) -> Picture:
    """Return the picture as data URI, scaled down to ``most_wide`` pixels where it is wider.

    Raises:
        ImageError: The file is no picture.
    """
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.format == "JPEG" and image.width <= most_wide and len(content) <= _SMALL_FILE:
                return Picture(_uri(content), image.width, image.height)
            scale = min(1.0, most_wide / image.width)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            smaller = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    except OSError as error:
        raise ImageError(
            f"{str(path)!r} is no picture that can be read: {error}. Draw it anew, or remove it."
        ) from error
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=82, optimize=True)
    return Picture(_uri(file.getvalue()), *size)


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most ``most`` items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
