"""The interface all readers share: what a source of files can do, and how its bytes are reached."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfmseg.errors import ArchiveError, DataError

Stamp = dict[str, int]
"""What tells whether a source is unchanged: JSON-ready, compared as a whole."""

NUMBERS = ("offset", "stored_size", "size", "crc", "method", "flags")
"""Columns of ``Listing.numbers``; -1 what a source does not know (folders: all; tar files: ``crc``)."""


_READ_BINARY = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # only Windows has, and needs, O_BINARY


class Member(NamedTuple):
    """One file inside a source and where its bytes are."""

    name: str
    """Path inside the source, separated by ``/``."""
    offset: int = -1
    stored_size: int = -1
    size: int = -1
    crc: int = -1
    method: int = 0
    flags: int = 0


@dataclass(frozen=True)
class Listing:
    """The files of a source. ``names[i]`` belongs to ``numbers[i]``; the order is the archive's own."""

    names: list[str]
    numbers: NDArray[np.int64]
    """(n, 6), columns ``NUMBERS``."""
    stamp: Stamp

    def member(self, index: int) -> Member:
        """Return one member."""
        return Member(self.names[index], *self.numbers[index].tolist())

    def line_of(self, name: str) -> int:
        """Return the number of a member, -1 if there is none; of several of one name the last, as unpacking does."""
        return max((line for line, other in enumerate(self.names) if other == name), default=-1)


class _Handle:
    """An open file with the lock that guards its position, and the process it belongs to."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, _READ_BINARY)
        self._lock = threading.Lock()
        self.pid = os.getpid()

    def read_at(self, position: int, size: int) -> bytes:
        with self._lock:
            os.lseek(self._descriptor, position, os.SEEK_SET)
            data = os.read(self._descriptor, size)
            while len(data) < size and (more := os.read(self._descriptor, size - len(data))):
                data += more
        return data

    def __del__(self) -> None:
        if "_descriptor" in self.__dict__:
            os.close(self._descriptor)


class FileWindow:
    """A range of bytes of a file. One handle per process; safe in threads, after a fork, and pickled."""

    def __init__(self, path: Path, start: int = 0, size: int | None = None) -> None:
        self.path = path
        self.start = start
        self.size = path.stat().st_size - start if size is None else size
        self._handle: _Handle | None = None

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; fewer only where the window ends.

        Raises:
            ArchiveError: the file is gone or cannot be read.
        """
        size = max(0, min(size, self.size - offset))
        try:
            handle = self._handle
            if handle is None or handle.pid != os.getpid():  # a forked handle shares its parent's position
                handle = self._handle = _Handle(self.path)
            return handle.read_at(self.start + offset, size)
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be read: {error.strerror or error}.") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "start": self.start, "size": self.size, "_handle": None}


class Source(ABC):
    """Where files are read from. ``title`` is what messages call it, ``path`` the file or folder on disk."""

    title: str
    path: Path

    @abstractmethod
    def list_members(self, under: Sequence[str] = ("",)) -> Listing:
        """List the files; ``under`` names the folders that matter (others may be left out)."""

    @abstractmethod
    def read(self, member: Member) -> bytes:
        """Return the bytes of a member, checked where the format has a check.

        Raises:
            ArchiveError: the member is damaged, encrypted or gone; the message names source and member.
        """

    @abstractmethod
    def stamp_of(self, names: Iterable[str]) -> Stamp:
        """Return what changes whenever the content of these members may have changed."""

    @abstractmethod
    def is_current(self, stamp: Stamp) -> bool:
        """Tell whether nothing has changed since this stamp was taken. Cheap."""

    @abstractmethod
    def is_settled(self, stamp: Stamp) -> bool:
        """Tell whether a later change would surely show in this stamp."""


def decode_text(data: bytes, title: str) -> str:
    """Return the text of a YAML file or a list.

    Args:
        data: the file.
        title: what messages call it.

    Raises:
        DataError: it is not UTF-8; the message says which line.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{title} is not UTF-8 text: line {line} holds the byte 0x{data[error.start]:02x}. Save it as UTF-8."
        ) from error


def read_text(path: Path) -> str:
    """Return the text of a YAML file or a list on disk.

    Raises:
        ArchiveError: it cannot be read.
        DataError: it is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror or error}.") from error
    return decode_text(data, str(path))


def summarise_entries(root: Path, limit: int = 8) -> str:
    """Return what lies in a folder, or which file it is, for messages."""
    if not root.is_dir():
        return f"the file {root.name}"
    there = sorted(entry.name for entry in root.iterdir())
    return (", ".join(there[:limit]) or "nothing") + (
        f" and {len(there) - limit} more" if len(there) > limit else ""
    )


def summarise_folders(names: Sequence[str], limit: int = 6) -> str:
    """Return the folders of these files with their counts, the fullest first, for messages."""
    if not names:
        return "nothing"
    counts: dict[str, int] = {}
    for name in names:
        folder = name.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + 1
    fullest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{folder or '.'}/ ({count} files)" for folder, count in fullest[:limit])
    return shown + (f" and {len(fullest) - limit} more folders" if len(fullest) > limit else "")
