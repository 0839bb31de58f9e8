"""Archives -> bytes: zip, zip inside zip, tar and compressed tar; and the one way to open any source.

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
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from vfmseg.data import zip_directory
from vfmseg.data.cache import unpack_once
from vfmseg.data.folder_source import FolderSource
from vfmseg.data.source import NUMBERS, FileWindow, Listing, Member, Source, Stamp
from vfmseg.errors import ArchiveError, nearest

_LOCAL_HEADER_BYTES = 30
_USUAL_NAME_AND_EXTRA_BYTES = 226
_MOST_DEFLATED = 1032
"""Bytes that one deflated byte can become, at most: a damaged directory may promise more than there is memory."""


class _ArchiveSource(Source):
    """What sources in one file have in common: ``path`` is watched for changes."""

    def __init__(self, window: FileWindow, title: str, watched: Path) -> None:
        self._window = window
        self.path = watched
        self.title = title

    def stamp_of(self, names: Iterable[str]) -> Stamp:
        """Return size and modification time of the file, whatever the members."""
        status = self.path.stat()
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}

    def is_current(self, stamp: Stamp) -> bool:
        """Compare size and modification time of the file."""
        return self.stamp_of(()) == stamp

    def is_settled(self, stamp: Stamp) -> bool:
        """Return True: an archive that is rewritten changes its size, or comes much later."""
        return True


class ZipSource(_ArchiveSource):
    """A zip file, or one inside another file. Members may be stored or deflated."""

    def list_members(self, under: Sequence[str] = ("",)) -> Listing:
        """List all files, whatever ``under``.

        Raises:
            ArchiveError: the zip was cut short or is damaged.
        """
        try:
            members = zip_directory.read_zip_directory(self._window.read_at, self._window.size)
        except zip_directory.ZipFormatError as error:
            raise ArchiveError(
                f"{self.title} is not a complete zip file: {error}. Fetch it again."
            ) from error
        return Listing(members.names, members.numbers, self.stamp_of(()))

    def read(self, member: Member) -> bytes:
        """Return the bytes of a member, its checksum verified."""
        self._refuse_encrypted(member)
        start, head = self._data_start(member)
        stop = start + member.stored_size
        data = head[start - member.offset : stop - member.offset]
        if len(data) < member.stored_size:
            data += self._window.read_at(start + len(data), member.stored_size - len(data))
        if member.method == zip_directory.DEFLATED:
            size = max(1, min(member.size, _MOST_DEFLATED * len(data)))
            try:
                data = zlib.decompress(data, -zlib.MAX_WBITS, size)
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

    def open_inner(self, member: Member, title: str) -> ZipSource:
        """Return a zip that lies in this one: read in place if stored, else decompressed once."""
        self._refuse_encrypted(member)
        if member.method == zip_directory.STORED:
            start, _ = self._data_start(member)
            return ZipSource(FileWindow(self.path, self._window.start + start, member.size), title, self.path)
        key = f"{self.path.resolve()} {member} {self.stamp_of(())}"
        try:
            unpacked = unpack_once(title, key, lambda: self._open_stream(member))
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError) as error:
            raise self._damaged(member, str(error)) from error
        return ZipSource(FileWindow(unpacked), title, self.path)

    def _open_stream(self, member: Member) -> IO[bytes]:
        with zipfile.ZipFile(self.path) as archive:  # by place: of two members of one name the last is meant
            return archive.open(next(i for i in archive.infolist() if i.header_offset == member.offset))

    def _refuse_encrypted(self, member: Member) -> None:
        if member.flags & zip_directory.ENCRYPTED:
            raise ArchiveError(
                f"{self.title}: {member.name} is encrypted. Unpack the archive with its password."
            )

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


class TarSource(_ArchiveSource):
    """An uncompressed tar file; its members are found by one pass over the headers."""

    def list_members(self, under: Sequence[str] = ("",)) -> Listing:
        """List all files and hard links, whatever ``under``; symbolic links are no files.

        Raises:
            ArchiveError: the tar was cut short or is damaged.
        """
        names: list[str] = []
        places: list[tuple[int, int]] = []
        by_name: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(self._window.path, "r:") as archive:
                for info in archive:
                    if info.issparse():
                        raise ArchiveError(
                            f"{self.title}: {info.name} is stored as a sparse file, which cannot be read in "
                            f"place. Unpack {self.title}."
                        )
                    if info.isreg() or info.islnk():
                        place = by_name[info.linkname] if info.islnk() else (info.offset_data, info.size)
                        by_name[info.name] = place
                        names.append(info.name.removeprefix("./"))
                        places.append(place)
                end = archive.offset
        except (tarfile.TarError, KeyError, EOFError) as error:
            raise ArchiveError(
                f"{self.title} is not a complete tar file: {error}. Fetch it again."
            ) from error
        # tarfile takes whatever is no header for the end; only a block of zeros is
        if self._window.read_at(end, tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ArchiveError(
                f"{self.title} is not a complete tar file: it was cut short or is damaged at byte {end:,} of "
                f"{self._window.size:,}. Fetch it again."
            )
        numbers = np.full((len(names), len(NUMBERS)), -1, np.int64)
        if places:
            numbers[:, 0], numbers[:, 2] = np.array(places, np.int64).T
            numbers[:, 1] = numbers[:, 2]
        return Listing(names, numbers, self.stamp_of(()))

    def read(self, member: Member) -> bytes:
        """Return the bytes of a member."""
        data = self._window.read_at(member.offset, member.size)
        if len(data) != member.size:
            raise ArchiveError(f"{self.title}: {member.name} is cut short. Fetch the archive again.")
        return data


def open_source(path: str | Path) -> Source:
    """Open a folder, a zip or tar file, or a zip inside a zip (``outer.zip/folder/inner.zip``).

    What a file is, is told by its first bytes, not by its name. Compressed tar files (``.tar.gz``,
    ``.tar.bz2``, ``.tar.xz``) are decompressed once into the cache folder.

    Raises:
        ArchiveError: nothing is there, or it is no archive.
        ResourceError: a compressed tar does not fit the cache folder.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):  # Path.is_dir raises where a name is too long or the way there is barred
        return FolderSource(path)
    if os.path.isfile(path):
        return _open_archive(path)
    for outer in path.parents:
        if os.path.isfile(outer):
            return _open_inner(outer, path.relative_to(outer).as_posix())
        if os.path.isdir(outer):
            try:
                known = os.listdir(outer)
            except OSError as error:
                raise ArchiveError(f"{path} cannot be reached: {outer}: {error.strerror}.") from error
            missing = path.relative_to(outer).parts[0]
            raise ArchiveError(
                f"{path} does not exist: there is no {missing!r} in {outer}.{nearest(missing, known)}"
            )
    raise ArchiveError(f"{path} does not exist.")


def _open_gzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path))


_COMPRESSIONS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": _open_gzip,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""First bytes of a compressed file -> what opens it."""


def _open_archive(path: Path) -> ZipSource | TarSource:
    window = FileWindow(path)
    head = window.read_at(0, tarfile.BLOCKSIZE)
    if head[:2] == b"PK":
        return ZipSource(window, str(path), path)
    for magic, opener in _COMPRESSIONS.items():
        if head.startswith(magic):
            return _open_compressed_tar(path, opener)
    if head and tarfile.is_tarfile(path):
        return TarSource(window, str(path), path)
    looks = f"it starts with {head[:8]!r}" if head else "it is empty"
    if head.startswith(b"Rar!"):
        raise ArchiveError(
            f"{path} is a RAR archive, which cannot be read in place. Unpack it (`unrar x`) and give the folder."
        )
    if head.lstrip()[:1] == b"<":
        looks = "it looks like a web page, which servers send instead of a file that needs a login"
    raise ArchiveError(f"{path} is neither a zip nor a tar file: {looks}. Fetch it again.")


def _open_compressed_tar(path: Path, opener: Callable[[Path], IO[bytes]]) -> TarSource:
    status = path.stat()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    try:
        unpacked = unpack_once(str(path), key, lambda: opener(path))
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:  # OSError: how bz2 and gzip say it
        raise ArchiveError(f"{path} cannot be decompressed: {error}. Fetch it again.") from error
    return TarSource(FileWindow(unpacked), str(path), path)


def _open_inner(outer: Path, inside: str) -> ZipSource:
    source = _open_archive(outer)
    listing = source.list_members()
    if not isinstance(source, ZipSource):
        raise ArchiveError(f"{outer}/{inside}: archives inside a tar file cannot be read. Unpack {outer}.")
    line = listing.line_of(inside)
    if line < 0:
        zips = [name for name in listing.names if name.endswith(".zip")]
        raise ArchiveError(
            f"{outer} has no member {inside!r}. Zip files inside: {', '.join(zips[:6]) or 'none'}."
            f"{nearest(inside, zips)}"
        )
    return source.open_inner(listing.member(line), f"{outer}/{inside}")
