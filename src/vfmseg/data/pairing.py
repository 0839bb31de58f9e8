"""Listings of the sources -> which label belongs to which image, and what stayed without a partner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vfmseg.data.source import Listing, Source

_FIRST_INTEGER = re.compile(r"\d+")


@dataclass(frozen=True)
class Ref:
    """A member by numbers: which source of the plan, which line of its listing."""

    source: int
    line: int


@dataclass(frozen=True)
class Unpaired:
    """A file without its partner."""

    name: str
    reason: str


@dataclass(frozen=True)
class Pairs:
    """Images in the order of the data set with their labels, one to one."""

    images: list[Ref]
    labels: list[Ref]
    unpaired: list[Unpaired]
    sentence: str
    """What was found, to be printed: ``"20210 images with labels in ..."``."""
    lists: list[Ref] = field(default_factory=list)
    """Files whose content decided what belongs together."""


class ReadFrom(Protocol):
    """What one split is read from."""

    @property
    def title(self) -> str:
        """Data set and split, for messages."""

    @property
    def sources(self) -> Sequence[Source]:
        """What is read."""

    @property
    def fingerprint(self) -> str:
        """A text that differs whenever another plan would pair differently."""


class Plan(ReadFrom, Protocol):
    """How the images and labels of one split are found in a few sources."""

    def under(self, source: int) -> Sequence[str]:
        """Return the folders of a source that matter."""

    def pair(self, listings: Sequence[Listing]) -> Pairs:
        """Find image and label of every sample."""


def sort_key(name: str) -> tuple[float, str]:
    """Return the published order: by the first integer anywhere in the path (none: last), then by path."""
    found = _FIRST_INTEGER.search(name)
    return (int(found[0]) if found else float("inf"), name)


def is_hidden(name: str) -> bool:
    """Tell files no data set means: ``.DS_Store``, ``._x.png``, ``__MACOSX/`` and other dot files."""
    return name.startswith((".", "__MACOSX/")) or "/." in name


def match_keys(images: dict[str, Ref], labels: dict[str, Ref]) -> tuple[list[str], list[str], list[str]]:
    """Return the keys both have, those of images alone and those of labels alone, in the images' order."""
    both = [key for key in images if key in labels]
    return both, [key for key in images if key not in labels], [key for key in labels if key not in images]


def in_published_order(refs: Iterable[Ref], listings: Sequence[Listing]) -> list[Ref]:
    """Sort members of any number of sources as :func:`sort_key` says."""
    return sorted(refs, key=lambda ref: sort_key(listings[ref.source].names[ref.line]))
