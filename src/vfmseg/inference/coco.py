"""Images and classes in, what COCO's JSON files say of them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from vfmseg.errors import DataError
from vfmseg.inference.image_files import ImageFile
from vfmseg.inference.result import ImageEntry
from vfmseg.types import LabelSpace, Size

_MOST_DIGITS = 15
"""Of a number that every JSON reader keeps exactly."""
_CITYSCAPES_END = "_leftImg8bit"
"""What images of Cityscapes have behind the id that its panoptic JSON calls them by; the file name in it is no file's."""


class _Image(msgspec.Struct):
    id: int | str
    file_name: str = ""


class _Images(msgspec.Struct):
    images: list[_Image]


def image_ids(stems: Sequence[str]) -> list[int]:
    """Return a number for each image: the one it is named by, as COCO's are, where all are; else 1, 2, 3 ...

    Args:
        stems: names of images without suffix, with subfolders.
    """
    names = [PurePosixPath(stem).name for stem in stems]
    if all(name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS for name in names):
        numbers = [int(name) for name in names]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(stems) + 1))


def image_ids_of(json: str | Path, files: Sequence[ImageFile]) -> list[int | str]:
    """Return the id that a COCO JSON gives each image: by the end of its path, for Cityscapes by its name.

    Args:
        json: annotations in COCO's format, panoptic or instance; only ``images`` is read.
        files: images.

    Raises:
        DataError: no such JSON, or it does not list an image, or two are one to it.
    """
    try:
        listed = msgspec.json.decode(Path(json).read_bytes(), type=_Images).images
    except OSError as error:
        raise DataError(f"{json} cannot be read: {error.strerror}.") from None
    except msgspec.MsgspecError as error:
        raise DataError(f"{json} is no JSON in COCO's format, which lists `images`: {error}.") from None
    by_file = {PurePosixPath(image.file_name).parts: image.id for image in listed if image.file_name}
    by_id = {image.id: image.id for image in listed}

    def find(one: ImageFile) -> int | str | None:
        parts = one.path.absolute().parts
        ends = (by_file.get(parts[start:]) for start in range(1, len(parts)))  # the longest first
        name = one.path.stem.removesuffix(_CITYSCAPES_END)
        return next((end for end in ends if end is not None), by_id.get(name))

    found = [(one.path, find(one)) for one in files]
    lost = [path for path, number in found if number is None]
    if lost:
        raise DataError(
            f"{json} does not list {len(lost)} of the {len(files)} images, such as {lost[0]}. Predict those that it "
            "lists, or leave out --image_ids."
        )
    first: dict[int | str, Path] = {}
    for path, number in found:
        assert number is not None
        if first.setdefault(number, path) != path:
            raise DataError(
                f"{first[number]} and {path} are both the image {number!r} of {json}. Predict one of them."
            )
    return list(first)


def image_record(entry: ImageEntry, size: Size) -> dict[str, Any]:
    """Return an item of ``images``; ``size`` is (height, width)."""
    height, width = size
    return {"id": entry.image_id, "file_name": entry.file_name, "width": width, "height": height}


def categories(label_space: LabelSpace) -> list[dict[str, Any]]:
    """Return the classes as ``categories``, with the ids that the data set's own annotations have."""
    classes = zip(
        label_space.category_ids, label_space.names, label_space.colours, label_space.is_thing, strict=True
    )
    return [
        {"id": number, "name": name, "isthing": int(is_thing), "color": list(colour)}
        for number, name, colour, is_thing in classes
    ]
