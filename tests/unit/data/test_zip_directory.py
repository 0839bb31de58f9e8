"""The zip directory reader agrees with the standard library on anything that library writes."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
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


def test_read_zip_directory__zip64_extra_fields_and_end_record(monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    data = make_zip(CONTENT | {"e.bin": b"y" * 300})
    assert b"PK\x06\x06" in data
    assert_same_as_zipfile(data)


def test_read_zip_directory__backslashes_of_windows_tools():
    data = make_zip({"a/b.txt": b"1"}).replace(b"a/b.txt", b"a\\b.txt")
    assert read(data).names == ["a/b.txt"]


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


def test_read_zip_directory__part_of_a_split_zip():
    data = bytearray(make_zip(CONTENT))
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<H", data, end + 4, 1)
    with raises(ZipFormatError, "one part of a zip that was split"):
        read(bytes(data))
