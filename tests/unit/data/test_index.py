"""The index holds arrays only, is cached, and notices every change of what it was built from."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from support.archives import make_old, pack, write_ade20k, write_folder, write_pascal_voc
from support.errors import raises
from vfmseg.data import index as index_module
from vfmseg.data.archives import open_source
from vfmseg.data.catalog import SPECS
from vfmseg.data.folder_plan import plan_folder
from vfmseg.data.index import Index, MemberTable, Names, load_or_build_index
from vfmseg.data.locate import plan_split
from vfmseg.data.pairing import Plan, Ref
from vfmseg.errors import DataError


def ade(path: Path) -> Plan:
    return plan_split(SPECS["ade20k"], path, "train")


class Builds:
    """Counts how often an index is built rather than loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = index_module.build_index

        def spy(*args: object) -> Index:
            self.count += 1
            return original(*args)

        monkeypatch.setattr(index_module, "build_index", spy)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    return Builds(monkeypatch)


def assert_equal(a: Index, b: Index) -> None:
    for one, other in ((a.images, b.images), (a.labels, b.labels)):
        for column in ("text", "ends", "sources", "numbers"):
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
    assert (a.skipped, a.sentence) == (b.skipped, b.sentence)


def test_index__is_cached_and_equal(tmp_path: Path, builds: Builds):
    write_ade20k(tmp_path)
    first = load_or_build_index(ade(tmp_path))
    second = load_or_build_index(ade(tmp_path))
    assert builds.count == 1
    assert_equal(first, second)


def test_index__changed_archive_is_read_again(tmp_path: Path, builds: Builds):
    write_ade20k(tmp_path, num_train=2)
    load_or_build_index(ade(tmp_path))
    write_ade20k(tmp_path, num_train=3)
    assert len(load_or_build_index(ade(tmp_path))) == 3
    assert builds.count == 2


def test_index__folder_is_cached_once_it_is_quiet(tmp_path: Path, builds: Builds):
    write_folder(tmp_path)
    for _ in range(2):  # written just now: another file could still come within the same tick of the clock
        load_or_build_index(plan_folder(tmp_path, "train")[0])
    assert builds.count == 2
    make_old(tmp_path)
    for _ in range(3):
        load_or_build_index(plan_folder(tmp_path, "train")[0])
    assert builds.count == 3


def test_index__folder_notices_files_added_and_removed(tmp_path: Path):
    write_folder(tmp_path, num_train=3)
    make_old(tmp_path)
    assert len(load_or_build_index(plan_folder(tmp_path, "train")[0])) == 3
    (tmp_path / "images/train/t001.jpg").unlink()
    (tmp_path / "masks/train/t001.png").unlink()
    assert len(load_or_build_index(plan_folder(tmp_path, "train")[0])) == 2


@pytest.mark.parametrize("name", ["own", "voc"])
def test_index__folder_notices_an_edited_list(tmp_path: Path, name: str, builds: Builds):
    if name == "own":
        write_folder(tmp_path, image_name="images/{stem}.jpg", label_name="masks/{stem}.png", num_val=0)
        list_file = tmp_path / "train.txt"
        list_file.write_text("t000\nt001\n")
    else:
        write_pascal_voc(tmp_path, packing="folder")
        list_file = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
        list_file.write_text("2007_000001\n2007_000002\n")

    def count() -> int:
        voc = plan_split(SPECS["pascal_voc"], tmp_path, "train") if name == "voc" else None
        return len(load_or_build_index(voc or plan_folder(tmp_path, "train")[0]))

    make_old(tmp_path)
    assert count() == count() == 2
    assert builds.count == 1
    list_file.write_text(list_file.read_text().splitlines()[0])  # leaves the folder's own time as it was
    assert count() == 1


def test_index__damaged_cache_is_built_again(
    tmp_path: Path, cache_folder: Path, caplog: pytest.LogCaptureFixture
):
    write_ade20k(tmp_path)
    first = load_or_build_index(ade(tmp_path))
    (cached,) = (cache_folder / "index").iterdir()
    for damaged in (b"", b"nonsense", cached.read_bytes()[:-300]):
        cached.write_bytes(damaged)
        assert_equal(load_or_build_index(ade(tmp_path)), first)
        assert "cannot be used" in caplog.text
        caplog.clear()


def test_index__cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_ade20k(tmp_path / "data")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VFMSEG_CACHE", str(tmp_path / "file"))  # no folder can be made in a file
    assert len(load_or_build_index(ade(tmp_path / "data"))) == 4
    assert "it will be built again next time. Set VFMSEG_CACHE" in caplog.text


def test_index__full_disk_leaves_no_half_written_file(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(file: object, **arrays: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    write_ade20k(tmp_path)
    load_or_build_index(ade(tmp_path))
    assert "No space left on device" in caplog.text
    assert list((cache_folder / "index").iterdir()) == []


def test_index__pickles_small_and_without_objects(tmp_path: Path):
    write_ade20k(tmp_path, num_train=50, size=(4, 4))
    index = load_or_build_index(ade(tmp_path))
    assert len(pickle.dumps(index)) < 50 * 260 + 2000
    assert_equal(pickle.loads(pickle.dumps(index)), index)


def test_member_table__names_of_any_kind(tmp_path: Path):
    names = ["plain.png", "ünï/cødé.png", "", "end.png"]
    source = open_source(pack({n: n.encode() for n in names if n}, tmp_path / "d", "folder"))
    listing = source.list_members()
    wanted = ["end.png", "ünï/cødé.png", "plain.png"]
    table = MemberTable.gather([Ref(0, listing.names.index(n)) for n in wanted], [listing])
    assert [table.name(i) for i in range(3)] == wanted
    assert source.read(table.member(1)) == "ünï/cødé.png".encode()
    assert list(Names(table.take(np.array([2, 0])))) == ["plain.png", "end.png"]


def test_names__behave_like_a_list(tmp_path: Path):
    write_ade20k(tmp_path)
    names = load_or_build_index(ade(tmp_path)).names
    assert len(names) == 4
    assert names[-1] == names[3] == list(names)[3]
    assert names[1:3] == list(names)[1:3]
    assert names[0] in names
    with pytest.raises(IndexError):
        names[4]


def test_index__no_pairs_at_all(tmp_path: Path):
    pack({"readme.txt": b"", "x/a.jpg": b""}, tmp_path, "folder")
    with raises(
        DataError,
        "holds no images with masks",
        "Inside: ./ (1 files), x/ (1 files)",
        "without a mask: x/a.jpg",
    ):
        load_or_build_index(plan_folder(tmp_path, "train")[0])


def test_member_table__counts_from_the_end_like_a_list(tmp_path: Path):
    write_ade20k(tmp_path, num_train=2)
    images = load_or_build_index(ade(tmp_path)).images
    assert [images.name(-2), images.name(-1)] == [images.name(0), images.name(1)]
    assert images.member(-2) == images.member(0)
