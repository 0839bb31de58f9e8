"""The zip directory reader agrees with the standard library on anything that library writes."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.errors import raises
from vfmseg.data.zip_directory import ZipFormatError, ZipMembers, read_zip_directory

CONTENT = {"a/b.txt": b"hello", "a/c.png": b"x" * 1000, "d.jpg": b""}


def make_zip(content: dict[str, bytes], **options: object) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(data: bytes) -> ZipMembers:
    return read_zip_directory(lambda offset, size: data[offset : offset + size], len(data))


def assert_same_as_zipfile(data: bytes) -> None:
    members = read(data)
    infos = [info for info in zipfile.ZipFile(io.BytesIO(data)).infolist() if not info.is_dir()]
    expected = [
        [i.header_offset, i.compress_size, i.file_size, i.CRC, i.compress_type, i.flag_bits] for i in infos
    ]
    assert members.names == [info.filename for info in infos]
    assert members.numbers.tolist() == expected


def test_read_zip_directory__stored_and_deflated():
    assert_same_as_zipfile(make_zip(CONTENT))
    assert_same_as_zipfile(make_zip(CONTENT, compression=zipfile.ZIP_DEFLATED))


def test_read_zip_directory__empty_zip():
    members = read(make_zip({}))
    assert members.names == []
    assert members.numbers.shape == (0, 6)


def test_read_zip_directory__folders_are_no_members():
    assert read(make_zip({"a/": b"", "a/b.txt": b"1"})).names == ["a/b.txt"]


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\\/\0:"), min_size=1, max_size=30),
        st.binary(max_size=50),
        max_size=8,
    ),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
def test_read_zip_directory__any_names_comment_and_prefix(content, comment, prefix):
    assume(b"PK" not in prefix)  # zipfile itself takes those two bytes for a record of its own
    buffer = io.BytesIO()
    buffer.write(prefix)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = comment.replace(b"PK", b"pk")
        for name, data in content.items():
            archive.writestr(name, data)
    assert_same_as_zipfile(buffer.getvalue())


def test_read_zip_directory__signature_inside_a_name_and_a_member_comment():
    info = zipfile.ZipInfo("PK\x01\x02 odd.png")
    info.comment = b"PK\x01\x02" * 30
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("before.png", b"1")
        archive.writestr(info, b"2")
        archive.writestr("after.png", b"3")
    assert_same_as_zipfile(buffer.getvalue())


@pytest.fixture
def zip64(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small zip with all the records of one that has outgrown 32 bits."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    return make_zip(CONTENT | {"e.bin": b"y" * 300})


def test_read_zip_directory__zip64_extra_fields_and_end_record(zip64: bytes):
    assert b"PK\x06\x06" in zip64
    assert_same_as_zipfile(zip64)


def test_read_zip_directory__zip64_behind_other_bytes(zip64: bytes):
    members, shifted = read(zip64), read(b"#!/bin/sh\n" + zip64)
    assert shifted.names == members.names
    assert (shifted.numbers[:, 0] == members.numbers[:, 0] + 10).all()


def test_read_zip_directory__zip64_end_record_that_is_damaged(zip64: bytes):
    with raises(ZipFormatError, "its zip64 end record is missing or damaged"):
        read(zip64.replace(b"PK\x06\x06", b"PK\x00\x00"))


def test_read_zip_directory__zip64_field_that_is_damaged(zip64: bytes):
    at = zip64.index(b"e.bin", zip64.index(b"PK\x01\x02")) + len(b"e.bin")
    assert zip64[at : at + 2] == b"\x01\x00"
    damaged = zip64[: at + 2] + b"\x04\x00" + zip64[at + 4 :]
    with raises(ZipFormatError, "a zip64 field of its directory is damaged"):
        read(damaged)


def test_read_zip_directory__last_record_too_long():
    data = make_zip(CONTENT)
    last = data.rindex(b"PK\x01\x02")
    with raises(ZipFormatError, "its directory is cut short"):
        read(data[: last + 30] + b"\xff\x00" + data[last + 32 :])


def test_read_zip_directory__backslashes_of_windows_tools():
    data = make_zip({"a/b.txt": b"1"}).replace(b"a/b.txt", b"a\\b.txt")
    assert read(data).names == ["a/b.txt"]


def test_read_zip_directory__folder_that_was_packed_in_front_of_names():
    assert read(make_zip({"./a/b.txt": b"1", "./c": b""})).names == ["a/b.txt", "c"]


def test_read_zip_directory__every_truncation_is_noticed():
    data = make_zip(CONTENT)
    for size in range(len(data)):
        with pytest.raises(ZipFormatError):
            read(data[:size])


def test_read_zip_directory__missing_bytes_in_the_middle():
    data = make_zip(CONTENT)
    with raises(ZipFormatError, "cut short"):
        read(data[:50] + data[90:])


def test_read_zip_directory__damaged_record():
    data = make_zip(CONTENT)
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    with raises(ZipFormatError, "its directory is damaged at record 1 of 3"):
        read(data[:second] + b"XX" + data[second + 2 :])


def with_count(data: bytes, count: int) -> bytes:
    """Return the zip with another number of members in its end record."""
    end = data.rindex(b"PK\x05\x06")
    return data[: end + 8] + struct.pack("<2H", count, count) + data[end + 12 :]


@pytest.mark.parametrize("signature_in_a_name", [False, True])
def test_read_zip_directory__more_members_than_16_bits_count(signature_in_a_name: bool):
    """As macOS writes them: without the zip64 record, the number of members modulo 65536."""
    names = [f"{i}.png" for i in range(65538)]
    names[1] = "PK\x01\x02.png" if signature_in_a_name else names[1]
    data = make_zip(dict.fromkeys(names, b""))
    end64 = data.rindex(b"PK\x06\x06")
    end = data.rindex(b"PK\x05\x06")
    assert read(with_count(data[:end64] + data[end:], 2)).names == names


@pytest.mark.parametrize("count", [0, 2, 4, 65535])
def test_read_zip_directory__count_that_is_wrong(count: int):
    with raises(ZipFormatError, f"its directory is damaged at record 3 of {count}"):
        read(with_count(make_zip(CONTENT), count))


def test_read_zip_directory__zip64_numbers_beyond_all_memory(zip64: bytes):
    end = zip64.index(b"PK\x06\x06")
    with raises(ZipFormatError, "its directory is damaged at record 4 of "):
        read(zip64[: end + 24] + struct.pack("<2Q", 1 << 60, 1 << 60) + zip64[end + 40 :])
    at = zip64.index(b"e.bin", zip64.index(b"PK\x01\x02")) + len(b"e.bin")
    with raises(ZipFormatError, "a zip64 field of its directory is damaged"):
        read(zip64[: at + 4] + b"\xff" * 8 + zip64[at + 12 :])


def test_read_zip_directory__part_of_a_split_zip():
    data = bytearray(make_zip(CONTENT))
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<H", data, end + 4, 1)
    with raises(ZipFormatError, "one part of a zip that was split"):
        read(bytes(data))
