"""The tail of a zip file -> the names and places of its members, tens of thousands in milliseconds.

Written from the format's specification (PKWARE APPNOTE 6.3): end record, zip64 end record, central
directory. The records are chained by their lengths; all of them are read at once with numpy where the
signatures found agree with the chain, and one after the other where they do not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

STORED: Final = 0
DEFLATED: Final = 8
ENCRYPTED: Final = 1
"""Bit of the flags."""

_UTF8: Final = 1 << 11
_IN_ZIP64_EXTRA: Final = 0xFFFFFFFF
_END_SIGNATURE: Final = b"PK\x05\x06"
_END: Final = struct.Struct("<4s4H2LH")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_MAX_COMMENT: Final = 0xFFFF

_RECORD: Final = np.dtype(
    [
        ("signature", "<u4"), ("made_by", "<u2"), ("needed", "<u2"), ("flags", "<u2"), ("method", "<u2"),
        ("time", "<u2"), ("date", "<u2"), ("crc", "<u4"), ("stored_size", "<u4"), ("size", "<u4"),
        ("name_length", "<u2"), ("extra_length", "<u2"), ("comment_length", "<u2"), ("disk", "<u2"),
        ("internal", "<u2"), ("external", "<u4"), ("offset", "<u4"),
    ]
)  # fmt: skip


class ZipFormatError(ValueError):
    """The bytes are not a complete zip file; the text says what is wrong, without the file's name."""


@dataclass(frozen=True)
class ZipMembers:
    """The files (not folders) of a zip, in the order of its directory."""

    names: list[str]
    numbers: NDArray[np.int64]
    """(n, 6) offset of the local header, stored size, size, CRC-32, method, flags."""


def read_zip_directory(read_at: Callable[[int, int], bytes], file_size: int) -> ZipMembers:
    """List a zip file.

    Args:
        read_at: ``(offset, size) -> bytes`` of the file.
        file_size: bytes.

    Raises:
        ZipFormatError: no end record, parts of the file are missing, or the directory is damaged.
    """
    start, size, count, shift = _find_directory(read_at, file_size)
    directory = read_at(start, size)
    positions = _record_positions(directory, count)
    if not len(positions):
        return ZipMembers([], np.empty((0, 6), np.int64))
    raw = np.frombuffer(directory, np.uint8)
    records = raw[positions[:, None] + np.arange(_RECORD.itemsize)].view(_RECORD)[:, 0]
    columns = ("offset", "stored_size", "size", "crc", "method", "flags")
    numbers = np.stack([records[c].astype(np.int64) for c in columns], axis=1)
    for row in np.flatnonzero((numbers[:, :3] == _IN_ZIP64_EXTRA).any(axis=1)):
        _fill_from_zip64_extra(numbers[row], directory, int(positions[row]), records[row])
    numbers[:, 0] += shift
    names = _names(directory, positions, records)
    is_file = np.fromiter((not name.endswith("/") for name in names), bool, len(names))
    if not is_file.all():
        names = [name for name, keep in zip(names, is_file.tolist(), strict=True) if keep]
        numbers = numbers[is_file]
    return ZipMembers(names, numbers)


def _find_directory(read_at: Callable[[int, int], bytes], file_size: int) -> tuple[int, int, int, int]:
    """Return start and size of the directory, its number of records, and the bytes before the zip proper."""
    tail_start = max(0, file_size - _END.size - _MAX_COMMENT)
    tail = read_at(tail_start, file_size - tail_start)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise ZipFormatError("its end is missing, so it was cut short (an unfinished download or copy?)")
    _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    locator = read_at(end - _END64_LOCATOR.size, _END64_LOCATOR.size) if end >= _END64_LOCATOR.size else b""
    if locator[:4] == b"PK\x06\x07":
        end64_offset = _END64_LOCATOR.unpack(locator)[2]
        # bytes put before the zip move everything; the record then still ends at the locator
        for place in (end64_offset, end - _END64_LOCATOR.size - _END64.size):
            record = read_at(place, _END64.size) if 0 <= place <= end - _END64.size else b""
            if record[:4] == b"PK\x06\x06":
                _, _, _, _, disk, first_disk, _, count, size, offset = _END64.unpack(record)
                end = place
                break
        else:
            raise ZipFormatError("its zip64 end record is missing or damaged")
    if disk or first_disk:
        raise ZipFormatError("it is one part of a zip that was split; join the parts (`zip -s 0`)")
    start = end - size
    if start < 0 or start < offset:
        raise ZipFormatError("bytes are missing in the middle, so it was cut short")
    return start, size, count, start - offset


def _record_positions(directory: bytes, count: int) -> NDArray[np.int64]:
    """Return where each record starts.

    ``count`` may be short by a multiple of 65536: macOS and old tools write no zip64 record for more files.
    """
    raw = np.frombuffer(directory, np.uint8)
    found = np.flatnonzero(raw[:-3] == ord("P"))
    for step, byte in enumerate(b"K\x01\x02", start=1):
        found = found[raw[found + step] == byte]
    found = found[found <= len(raw) - _RECORD.itemsize]
    if _is_count(len(found), count):
        lengths = raw[found[:, None] + np.arange(28, 34)].view("<u2").astype(np.int64).sum(axis=1)
        following = found + _RECORD.itemsize + lengths
        if not len(found) or (
            found[0] == 0 and (following[:-1] == found[1:]).all() and following[-1] <= len(raw)
        ):
            return found
    return _walk_records(directory, count)


def _walk_records(directory: bytes, count: int) -> NDArray[np.int64]:
    """Follow the chain; needed where a name, extra field or comment happens to contain the signature."""
    positions: list[int] = []
    at = 0
    while directory[at : at + 4] == b"PK\x01\x02" and at + _RECORD.itemsize <= len(directory):
        positions.append(at)
        at += _RECORD.itemsize + sum(struct.unpack_from("<3H", directory, at + 28))
    if at > len(directory):
        raise ZipFormatError("its directory is cut short")
    if not _is_count(len(positions), count):
        raise ZipFormatError(f"its directory is damaged at record {len(positions)} of {count}")
    return np.array(positions, np.int64)


def _is_count(found: int, count: int) -> bool:
    return found >= count and (found - count) % (1 << 16) == 0


def _fill_from_zip64_extra(row: NDArray[np.int64], directory: bytes, position: int, record: np.void) -> None:
    """Replace the numbers that did not fit 32 bits by those of the zip64 extra field."""
    at = position + _RECORD.itemsize + int(record["name_length"])
    stop = at + int(record["extra_length"])
    while at + 4 <= stop:
        kind, length = struct.unpack_from("<2H", directory, at)
        at += 4
        if kind == 1:
            for column in (2, 1, 0):  # size, stored size, offset: the order of the specification
                if row[column] == _IN_ZIP64_EXTRA:
                    if length < 8 or at + 8 > stop:
                        raise ZipFormatError("a zip64 field of its directory is damaged")
                    value = struct.unpack_from("<Q", directory, at)[0]
                    if value > np.iinfo(np.int64).max:
                        raise ZipFormatError("a zip64 field of its directory is damaged")
                    row[column] = value
                    at, length = at + 8, length - 8
            return
        at += length


def _names(directory: bytes, positions: NDArray[np.int64], records: NDArray[np.void]) -> list[str]:
    starts = positions + _RECORD.itemsize
    stops = starts + records["name_length"]
    text = directory.decode("latin-1")  # one character a byte, so that the slices below are free of decoding
    names = [text[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    if not all(map(str.isascii, names)):
        is_utf8 = (records["flags"] & _UTF8 != 0).tolist()
        names = [_decode(n, utf8) for n, utf8 in zip(names, is_utf8, strict=True)]
    if "\\" in text:  # some Windows tools write their own separator
        names = [name.replace("\\", "/") for name in names]
    if "./" in text:  # others write the folder that was packed
        names = [name.removeprefix("./") for name in names]
    return names


def _decode(latin: str, is_utf8: bool) -> str:
    return (
        latin
        if latin.isascii()
        else latin.encode("latin-1").decode("utf-8" if is_utf8 else "cp437", "replace")
    )
