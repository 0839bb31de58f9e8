"""A plan -> the index: which image goes with which label, and at which bytes, found once and kept on disk.

The index is a handful of arrays without a Python object per sample, so that it costs loader workers
nothing. It is cached per plan and used again as long as every source is unchanged: archives by size and
modification time, folders by the modification times of all their folders.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from vfmseg.data.cache import cache_dir, digest, write_atomically
from vfmseg.data.pairing import Pairs, Plan, Ref, Unpaired
from vfmseg.data.source import Listing, Member, Source, Stamp

logger = logging.getLogger(__name__)

VERSION = 2
"""Part of the cache key; raised whenever the meaning of a cached index changes."""


@dataclass(frozen=True)
class MemberTable:
    """Members of several sources, as arrays."""

    text: NDArray[np.uint8]
    """All names, UTF-8, one after the other."""
    ends: NDArray[np.int64]
    """(n,) where each name ends."""
    sources: NDArray[np.uint16]
    """(n,) number of the source."""
    numbers: NDArray[np.int64]
    """(n, 6), columns ``archives.NUMBERS``."""

    @classmethod
    def gather(cls, refs: Sequence[Ref], listings: Sequence[Listing]) -> MemberTable:
        """Collect members out of listings."""
        names = [listings[ref.source].names[ref.line].encode("utf-8", "surrogateescape") for ref in refs]
        sources = np.fromiter((ref.source for ref in refs), np.uint16, len(refs))
        lines = np.fromiter((ref.line for ref in refs), np.int64, len(refs))
        numbers = np.empty((len(refs), len(Member._fields) - 1), np.int64)
        for source, listing in enumerate(listings):
            here = sources == source
            numbers[here] = listing.numbers[lines[here]]
        ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
        return cls(np.frombuffer(b"".join(names), np.uint8), ends, sources, numbers)

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, index: int) -> str:
        """Return the path of a member inside its source."""
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return self.text[start : self.ends[index]].tobytes().decode("utf-8", "surrogateescape")

    def member(self, index: int) -> Member:
        """Return a member, ready to be read from its source."""
        return Member(self.name(index), *self.numbers[index].tolist())

    def take(self, kept: NDArray[np.int64]) -> MemberTable:
        """Return the rows ``kept``, in that order."""
        names = [self.name(int(i)).encode("utf-8", "surrogateescape") for i in kept]
        ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
        text = np.frombuffer(b"".join(names), np.uint8)
        return MemberTable(text, ends, self.sources[kept], self.numbers[kept])


class Names(Sequence[str]):
    """The names of all samples, decoded one by one as they are asked for."""

    def __init__(self, table: MemberTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._table.name(i) for i in range(*index.indices(len(self)))]
        return self._table.name(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        return map(self._table.name, range(len(self)))


@dataclass(frozen=True)
class Index:
    """What is read for each sample. ``images`` and ``labels`` have one row per sample, in the same order."""

    images: MemberTable
    labels: MemberTable
    skipped: tuple[Unpaired, ...]
    """Files that are there but not used, with the reason: never left out without being listed here."""
    sentence: str
    """What was found where, to be printed."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> Names:
        """Member path of each image."""
        return Names(self.images)

    def keep(self, kept: NDArray[np.int64], skipped: Sequence[Unpaired]) -> Index:
        """Return the index with only the samples ``kept`` and with more files listed as skipped."""
        images, labels = self.images.take(kept), self.labels.take(kept)
        return replace(self, images=images, labels=labels, skipped=(*self.skipped, *skipped))


def load_or_build_index(plan: Plan) -> Index:
    """Return the index of a plan, from the cache if nothing has changed.

    Raises:
        DataError: whatever listing and pairing raise: damaged or wrong archives, no images.
    """
    key = cache_key(plan.fingerprint)
    cached = load_index(key, plan.sources)
    if cached is not None:
        return cached
    listings = [source.list_members(plan.under(i)) for i, source in enumerate(plan.sources)]
    pairs = plan.pair(listings)
    index = build_index(pairs, listings)
    stamps = [dict(listing.stamp) for listing in listings]
    for ref in pairs.lists:  # an edited list leaves its folder's time as it was
        stamps[ref.source] |= plan.sources[ref.source].stamp_of([listings[ref.source].names[ref.line]])
    if all(source.is_settled(stamp) for source, stamp in zip(plan.sources, stamps, strict=True)):
        save_index(key, index, stamps)
    return index


def build_index(pairs: Pairs, listings: Sequence[Listing]) -> Index:
    """Turn pairs into arrays."""
    images = MemberTable.gather(pairs.images, listings)
    labels = MemberTable.gather(pairs.labels, listings)
    return Index(images, labels, tuple(pairs.unpaired), pairs.sentence)


def cache_key(fingerprint: str) -> str:
    """Return the name under which an index is cached."""
    return digest(f"{VERSION} {fingerprint}")


def save_index(key: str, index: Index, stamps: Sequence[Stamp]) -> None:
    """Write an index to the cache. A cache that cannot be written costs time, not the run: it is logged."""
    facts = {
        "stamps": list(stamps),
        "sentence": index.sentence,
        "skipped": [[s.name, s.reason] for s in index.skipped],
    }
    arrays = {
        f"{kind}_{column}": getattr(table, column)
        for kind, table in (("images", index.images), ("labels", index.labels))
        for column in ("text", "ends", "sources", "numbers")
    }
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    path = _cache_path(key)
    try:
        write_atomically(path, lambda file: np.savez(file, **arrays))
    except OSError as error:
        logger.warning(
            "The index of the data set could not be kept in %s (%s): it will be built again next time. "
            "Set VFMSEG_CACHE to a folder that can be written.",
            path.parent,
            error.strerror or error,
        )


def load_index(key: str, sources: Sequence[Source]) -> Index | None:
    """Return a cached index, or None where there is none or a source has changed since."""
    try:
        data = _cache_path(key).read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            facts: dict[str, Any] = json.loads(arrays["facts"].tobytes())
            if not all(s.is_current(stamp) for s, stamp in zip(sources, facts["stamps"], strict=True)):
                return None
            images, labels = (
                MemberTable(
                    *(arrays[f"{kind}_{column}"] for column in ("text", "ends", "sources", "numbers"))
                )
                for kind in ("images", "labels")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if not isinstance(error, FileNotFoundError):
            logger.warning(
                "The cached index %s cannot be used (%s): building it again.", _cache_path(key), error
            )
        return None
    return Index(images, labels, tuple(Unpaired(*row) for row in facts["skipped"]), facts["sentence"])


def _cache_path(key: str) -> Path:
    return cache_dir() / "index" / f"{key}.npz"
