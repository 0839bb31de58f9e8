"""Archives and folders -> bytes: one reader over zip, zip inside zip, tar, compressed tar and plain folders.

A source lists its members once, with the place of each, and reads a member later from that place alone:
what a loader worker holds is one open file and a few numbers. Sources may be pickled and forked; every
process opens the file for itself.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfmseg.data import zip_directory
from vfmseg.data.cache import unpack_once
from vfmseg.errors import ArchiveError, nearest

Stamp = dict[str, int]
"""What tells whether a listing is still true: JSON-ready, compared as a whole."""

NUMBERS = ("offset", "stored_size", "size", "crc", "method", "flags")
"""Columns of ``Listing.numbers``. Folders know none of them (-1); tar files no ``crc`` (-1)."""

_LOCAL_HEADER_BYTES = 30
_USUAL_NAME_AND_EXTRA_BYTES = 226


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


class _Handle:
    """An open file with the lock that guards its position, and the process it belongs to."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb", buffering=0)
        self.lock = threading.Lock()
        self.pid = os.getpid()

    def __del__(self) -> None:
        self.file.close()


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
        size = min(size, self.size - offset)
        try:
            handle = self._handle
            if handle is None or handle.pid != os.getpid():  # a forked handle shares its parent's position
                handle = self._handle = _Handle(self.path)
            with handle.lock:
                handle.file.seek(self.start + offset)
                data = handle.file.read(size)
                while len(data) < size and (more := handle.file.read(size - len(data))):
                    data += more
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        return data

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
    def is_current(self, stamp: Stamp) -> bool:
        """Tell whether a listing with this stamp would come out the same now. Cheap."""

    def summary(self, listing: Listing, limit: int = 6) -> str:
        """Return what is inside, for messages: the folders with the most files first."""
        return summarise_folders(listing.names, limit)


class FolderSource(Source):
    """A folder on disk. Links to folders are followed, each real folder once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.title = str(path)

    def list_members(self, under: Sequence[str] = ("",)) -> Listing:
        names: list[str] = []
        stamp: Stamp = {}
        seen: set[tuple[int, int]] = set()
        for start in dict.fromkeys(under):
            if (self.path / start).is_dir():
                self._walk(start, names, stamp, seen)
        return Listing(names, np.full((len(names), len(NUMBERS)), -1, np.int64), stamp)

    def _walk(self, folder: str, names: list[str], stamp: Stamp, seen: set[tuple[int, int]]) -> None:
        pending = [folder]
        while pending:
            folder = pending.pop()
            status = os.stat(self.path / folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            stamp[folder] = status.st_mtime_ns  # taken before the listing: a later change is then noticed
            prefix = f"{folder}/" if folder else ""
            with os.scandir(self.path / folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        pending.append(prefix + entry.name)
                    elif entry.is_file():
                        names.append(prefix + entry.name)

    def read(self, member: Member) -> bytes:
        try:
            return (self.path / member.name).read_bytes()
        except FileNotFoundError as error:
            raise ArchiveError(f"{self.path / member.name} was there when the data set was opened, and is gone.") from error
        except OSError as error:
            raise ArchiveError(f"{self.path / member.name} cannot be read: {error.strerror}.") from error

    def is_current(self, stamp: Stamp) -> bool:
        try:
            return all(os.stat(self.path / folder).st_mtime_ns == mtime for folder, mtime in stamp.items())
        except OSError:
            return False


class ZipSource(Source):
    """A zip file, or one inside another file. Members may be stored or deflated."""

    def __init__(self, window: FileWindow, title: str) -> None:
        self._window = window
        self.path = window.path
        self.title = title

    def list_members(self, under: Sequence[str] = ("",)) -> Listing:
        try:
            members = zip_directory.read_zip_directory(self._window.read_at, self._window.size)
        except zip_directory.ZipFormatError as error:
            raise ArchiveError(f"{self.title} is not a complete zip file: {error}. Fetch it again.") from error
        return Listing(members.names, members.numbers, _file_stamp(self.path))

    def read(self, member: Member) -> bytes:
        if member.flags & zip_directory.ENCRYPTED:
            raise ArchiveError(f"{self.title}: {member.name} is encrypted. Unpack the archive with its password.")
        start, head = self._data_start(member)
        stop = start + member.stored_size
        data = head[start - member.offset : stop - member.offset]
        if len(data) < member.stored_size:
            data += self._window.read_at(start + len(data), member.stored_size - len(data))
        if member.method == zip_directory.DEFLATED:
            try:
                data = zlib.decompress(data, -zlib.MAX_WBITS, max(1, member.size))
            except zlib.error as error:
                raise self._damaged(member, str(error)) from error
        elif member.method != zip_directory.STORED:
            raise ArchiveError(
                f"{self.title}: {member.name} is compressed by zip method {member.method}; stored (0) and "
                "deflated (8) can be read. Unpack the archive, and pack it again with `zip -r` if you like."
            )
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise self._damaged(member, "its bytes do not match its checksum")
        return data

    def is_current(self, stamp: Stamp) -> bool:
        return _file_stamp(self.path) == stamp

    def open_inner(self, member: Member, title: str) -> ZipSource:
        """Return a zip that lies in this one: read in place if stored, else decompressed once to the cache."""
        if member.method == zip_directory.STORED and not member.flags & zip_directory.ENCRYPTED:
            start, _ = self._data_start(member)
            return ZipSource(FileWindow(self.path, self._window.start + start, member.size), title)
        key = f"{self.path.resolve()} {member} {_file_stamp(self.path)}"
        path = unpack_once(title, key, lambda: self._open_stream(member))
        inner = ZipSource(FileWindow(path), title)
        inner.path = self.path  # the file that is watched for changes
        return inner

    def _open_stream(self, member: Member) -> IO[bytes]:
        import zipfile  # for this rare case only: streams a member larger than memory

        with zipfile.ZipFile(self.path) as archive:
            return archive.open(member.name)

    def _data_start(self, member: Member) -> tuple[int, bytes]:
        """Return where the member's data start, and the bytes already read from its header on."""
        usual = _LOCAL_HEADER_BYTES + _USUAL_NAME_AND_EXTRA_BYTES + member.stored_size
        head = self._window.read_at(member.offset, usual)
        if head[:4] != b"PK\x03\x04" or len(head) < _LOCAL_HEADER_BYTES:
            raise self._damaged(member, "its header is not where the directory says")
        lengths = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        return member.offset + _LOCAL_HEADER_BYTES + lengths, head

    def _damaged(self, member: Member, why: str) -> ArchiveError:
        return ArchiveError(f"{self.title}: {member.name} is damaged: {why}. Fetch the archive again.")


class TarSource(Source):
    """An uncompressed tar file; its members are found by one pass over the headers."""

    def __init__(self, window: FileWindow, title: str, watched: Path) -> None:
        self._window = window
        self.path = watched
        self.title = title

    def list_members(self, under: Sequence[str] = ("",)) -> Listing:
        names: list[str] = []
        places: list[tuple[int, int]] = []
        by_name: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(self._window.path, "r:") as archive:
                for info in archive:
                    if info.isreg() or info.islnk():
                        place = by_name[info.linkname] if info.islnk() else (info.offset_data, info.size)
                        by_name[info.name] = place
                        names.append(info.name.removeprefix("./"))
                        places.append(place)
        except (tarfile.TarError, KeyError, EOFError) as error:
            raise ArchiveError(f"{self.title} is not a complete tar file: {error}. Fetch it again.") from error
        if places and max(offset + size for offset, size in places) > self._window.size:
            raise ArchiveError(f"{self.title} is not a complete tar file: it was cut short. Fetch it again.")
        numbers = np.full((len(names), len(NUMBERS)), -1, np.int64)
        if places:
            numbers[:, 0], numbers[:, 2] = np.array(places, np.int64).T
            numbers[:, 1] = numbers[:, 2]
        return Listing(names, numbers, _file_stamp(self.path))

    def read(self, member: Member) -> bytes:
        data = self._window.read_at(member.offset, member.size)
        if len(data) != member.size:
            raise ArchiveError(f"{self.title}: {member.name} is damaged: the file was cut short. Fetch it again.")
        return data

    def is_current(self, stamp: Stamp) -> bool:
        return _file_stamp(self.path) == stamp


def open_source(path: str | Path) -> Source:
    """Open a folder, a zip or tar file, or a zip inside a zip (``outer.zip/folder/inner.zip``).

    What a file is, is told by its first bytes, not by its name. Compressed tar files (``.tar.gz``,
    ``.tar.bz2``, ``.tar.xz``) are decompressed once into the cache folder.

    Raises:
        ArchiveError: nothing is there, or it is no archive.
        ResourceError: a compressed tar does not fit the cache folder.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return _open_archive(path)
    for outer in path.parents:
        if outer.is_file():
            return _open_inner(outer, path.relative_to(outer).as_posix())
        if outer.is_dir():
            known = [entry.name for entry in outer.iterdir()]
            missing = path.relative_to(outer).parts[0]
            raise ArchiveError(f"{path} does not exist: there is no {missing!r} in {outer}.{nearest(missing, known)}")
    raise ArchiveError(f"{path} does not exist.")


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


_COMPRESSIONS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": lambda path: gzip.open(path, "rb"),
    b"BZh": lambda path: bz2.open(path, "rb"),
    b"\xfd7zXZ\x00": lambda path: lzma.open(path, "rb"),
}


def _open_archive(path: Path) -> Source:
    window = FileWindow(path)
    head = window.read_at(0, 512)
    if head[:2] == b"PK":
        return ZipSource(window, str(path))
    if head[257:262] == b"ustar":
        return TarSource(window, str(path), path)
    for magic, opener in _COMPRESSIONS.items():
        if head.startswith(magic):
            return _open_compressed_tar(path, opener)
    looks = "it is empty" if not head else f"it starts with {head[:8]!r}"
    if head.lstrip()[:1] == b"<":
        looks = "it looks like a web page, which servers send instead of a file that needs a login"
    raise ArchiveError(f"{path} is neither a zip nor a tar file: {looks}. Fetch it again.")


def _open_compressed_tar(path: Path, opener: Callable[[Path], IO[bytes]]) -> TarSource:
    try:
        unpacked = unpack_once(str(path), f"{path.resolve()} {_file_stamp(path)}", lambda: opener(path))
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise ArchiveError(f"{path} cannot be decompressed: {error}. Fetch it again.") from error
    return TarSource(FileWindow(unpacked), str(path), path)


def _open_inner(outer: Path, inside: str) -> ZipSource:
    source = _open_archive(outer)
    listing = source.list_members()
    if not isinstance(source, ZipSource):
        raise ArchiveError(f"{outer}/{inside}: archives inside a tar file cannot be read. Unpack {outer}.")
    if inside not in listing.names:
        zips = [name for name in listing.names if name.endswith(".zip")]
        raise ArchiveError(
            f"{outer} has no member {inside!r}. Zip files inside: {', '.join(zips[:6]) or 'none'}."
            f"{nearest(inside, zips)}"
        )
    return source.open_inner(listing.member(listing.names.index(inside)), f"{outer}/{inside}")


def _file_stamp(path: Path) -> Stamp:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
