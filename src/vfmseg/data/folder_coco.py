"""Somebody's own folder or archive with a COCO JSON -> a plan of its images, label images and classes.

``images/`` with ``annotations/instances_train.json``, ``train/_annotations.coco.json`` beside its images, COCO's
own layout: the JSON is known by its content, its split by the words in its path, and the folder of the images
by where the first files it names are found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from vfmseg.data.archives import open_source
from vfmseg.data.cache import digest
from vfmseg.data.coco_head import Category, read_head
from vfmseg.data.description import default_colours
from vfmseg.data.json_plan import JsonPlan
from vfmseg.data.layouts import split_word
from vfmseg.data.named_files import Part
from vfmseg.data.pairing import is_hidden
from vfmseg.data.segment_cache import load_arrays, save_arrays
from vfmseg.data.sets.folder import IMAGE_ENDINGS
from vfmseg.data.source import Listing, Source
from vfmseg.data.spec import MAX_CLASSES, LabelMap
from vfmseg.errors import DataError, LabelError
from vfmseg.types import LabelSpace

_VERSION: Final = 1
"""Part of the cache key; raised whenever the meaning of a cached head changes."""


@dataclass(frozen=True)
class Head:
    """What the first look into a JSON tells."""

    name: str
    """Member path."""
    split: str
    """Empty where its path names none."""
    kind: str
    """``panoptic`` or ``instance``."""
    categories: tuple[Category, ...]
    images: tuple[str, ...]
    """The first image files it names."""
    labels: tuple[str, ...]
    """The first label files it names."""


@dataclass(frozen=True)
class CocoFolder:
    """The JSON of a split and its classes."""

    plan: JsonPlan
    label_map: LabelMap
    is_panoptic: bool


def plan_coco_folder(
    path: str | Path, split: str, task: str, *, draws_val: bool = False
) -> CocoFolder | None:
    """Look for a COCO JSON in a folder or archive.

    Args:
        path: the folder or archive.
        split: ``train``, ``val`` or ``test``.
        task: ``panoptic`` needs a panoptic JSON; ``instance`` takes either, an instance JSON first.
        draws_val: a share of train will be used to validate on, so there should be no val.

    Returns:
        None where there is no COCO JSON of any split.

    Raises:
        DataError: there is none for this split and task; the message lists those that are there.
    """
    path = Path(path).expanduser()
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return None
    source = open_source(path)
    listing = source.list_members()
    heads = [
        head for name in listing.names if _may_be(name) if (head := _head(source, listing, name)) is not None
    ]
    if not heads:
        return None
    if draws_val and any(head.split == "val" for head in heads):
        raise DataError(f"{source.title} has a val split of its own: leave out val_fraction.")
    kinds = ("panoptic",) if task == "panoptic" else ("instance", "panoptic")
    fitting = [
        head
        for kind in kinds
        for head in heads
        if head.kind == kind
        and (head.split == split or (not head.split and split == "train" and len(heads) == 1))
    ]
    if not fitting:
        found = ", ".join(f"{head.name} ({head.kind}, {head.split or 'no split'})" for head in heads)
        raise DataError(
            f"{source.title} has no COCO JSON for split {split} and task {task}; found: {found}. A file is for a "
            f"split if its name or folder says so, such as {kinds[0]}_{split}.json; panoptic files have "
            "`segments_info`, instance files `segmentation`."
        )
    same = sorted(head.name for head in fitting if head.kind == fitting[0].kind)
    if len(same) > 1:
        raise DataError(
            f"{source.title} has several JSONs for split {split}: {', '.join(same)}. Move all but one away."
        )
    return _plan(source, listing, fitting[0], split, len(heads))


def draw_rows(total: int, split: str, val_fraction: float, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the rows of a split where train is divided into train and val.

    Raises:
        DataError: one of them would be empty.
    """
    num_val = round(total * val_fraction)
    if not 0 < num_val < total:
        raise DataError(f"val_fraction {val_fraction:g} of {total} images leaves train or val empty.")
    is_val = np.zeros(total, np.bool_)
    is_val[np.random.default_rng(seed).permutation(total)[:num_val]] = True
    return np.flatnonzero(is_val == (split == "val"))


def _may_be(name: str) -> bool:
    return name.lower().endswith(".json") and not is_hidden(name)


def _split_of(text: str) -> str:
    """Return the split that a path speaks of; years, as in ``train2017``, are not part of the word."""
    parts = re.sub(r"\d+", "_", text).split("/")
    return next((found for part in reversed(parts) if (found := split_word(part))), "")


def _head(source: Source, listing: Listing, name: str) -> Head | None:
    """Look into a JSON, or take from the cache what was seen there."""
    stamp = source.stamp_of([name])
    key = digest(f"head {_VERSION} {source.title} {source.path.resolve()} {name} {sorted(stamp.items())}")
    cached = load_arrays(key)
    if cached is not None:
        seen = json.loads(cached["head"].tobytes())
    else:
        seen = read_head(source.read(listing.member(listing.line_of(name))))
        if source.is_settled(stamp):
            save_arrays(key, {"head": np.frombuffer(json.dumps(seen).encode(), np.uint8)})
    if not seen["kind"]:
        return None
    return Head(
        name=name,
        split=_split_of(name),
        kind=seen["kind"],
        categories=tuple(Category(**row) for row in seen["categories"]),
        images=tuple(seen["images"]),
        labels=tuple(seen["labels"]),
    )


def _plan(source: Source, listing: Listing, head: Head, split: str, num_jsons: int) -> CocoFolder:
    is_panoptic = head.kind == "panoptic"
    own = head.name.rpartition("/")[0]

    def of_image(folder: str) -> int:
        found = _split_of(folder)
        return 3 if folder == own and found in ("", split) else {split: 2, "": 1}.get(found, 0)

    def of_label(folder: str) -> int:
        # COCO's convention: the label images of x.json lie in a folder x
        return (
            3
            if folder.rpartition("/")[2] == head.name.rpartition("/")[2].rpartition(".")[0]
            else of_image(folder)
        )

    images = _folder_of(head.images, listing, IMAGE_ENDINGS, of_image)
    labels = _folder_of(head.labels, listing, (".png",), of_label) if is_panoptic else ""
    for folder, files, what in ((images, head.images, "images"), (labels, head.labels, "label images")):
        if folder is None:
            raise DataError(
                f"{source.title}: none of the {what} that {head.name} names is there, such as {files[0]}. Put them "
                "into a folder beside it; names in the JSON are relative to that folder."
            )
    assert images is not None
    assert labels is not None
    is_shared = num_jsons > 1 and _split_of(images) != split
    plan = JsonPlan(
        title=f"{source.title} {split}",
        sources=(source,),
        images=Part(0, images, IMAGE_ENDINGS, is_shared=is_shared),
        labels=Part(0, labels, (".png",), is_shared=num_jsons > 1) if is_panoptic else None,
        json=Part(0, head.name),
    )
    return CocoFolder(plan, _label_map(head, f"{source.title}: {head.name}"), is_panoptic)


def _folder_of(
    files: Sequence[str], listing: Listing, endings: tuple[str, ...], rank: Callable[[str], int]
) -> str | None:
    """Return the folder that files named in a JSON are relative to, the one that ranks highest; None: nowhere."""
    names = [name for name in listing.names if name.lower().endswith(endings) and not is_hidden(name)]
    for file in files:
        folders = [
            name[: -len(file)].rstrip("/") for name in names if name == file or name.endswith(f"/{file}")
        ]
        ranked = [(rank(folder), -len(folder), folder) for folder in folders]
        best = max(ranked, default=(0, 0, ""))
        if best[0]:
            return best[2]
    return None if files else ""


def _label_map(head: Head, title: str) -> LabelMap:
    categories = head.categories
    if not categories or len(categories) > MAX_CLASSES:
        raise LabelError(f"{title} has {len(categories)} categories; 1 to {MAX_CLASSES} are possible.")
    for what in ("id", "name"):
        values = [getattr(category, what) for category in categories]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise LabelError(f"{title} has two categories with the {what} {twice!r}. Rename or merge them.")
    shown = default_colours(len(categories))
    colours = [
        (c.color[0], c.color[1], c.color[2]) if c.color and len(c.color) == 3 else shown[i]
        for i, c in enumerate(categories)
    ]
    things = [head.kind == "instance" or bool(category.isthing) for category in categories]
    space = LabelSpace(
        names=tuple(c.name or str(c.id) for c in categories),
        colours=tuple(colours),
        is_thing=tuple(things),
        category_ids=tuple(c.id for c in categories),
    )
    return LabelMap(space, {category.id: i for i, category in enumerate(categories)})
