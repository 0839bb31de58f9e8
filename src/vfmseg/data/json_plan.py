"""A JSON of annotations, and the files it speaks of -> the index of a split and its segments as arrays.

Both are found once and cached: the index as for every data set, the arrays beside it, under a key that holds
size and time of the JSON and the names of the images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vfmseg.data.cache import digest
from vfmseg.data.coco_json import Entries
from vfmseg.data.index import Index, MemberTable, cache_key, load_index, save_index
from vfmseg.data.named_files import NamedFiles, Part
from vfmseg.data.pairing import Unpaired, sort_key
from vfmseg.data.segment_cache import Arrays, load_arrays, save_arrays
from vfmseg.data.source import Listing, Source, summarise_folders
from vfmseg.errors import ArchiveError

VERSION: Final = 1
"""Part of the cache key; raised whenever the meaning of cached arrays changes."""


@dataclass(frozen=True)
class JsonPlan:
    """Where the images, the label images if there are any, and the JSON of one split lie."""

    title: str
    sources: tuple[Source, ...]
    images: Part
    labels: Part | None
    json: Part
    image_name: str = ""
    """Pattern of image files with the image's id, such as ``{}_leftImg8bit.png``; empty: as the JSON says."""

    @property
    def fingerprint(self) -> str:
        """Everything that decides what is found."""
        paths = [(source.title, str(source.path.resolve())) for source in self.sources]
        parts = [None if part is None else vars(part) for part in (self.images, self.labels, self.json)]
        return json.dumps([self.title, paths, parts, self.image_name])

    @property
    def json_title(self) -> str:
        """What messages call the JSON."""
        return f"{self.sources[self.json.source].title}: {self.json.folder}"

    def under(self, source: int) -> Sequence[str]:
        """Return the folders of a source that matter."""
        parts = (self.images, self.labels)
        folders = [part.folder for part in parts if part is not None and part.source == source]
        return [*folders, *([self.json.folder.rpartition("/")[0]] if self.json.source == source else [])]


def load_or_build(
    plan: JsonPlan,
    read: Callable[[bytes], Entries],
    arrays_of: Callable[[Entries, NDArray[np.int64]], dict[str, NDArray[np.generic]]],
    state: str,
) -> tuple[Index, Arrays]:
    """Return the index and the arrays of a plan, from the cache if nothing has changed.

    Args:
        plan: where the files lie.
        read: the JSON -> what it holds.
        arrays_of: entries and the rows of them that have files, in order -> arrays to keep.
        state: what else decides on the arrays, such as the classes.

    Raises:
        ArchiveError, LabelError: files are missing or damaged, or the JSON contradicts itself.
    """
    key = cache_key(f"json {plan.fingerprint}")
    index = load_index(key, plan.sources)
    arrays = None if index is None else load_arrays(_arrays_key(plan, index, state))
    if index is not None and arrays is not None:
        return index, arrays
    listings = [source.list_members(plan.under(i)) for i, source in enumerate(plan.sources)]
    source, lines = plan.sources[plan.json.source], listings[plan.json.source]
    if plan.json.folder not in lines.names:
        raise ArchiveError(
            f"{source.title} is not what {plan.title} needs: expected {plan.json.folder}, but inside is "
            f"{summarise_folders(lines.names)}."
        )
    entries = read(source.read(lines.member(lines.line_of(plan.json.folder))))
    index, kept = match(plan, entries, listings)
    made = arrays_of(entries, kept)
    del entries  # outlines refer to the whole JSON, which is large
    stamps = [dict(listing.stamp) for listing in listings]
    stamps[plan.json.source] |= source.stamp_of(
        [plan.json.folder]
    )  # an edited JSON leaves its folder as it was
    if not all(s.is_settled(stamp) for s, stamp in zip(plan.sources, stamps, strict=True)):
        return index, Arrays(made, _arrays_key(plan, index, state))
    save_index(key, index, stamps)
    return index, save_arrays(_arrays_key(plan, index, state), made)


def match(plan: JsonPlan, entries: Entries, listings: Sequence[Listing]) -> tuple[Index, NDArray[np.int64]]:
    """Find the files of every entry.

    Returns:
        The index in the published order of the images, and (n,) the entry of each sample.
    """
    images = _files(plan, plan.images, listings)
    labels = None if plan.labels is None else _files(plan, plan.labels, listings)
    wanted = entries.image_files
    if plan.image_name:
        wanted = [plan.image_name.format(image_id) for image_id in entries.image_ids]
    image_lines = np.array(images.take(wanted), np.int64)
    label_lines = np.zeros_like(image_lines)
    if labels is not None:
        label_lines = np.array(labels.take(entries.label_files), np.int64)
    json_name = plan.json.folder.rpartition("/")[2]
    unpaired = [
        Unpaired(wanted[row], f"is in {json_name} but there is no such image")
        for row in np.flatnonzero(image_lines < 0).tolist()
    ]
    unpaired += [
        Unpaired(wanted[row], f"has no label: there is no {entries.label_files[row]}")
        for row in np.flatnonzero((label_lines < 0) & (image_lines >= 0)).tolist()
    ]
    others = ""
    for files in (images, *([] if labels is None else [labels])):
        left = files.left()
        if not files.is_shared:
            unpaired += [Unpaired(name, f"has no entry in {json_name}") for name in left]
        elif files is images and left:
            others = f" {len(left)} more images lie there that {json_name} does not name."
    rows = np.flatnonzero((image_lines >= 0) & (label_lines >= 0))
    rows = rows[
        _published_order([images.names[line] for line in image_lines[rows].tolist()], plan.images.folder)
    ]
    image_lines, label_lines = image_lines[rows], label_lines[rows]
    if plan.labels is None:
        json_listing = listings[plan.json.source]
        label_lines = np.full(len(rows), json_listing.line_of(plan.json.folder))
    read = ", ".join(dict.fromkeys(source.title for source in plan.sources))
    return Index(
        _table(plan.images.source, listings, image_lines),
        _table((plan.labels or plan.json).source, listings, label_lines),
        tuple(unpaired),
        f"{plan.title}: {len(rows)} images with annotations, read from {read}.{others}",
    ), rows


def bounds(ends: NDArray[np.int64], row: int) -> tuple[int, int]:
    """Return first item and end of a row, where ``ends`` says where the items of each row end."""
    return (int(ends[row - 1]) if row else 0), int(ends[row])


def take_rows(
    ends: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the items of chosen rows end, and which items these are.

    Args:
        ends: (n,) where the items of each row end.
        rows: (m,) chosen rows.
    """
    lengths = np.diff(ends, prepend=0)[rows]
    new_ends = np.cumsum(lengths)
    first = (ends[rows] - lengths) - (new_ends - lengths)
    return new_ends, np.repeat(first, lengths) + np.arange(int(new_ends[-1]) if len(rows) else 0)


def _files(plan: JsonPlan, part: Part, listings: Sequence[Listing]) -> NamedFiles:
    source = plan.sources[part.source]
    return NamedFiles(part, listings[part.source].names, source.title, plan.title, plan.json_title)


def _published_order(names: list[str], folder: str) -> NDArray[np.int64]:
    """Sort as ``pairing.sort_key`` says; a folder with an integer, which is then the first of all, decides nothing."""
    keys: list[Any] = names if any(map(str.isdigit, folder)) else list(map(sort_key, names))
    return np.array(sorted(range(len(names)), key=keys.__getitem__), np.int64)


def _table(source: int, listings: Sequence[Listing], lines: NDArray[np.int64]) -> MemberTable:
    listing = listings[source]
    names = list(map(listing.names.__getitem__, lines.tolist()))
    text = "".join(names)
    if text.isascii():
        data, lengths = text.encode(), map(len, names)
    else:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        data, lengths = b"".join(encoded), map(len, encoded)
    ends = np.cumsum(np.fromiter(lengths, np.int64, len(names)))
    sources = np.full(len(names), source, np.uint16)
    return MemberTable(np.frombuffer(data, np.uint8), ends, sources, listing.numbers[lines])


def _arrays_key(plan: JsonPlan, index: Index, state: str) -> str:
    stamp = plan.sources[plan.json.source].stamp_of([plan.json.folder])
    names = digest((index.images.text.tobytes() + index.labels.text.tobytes()).decode("latin-1"))
    return digest(f"{VERSION} {plan.fingerprint} {sorted(stamp.items())} {names} {state}")
