"""One reader over zip, zip in zip, tar, compressed tar and folders, and its errors."""

from __future__ import annotations

import bz2
import errno
import io
import logging
import lzma
import os
import pickle
import random
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.archives import Packing, make_old, pack
from support.errors import raises
from vfmseg.data import cache
from vfmseg.data.archives import open_source
from vfmseg.data.source import Member, Source, summarise_folders
from vfmseg.errors import ArchiveError, ResourceError

FILES = {"top/a.png": b"first" * 100, "top/sub/b.jpg": bytes(range(256)) * 20, "c.txt": b""}


def noise(length: int, seed: int = 0) -> bytes:
    """Return bytes that no compression makes shorter, the same in every process."""
    return random.Random(seed).randbytes(length)


def content(source: Source) -> dict[str, bytes]:
    listing = source.list_members()
    return {name: source.read(listing.member(i)) for i, name in enumerate(listing.names)}


@pytest.mark.parametrize("packing", ["zip", "tar", "tar.gz", "folder"])
def test_open_source__reads_every_member(tmp_path: Path, packing: Packing):
    source = open_source(pack(FILES, tmp_path / "data", packing))
    assert content(source) == FILES


def test_open_source__deflated_zip(tmp_path: Path):
    path = pack(FILES, tmp_path / "a.zip", "zip", compression=zipfile.ZIP_DEFLATED)
    assert content(open_source(path)) == FILES


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("outer", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_open_source__zip_inside_a_zip(tmp_path: Path, outer: int, compression: int):
    inner = pack(FILES, tmp_path / "inner.zip", "zip", compression=compression).read_bytes()
    pack({"sub/inner.zip": inner}, tmp_path / "outer.zip", "zip", compression=outer)
    source = open_source(tmp_path / "outer.zip" / "sub" / "inner.zip")
    assert content(source) == FILES
    assert source.title == f"{tmp_path}/outer.zip/sub/inner.zip"


def test_open_source__inner_zip_that_is_missing(tmp_path: Path):
    pack({"sub/inner.zip": b"", "x": b""}, tmp_path / "outer.zip", "zip")
    with raises(ArchiveError, "no member 'sub/iner.zip'. Zip files inside: sub/inner.zip. Did you mean"):
        open_source(tmp_path / "outer.zip/sub/iner.zip")


def test_open_source__inner_zip_that_is_damaged_or_encrypted(tmp_path: Path):
    inner = pack(FILES, tmp_path / "inner.zip", "zip").read_bytes()
    path = pack({"inner.zip": inner}, tmp_path / "outer.zip", "zip", compression=zipfile.ZIP_DEFLATED)
    packed = bytearray(path.read_bytes())
    packed[120] ^= 0xFF
    path.write_bytes(packed)
    with raises(ArchiveError, "outer.zip: inner.zip is damaged: ", " Fetch the archive again"):
        open_source(path / "inner.zip")
    packed[120] ^= 0xFF
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(packed)
    with raises(ArchiveError, "outer.zip: inner.zip is encrypted. Unpack the archive with its password"):
        open_source(path / "inner.zip")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_open_source__inner_zip_whose_name_is_written_in_another_way(tmp_path: Path, compression: int):
    inner = pack(FILES, tmp_path / "inner.zip", "zip").read_bytes()
    path = pack({"./a/inner.zip": inner}, tmp_path / "outer.zip", "zip", compression=compression)
    assert content(open_source(path / "a" / "inner.zip")) == FILES
    path.write_bytes(path.read_bytes().replace(b"./a/inner.zip", b".\\a\\inner.zip"))
    assert content(open_source(path / "a" / "inner.zip")) == FILES


def test_open_source__archive_inside_a_tar(tmp_path: Path):
    pack({"inner.zip": b""}, tmp_path / "outer.tar", "tar")
    with raises(ArchiveError, "archives inside a tar file cannot be read. Unpack"):
        open_source(tmp_path / "outer.tar/inner.zip")


def test_open_source__compressed_tar_is_decompressed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = pack(FILES, tmp_path / "a.tar.gz", "tar.gz")
    open_source(path)
    assert "decompressing it once to" in caplog.text
    caplog.clear()
    assert content(open_source(path)) == FILES
    assert caplog.text == ""


def test_open_source__truncated_compressed_tar_leaves_nothing_behind(tmp_path: Path, cache_folder: Path):
    path = pack(FILES, tmp_path / "a.tar.gz", "tar.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with raises(ArchiveError, "cannot be decompressed: ", " Fetch it again"):
        open_source(path)
    assert list((cache_folder / "unpacked").iterdir()) == []


def test_open_source__compressed_tar_in_a_folder_whose_name_is_not_utf_8(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(
        logging.CRITICAL, "vfmseg"
    )  # pytest-xdist cannot carry the name from its worker in a log record
    folder = tmp_path / os.fsdecode(b"stra\xdfe")
    assert content(open_source(pack(FILES, folder / "a.tar.gz", "tar.gz"))) == FILES


@pytest.mark.parametrize(("ending", "compress"), [("bz2", bz2.compress), ("xz", lzma.compress)])
def test_open_source__damaged_compressed_tar(tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]):
    packed = bytearray(compress(pack({"a": noise(9000)}, tmp_path / "a.tar", "tar").read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / f"a.tar.{ending}").write_bytes(packed)
    with raises(ArchiveError, f"a.tar.{ending} cannot be decompressed: ", " Fetch it again"):
        open_source(tmp_path / f"a.tar.{ending}").list_members()


def test_open_source__cache_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = pack(FILES, tmp_path / "a.tar.gz", "tar.gz")
    monkeypatch.setenv("VFMSEG_CACHE", str(path))
    with raises(ResourceError, "a.tar.gz must be decompressed once", "Not a directory. Set VFMSEG_CACHE"):
        open_source(path)


def test_open_source__no_room_to_decompress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "write_atomically", full)
    path = pack(FILES, tmp_path / "a.tar.gz", "tar.gz")
    with raises(ResourceError, "No space left on device. Set VFMSEG_CACHE to a folder with room"):
        open_source(path)


def test_open_source__cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(*args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cache, "write_atomically", denied)
    path = pack(FILES, tmp_path / "a.tar.gz", "tar.gz")
    with raises(ResourceError, "the folder cannot be written. Set VFMSEG_CACHE"):
        open_source(path)


def test_open_source__kind_is_told_by_content(tmp_path: Path):
    pack(FILES, tmp_path / "a.tar", "zip")
    assert content(open_source(tmp_path / "a.tar")) == FILES


def test_open_source__missing_path_offers_the_nearest(tmp_path: Path):
    (tmp_path / "cityscapes").mkdir()
    with raises(ArchiveError, "there is no 'citscapes' in ", " Did you mean cityscapes?"):
        open_source(tmp_path / "citscapes")


@pytest.mark.parametrize("path", ["x" * 300, "~nobody_of_that_name/data", "a\0b"])
def test_open_source__path_that_no_system_knows(path: str):
    with raises(ArchiveError, f"{path} does not exist: there is no "):
        open_source(path)


def test_open_source__folder_on_the_way_that_is_barred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", denied)
    with raises(ArchiveError, f"{tmp_path}/x cannot be reached: {tmp_path}: Permission denied"):
        open_source(tmp_path / "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither a zip nor a tar file: it is empty"),
        (b"hello world", "it starts with b'hello wo'"),
        (b"<!DOCTYPE html><html>login</html>", "it looks like a web page"),
    ],
)
def test_open_source__no_archive(tmp_path: Path, data: bytes, message: str):
    (tmp_path / "x.zip").write_bytes(data)
    with raises(ArchiveError, message):
        open_source(tmp_path / "x.zip")


def test_zip__cut_short(tmp_path: Path):
    path = pack(FILES, tmp_path / "a.zip", "zip")
    path.write_bytes(path.read_bytes()[:-200])
    with raises(ArchiveError, "a.zip is not a complete zip file: its end is missing", "Fetch it again"):
        open_source(path).list_members()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("data", [noise(5000), b"compressible" * 900], ids=["noise", "compressible"])
def test_zip__damaged_member_is_named(tmp_path: Path, data: bytes, compression: int):
    path = pack({"top/a.png": data}, tmp_path / "a.zip", "zip", compression=compression)
    packed = bytearray(path.read_bytes())
    packed[packed.index(b"top/a.png") + 12] ^= 0xFF
    path.write_bytes(packed)
    with raises(ArchiveError, "a.zip: top/a.png is damaged: ", " Fetch the archive again"):
        content(open_source(path))


def test_zip__header_that_is_not_where_the_directory_says(tmp_path: Path):
    path = pack(FILES, tmp_path / "a.zip", "zip")
    source = open_source(path)
    member = source.list_members().member(0)._replace(offset=3)
    with raises(ArchiveError, "its header is not where the directory says"):
        source.read(member)


def test_zip__encrypted_member(tmp_path: Path):
    source = open_source(pack(FILES, tmp_path / "a.zip", "zip"))
    member = source.list_members().member(0)._replace(flags=1)
    with raises(ArchiveError, "top/a.png is encrypted. Unpack the archive with its password"):
        source.read(member)


def test_zip__unknown_compression(tmp_path: Path):
    path = pack(FILES, tmp_path / "a.zip", "zip", compression=zipfile.ZIP_BZIP2)
    with raises(ArchiveError, "is compressed by zip method 12; stored (0) and deflated (8)"):
        content(open_source(path))


def test_zip__size_beyond_all_memory(tmp_path: Path):
    path = pack({"a.png": bytes(5000)}, tmp_path / "a.zip", "zip", compression=zipfile.ZIP_DEFLATED)
    source = open_source(path)
    with raises(ArchiveError, "a.png is damaged: its bytes do not match its checksum"):
        source.read(source.list_members().member(0)._replace(size=1 << 62))


def test_zip__long_local_extra_field(tmp_path: Path):
    info = zipfile.ZipInfo("a.png")
    info.extra = (0x9999).to_bytes(2, "little") + (3000).to_bytes(2, "little") + b"e" * 3000
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"pixels" * 50)
        archive.writestr("b.png", b"last")
    assert content(open_source(tmp_path / "a.zip")) == {"a.png": b"pixels" * 50, "b.png": b"last"}


def test_tar__older_than_the_ustar_format(tmp_path: Path):
    path = pack({"a.png": b"1234"}, tmp_path / "a.tar", "tar")
    data = bytearray(path.read_bytes())
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8  # the checksum counts itself as blanks
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    assert content(open_source(path)) == {"a.png": b"1234"}


def test_tar__cut_short(tmp_path: Path):
    path = pack({"a.png": b"x" * 5000}, tmp_path / "a.tar", "tar")
    path.write_bytes(path.read_bytes()[:3000])
    with raises(ArchiveError, "a.tar is not a complete tar file"):
        open_source(path).list_members()


def test_tar__cut_short_between_members(tmp_path: Path):
    path = pack({"a.png": b"x" * 512, "b.png": b"y" * 512}, tmp_path / "a.tar", "tar")
    whole = path.read_bytes()
    for size in (1024, 1024 + 100):  # before the second header, and inside it
        path.write_bytes(whole[:size])
        with raises(
            ArchiveError, "a.tar is not a complete tar file: it was cut short or is damaged at byte 1,024"
        ):
            open_source(path).list_members()


def test_tar__damaged_header_does_not_end_it(tmp_path: Path):
    path = pack({"a.png": b"x" * 512, "b.png": b"y" * 512, "c.png": b""}, tmp_path / "a.tar", "tar")
    packed = bytearray(path.read_bytes())
    packed[1024] ^= 0xFF
    path.write_bytes(packed)
    with raises(ArchiveError, "was cut short or is damaged at byte 1,024 of 10,240. Fetch it again"):
        open_source(path).list_members()


def test_tar__sparse_file(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("a.bmp")
        info.type = tarfile.GNUTYPE_SPARSE
        archive.addfile(info)
    with raises(ArchiveError, "a.tar: a.bmp is stored as a sparse file", "Unpack "):
        open_source(tmp_path / "a.tar").list_members()


def test_tar__cut_short_after_listing(tmp_path: Path):
    path = pack({"a.png": b"x" * 5000}, tmp_path / "a.tar", "tar")
    source = open_source(path)
    member = source.list_members().member(0)
    path.write_bytes(path.read_bytes()[:3000])
    with raises(ArchiveError, "a.tar: a.png is cut short"):
        source.read(member)


def test_tar__hard_links_and_long_names(tmp_path: Path):
    long_name = "folder/" * 30 + "x.png"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo(f"./{long_name}")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.LNKTYPE, f"./{long_name}"
        archive.addfile(link)
    assert content(open_source(tmp_path / "a.tar")) == {long_name: b"abc", "link.png": b"abc"}


def test_folder__links_are_followed_and_loops_end(tmp_path: Path):
    pack({"data/train/a.png": b"1"}, tmp_path, "folder")
    (tmp_path / "data" / "val").symlink_to("train")
    (tmp_path / "data" / "train" / "up").symlink_to("..")
    names = open_source(tmp_path / "data").list_members().names
    assert {"train/a.png", "val/a.png"} <= set(names)
    assert len(names) < 10


def test_folder__only_the_folders_asked_for(tmp_path: Path):
    pack({"a/x": b"", "a/b/y": b"", "c/z": b""}, tmp_path, "folder")
    listing = open_source(tmp_path).list_members(["a", "a/b", "missing"])
    assert sorted(listing.names) == ["a/b/y", "a/x"]


def test_folder__file_that_has_gone(tmp_path: Path):
    source = open_source(pack({"a.png": b"1"}, tmp_path / "d", "folder"))
    member = source.list_members().member(0)
    (tmp_path / "d" / "a.png").unlink()
    with raises(ArchiveError, "a.png was there when the data set was opened, and is gone"):
        source.read(member)


def test_folder__what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = open_source(pack({"d/a.png": b"1"}, tmp_path, "folder"))
    with raises(ArchiveError, f"{tmp_path}/d cannot be read: Is a directory"):
        source.read(Member("d"))
    with raises(ArchiveError, f"{tmp_path}/gone.png cannot be read: No such file or directory"):
        source.stamp_of(["gone.png"])

    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with raises(ArchiveError, f"{tmp_path} cannot be listed: Permission denied"):
        source.list_members()


def test_folder__removed_folder_is_a_change(tmp_path: Path):
    source = open_source(pack({"d/a.png": b"1"}, tmp_path, "folder"))
    stamp = source.list_members().stamp
    (tmp_path / "d/a.png").unlink()
    (tmp_path / "d").rmdir()
    assert not source.is_current(stamp)


def test_folder__stamp_notices_added_files_and_settles(tmp_path: Path):
    pack({"a/x": b""}, tmp_path, "folder")
    source = open_source(tmp_path)
    assert not source.is_settled(source.list_members().stamp)
    make_old(tmp_path)
    stamp = source.list_members().stamp
    assert source.is_settled(stamp)
    assert source.is_current(stamp)
    pack({"a/y": b""}, tmp_path, "folder")
    assert not source.is_current(stamp)


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_archive__stamp_notices_a_new_file(tmp_path: Path, packing: Packing):
    path = pack(FILES, tmp_path / "a", packing)
    source = open_source(path)
    stamp = source.list_members().stamp
    assert source.is_current(stamp)
    pack(FILES | {"more": b"x" * 20000}, path, packing)
    assert not source.is_current(stamp)


def test_source__pickles_small_and_reads_again(tmp_path: Path):
    source = open_source(pack(FILES, tmp_path / "a.zip", "zip"))
    assert content(source) == FILES
    data = pickle.dumps(source)
    assert len(data) < 500
    assert content(pickle.loads(data)) == FILES


def test_source__threads_share_one_handle(tmp_path: Path):
    files = {f"{i}.bin": noise(2000, i) for i in range(50)}
    source = open_source(pack(files, tmp_path / "a.zip", "zip"))
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(content(source) == files)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 6


def test_source__every_process_opens_the_file_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = pack(FILES, tmp_path / "a.zip", "zip")
    opened: list[Path] = []
    original = os.open

    def spy(path: Path, flags: int) -> int:
        opened.append(path)
        return original(path, flags)

    source = open_source(path)
    monkeypatch.setattr(os, "open", spy)
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as after a fork: the handle is another process's
    assert content(source) == content(source) == FILES
    assert opened == [path]
    monkeypatch.setattr(os, "getpid", lambda: -2)
    assert content(source) == content(source) == FILES
    assert opened == [path, path]


def test_source__archive_that_has_gone(tmp_path: Path):
    path = pack(FILES, tmp_path / "a.zip", "zip")
    source = open_source(path)
    listing = source.list_members()
    fresh = pickle.loads(pickle.dumps(source))
    path.unlink()
    with raises(ArchiveError, "a.zip cannot be read: No such file"):
        fresh.read(listing.member(0))


def test_summarise_folders__fullest_first():
    names = ["a/1", "a/2", "b/1", "top"]
    assert summarise_folders(names) == "a/ (2 files), ./ (1 files), b/ (1 files)"
    assert summarise_folders(names, limit=1) == "a/ (2 files) and 2 more folders"
    assert summarise_folders([]) == "nothing"


def test_cache_dir__home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VFMSEG_CACHE", "~/kept")
    assert cache.cache_dir() == tmp_path / "kept"
    monkeypatch.delenv("VFMSEG_CACHE")
    assert cache.cache_dir() == tmp_path / ".cache" / "vfmseg"
