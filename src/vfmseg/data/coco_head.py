"""The bytes of any JSON -> whether it is in COCO's format, of which kind, and which classes it has."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

Flag = int | bool
"""Tools write 0 and 1, or false and true."""
_LOOKED_AT: Final = 50
"""Files by whose names the folder of all is found; some may be missing."""
_ABSENT: Final = msgspec.Raw(b"")


class Category(msgspec.Struct, gc=False):
    """One entry of ``categories``."""

    id: int
    name: str = ""
    isthing: Flag = 1
    color: list[int] | None = None


class _AnyImage(msgspec.Struct, gc=False):
    file_name: str = ""


class _AnyAnnotation(msgspec.Struct, gc=False):
    file_name: str = ""
    segments_info: msgspec.Raw = _ABSENT
    segmentation: msgspec.Raw = _ABSENT


class _Any(msgspec.Struct):
    images: list[_AnyImage] | None = None
    annotations: list[_AnyAnnotation] | None = None
    categories: list[Category] = []


def read_head(data: bytes) -> dict[str, Any]:
    """Look at a JSON of any kind.

    Returns:
        JSON-ready: ``kind`` (panoptic, instance, or empty for any other file), ``categories`` in ascending order
        of their ids, and the first ``images`` and ``labels``, file names.
    """
    nothing: dict[str, Any] = {"kind": "", "categories": [], "images": [], "labels": []}
    try:
        with no_garbage_collection():
            found = msgspec.json.decode(data, type=_Any)
    except msgspec.MsgspecError:
        return nothing
    annotations = found.annotations
    if annotations is None or found.images is None:
        return nothing
    kind = ""
    if any(len(annotation.segments_info) for annotation in annotations):
        kind = "panoptic"
    elif any(len(annotation.segmentation) for annotation in annotations):
        kind = "instance"
    return {
        "kind": kind,
        "categories": msgspec.to_builtins(sorted(found.categories, key=lambda category: category.id)),
        "images": [image.file_name for image in found.images[:_LOOKED_AT]],
        "labels": [annotation.file_name for annotation in annotations[:_LOOKED_AT] if annotation.file_name],
    }


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Millions of new objects would be looked through again and again, and none is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
