"""A folder on disk -> the same interface as an archive, with modification times to notice changes by."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from vfmseg.data.source import NUMBERS, Listing, Member, Source, Stamp
from vfmseg.errors import ArchiveError

_COARSEST_CLOCK_NS: Final = 2_000_000_000
"""FAT counts modification times in steps of two seconds."""


class FolderSource(Source):
    """A folder on disk. Links are followed, except to a folder they lie in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.title = str(path)

    def list_members(self, under: Sequence[str] = ("",)) -> Listing:
        """List the files below the folders ``under``.

        Raises:
            ArchiveError: a folder cannot be read.
        """
        names: list[str] = []
        stamp: Stamp = {}
        try:
            for start in under:
                if (self.path / start).is_dir():
                    self._walk(start, names, stamp)
        except OSError as error:
            raise ArchiveError(f"{error.filename} cannot be listed: {error.strerror}.") from error
        return Listing(names, np.full((len(names), len(NUMBERS)), -1, np.int64), stamp)

    def _walk(self, start: str, names: list[str], stamp: Stamp) -> None:
        pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(start, frozenset())]
        while pending:
            folder, above = pending.pop()
            status = os.stat(self.path / folder)
            identity = (status.st_dev, status.st_ino)
            if folder in stamp or identity in above:
                continue
            stamp[folder] = status.st_mtime_ns  # taken before the listing: a later change is then noticed
            prefix = f"{folder}/" if folder else ""
            with os.scandir(self.path / folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        pending.append((prefix + entry.name, above | {identity}))
                    elif entry.is_file() or entry.is_symlink():  # also a link to nothing: reading it says so
                        names.append(prefix + entry.name)

    def read(self, member: Member) -> bytes:
        """Return the bytes of a file."""
        path = self.path / member.name
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            if path.is_symlink():
                raise ArchiveError(f"{path} is a link to {os.readlink(path)}, which is not there.") from error
            raise ArchiveError(f"{path} was there when the data set was opened, and is gone.") from error
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from error

    def stamp_of(self, names: Iterable[str]) -> Stamp:
        """Return the modification time of each file; of a link to nothing that of the link.

        Raises:
            ArchiveError: a file is gone.
        """
        try:
            return {name: _mtime_ns(self.path / name) for name in names}
        except OSError as error:
            raise ArchiveError(f"{error.filename} cannot be read: {error.strerror}.") from error

    def is_current(self, stamp: Stamp) -> bool:
        """Compare the modification times of the folders and files in the stamp."""
        try:
            return all(os.stat(self.path / name).st_mtime_ns == mtime for name, mtime in stamp.items())
        except OSError:
            return False

    def is_settled(self, stamp: Stamp) -> bool:
        """Tell whether all changes are older than the clock of any file system is coarse."""
        return all(time.time_ns() - mtime > _COARSEST_CLOCK_NS for mtime in stamp.values())


def _mtime_ns(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return os.lstat(path).st_mtime_ns
