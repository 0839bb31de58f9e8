"""Files and folders in, images with the names of their predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfmseg.data.images import apply_orientation, decode_image, read_orientation
from vfmseg.data.pairing import is_hidden
from vfmseg.errors import DataError, ImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
"""What is taken for an image inside a folder; a file named by itself is tried whatever its suffix."""

KINDS = ("masks", "overlays", "confidence", "panoptic")
"""Folders that predictions are written into."""


@dataclass(frozen=True)
class ImageFile:
    """An image to predict."""

    path: Path
    stem: str
    """Name of its predictions: the path below the folder it was found in, without suffix."""


def find_images(inputs: Sequence[str | Path], *, out: str | Path | None = None) -> list[ImageFile]:
    """Return the images that ``inputs`` (files and folders, searched to the bottom) mean, in order and each once.

    Hidden files, such as the ``._photo.jpg`` that some systems put beside ``photo.jpg``, are left out of folders. A link
    to nowhere is an image; that it cannot be read is said when it is.

    Args:
        inputs: files and folders.
        out: where predictions are written; those that lie there already are no images to predict.

    Raises:
        DataError: an input is missing, a folder holds no image, or two images would share a prediction's name.
    """
    written = [] if out is None else [Path(out).resolve() / kind for kind in KINDS]

    def is_prediction(path: Path) -> bool:
        return any(folder in path.resolve().parents for folder in written)

    found: list[ImageFile] = []
    for given in map(Path, inputs):
        if given.is_dir():
            inside = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and _is_file(p))
            inside = [p for p in inside if not is_hidden(p.relative_to(given).as_posix())]
            inside = [p for p in inside if not is_prediction(p)]
            if not inside:
                raise DataError(
                    f"{given} holds no image; looked for {', '.join(SUFFIXES)} down to the last subfolder."
                )
            found += [ImageFile(p, p.relative_to(given).with_suffix("").as_posix()) for p in inside]
        elif given.is_file():
            found.append(ImageFile(given, given.stem))
        else:
            raise DataError(f"There is no file or folder {given}.")
    first: dict[str, ImageFile] = {}
    for one in found:
        known = first.setdefault(one.stem, one)
        if known.path.resolve() != one.path.resolve():
            raise DataError(
                f"{known.path} and {one.path} would both be written as {one.stem}.png. Predict them into "
                "different folders (--out), or rename one."
            )
    return list(first.values())


def _is_file(path: Path) -> bool:
    return path.is_file() or (path.is_symlink() and not path.exists())


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Return an image file as (H, W, 3) uint8 RGB, upright as its EXIF says.

    Raises:
        ImageError: it cannot be read or decoded.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from None
    return apply_orientation(decode_image(data, str(path)), read_orientation(data))
