"""Images and classes in, what COCO's JSON files say of them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from vfmseg.inference.result import ImageEntry
from vfmseg.types import LabelSpace, Size

_MOST_DIGITS = 15
"""Of a number that every JSON reader keeps exactly."""


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
