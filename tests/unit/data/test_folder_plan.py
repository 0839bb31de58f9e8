"""Somebody's own data: splits by folders, lists, patterns or a draw, and the YAML file where it may lie."""

from __future__ import annotations

import io
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.archives import Packing, draw_label, encode, pack, write_folder
from support.errors import raises
from vfmseg.data.folder_plan import plan_folder
from vfmseg.data.index import Index, load_or_build_index
from vfmseg.errors import ArchiveError, DataError

FLAT = {"image_name": "images/{stem}.jpg", "label_name": "masks/{stem}.png"}


def index_of(path: Path, split: str, **options: float) -> Index:
    return load_or_build_index(plan_folder(path, split, **options)[0])


def stems(index: Index) -> list[str]:
    return [name.rpartition("/")[2].rpartition(".")[0] for name in index.names]


def test_plan_folder__sentence_says_what_was_found(tmp_path: Path):
    write_folder(tmp_path, num_train=3)
    index = index_of(tmp_path, "train")
    expected = "train: 3 images with masks, images/train/*.jpg with masks/train/*.png (3 train)."
    assert index.sentence == f"{tmp_path} {expected}"


@pytest.mark.parametrize("packing", ["zip", "tar", "tar.gz"])
def test_plan_folder__inside_an_archive(tmp_path: Path, packing: Packing):
    write_folder(tmp_path / "d")
    files = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert stems(index_of(pack(files, tmp_path / "a", packing), "val")) == ["v000", "v001"]


def test_plan_folder__flat_folder_is_all_training(tmp_path: Path):
    write_folder(tmp_path, **FLAT)
    assert len(index_of(tmp_path, "train")) == 6
    with raises(
        DataError, "has no val split; found: 6 without a split", "Name a folder val", "val_fraction: 0.1"
    ):
        index_of(tmp_path, "val")


def test_plan_folder__val_fraction_divides_and_says_so(tmp_path: Path):
    write_folder(tmp_path, **FLAT, num_train=20, num_val=0)
    train, val = (index_of(tmp_path, split, val_fraction=0.25, seed=3) for split in ("train", "val"))
    assert (len(train), len(val)) == (15, 5)
    assert set(stems(train)).isdisjoint(stems(val))
    assert "5 of 20 images with masks (val_fraction 0.25, seed 3)" in val.sentence
    assert stems(val) == stems(index_of(tmp_path, "val", val_fraction=0.25, seed=3))
    assert stems(val) != stems(index_of(tmp_path, "val", val_fraction=0.25, seed=4))


def test_plan_folder__val_fraction_in_the_yaml_file(tmp_path: Path):
    write_folder(tmp_path, **FLAT, num_train=10, num_val=0)
    (tmp_path / "dataset.yaml").write_text("names: [a, b, c]\nval_fraction: 0.2\nseed: 1\n")
    assert (len(index_of(tmp_path, "train")), len(index_of(tmp_path, "val"))) == (8, 2)


def test_plan_folder__val_fraction_beside_a_val_split(tmp_path: Path):
    write_folder(tmp_path)
    with raises(DataError, "has a val split of its own: leave out val_fraction"):
        index_of(tmp_path, "train", val_fraction=0.5)


def test_plan_folder__val_fraction_of_too_few(tmp_path: Path):
    write_folder(tmp_path, **FLAT, num_train=3, num_val=0)
    with raises(DataError, "val_fraction 0.1 of 3 images leaves train or val empty"):
        index_of(tmp_path, "val", val_fraction=0.1)


def test_plan_folder__split_without_masks(tmp_path: Path):
    write_folder(tmp_path)
    pack({"images/test/x.jpg": b""}, tmp_path, "folder")
    with raises(DataError, "has no test split; found: 4 train, 2 val. Its 1 test images have no masks."):
        index_of(tmp_path, "test")
    assert index_of(tmp_path, "train").skipped == ()


def test_plan_folder__pictures_outside_are_mentioned(tmp_path: Path):
    write_folder(tmp_path)
    pack({"figures/plot.png": b"", "logo.png": b""}, tmp_path, "folder")
    index = index_of(tmp_path, "train")
    assert "Not used: 2 pictures that lie in no folder of images, masks or splits." in index.sentence


def test_plan_folder__pairs_without_split_beside_splits_are_mentioned(tmp_path: Path):
    write_folder(tmp_path)
    pack({"images/a.jpg": b"", "masks/a.png": b""}, tmp_path, "folder")
    assert "Not used: 1 pictures" in index_of(tmp_path, "train").sentence


def write_pairs_list(root: Path) -> None:
    (root / "train.txt").write_text("images/t001.jpg\tmasks/t001.png\n\nimages/t000.jpg\tmasks/t000.png\n")
    (root / "val.txt").write_text("images/v000.jpg masks/v000.png\n")


def write_stem_list(root: Path) -> None:
    (root / "train.txt").write_text("t001\nt000\n")
    (root / "val.txt").write_text("images/v000.jpg\n")


def write_file_name_list(root: Path) -> None:
    (root / "lists").mkdir()
    (root / "lists/train.txt").write_text("./images/t001.jpg\nt000.jpg\n")
    (root / "lists/val.txt").write_text("v000.jpg\n")


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_plan_folder__description_inside_an_archive(tmp_path: Path, packing: Packing):
    write_folder(tmp_path / "d")
    files = {p.relative_to(tmp_path / "d").as_posix(): p.read_bytes() for p in (tmp_path / "d").rglob("*.*")}
    description = plan_folder(pack(files, tmp_path / "a", packing), "val")[1]
    assert description is not None
    assert description.label_map.label_space.names == ("ground", "box", "cone")


@pytest.mark.parametrize("write_lists", [write_pairs_list, write_stem_list, write_file_name_list])
def test_plan_folder__split_lists(tmp_path: Path, write_lists: Callable[[Path], None]):
    write_folder(tmp_path, **FLAT)
    write_lists(tmp_path)
    train = index_of(tmp_path, "train")
    assert stems(train) == ["t001", "t000"]
    assert train.labels.name(0) == "masks/t001.png"
    assert stems(index_of(tmp_path, "val")) == ["v000"]
    assert "train.txt" in train.sentence


def test_plan_folder__list_in_its_own_folder_may_be_relative_to_it(tmp_path: Path):
    write_folder(tmp_path / "data", **FLAT, names=None)
    (tmp_path / "data/train.txt").write_text("images/t000.jpg\tmasks/t000.png\n")
    assert stems(index_of(tmp_path, "train")) == ["t000"]


def test_plan_folder__lists_of_pairs_settle_what_names_leave_open(tmp_path: Path):
    write_folder(tmp_path, **FLAT)
    pack({"masks/t000_mask.png": encode(draw_label([0, 1], (4, 4), 0), "PNG")}, tmp_path, "folder")
    with raises(DataError, "has two masks", "list the pairs in train.txt"):
        index_of(tmp_path, "train")
    (tmp_path / "train.txt").write_text("images/t000.jpg\tmasks/t000_mask.png\n")
    assert index_of(tmp_path, "train").labels.name(0) == "masks/t000_mask.png"


def test_plan_folder__file_names_with_blanks_in_lists(tmp_path: Path):
    write_folder(tmp_path, image_name="images/my {stem}.jpg", label_name="masks/my {stem}.png")
    (tmp_path / "train.txt").write_text("images/my t000.jpg\tmasks/my t000.png\n")
    (tmp_path / "val.txt").write_text("images/my v000.jpg\n")
    assert stems(index_of(tmp_path, "train")) == ["my t000"]
    assert stems(index_of(tmp_path, "val")) == ["my v000"]


def test_plan_folder__lists_of_images_do_not_overrule_split_folders(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / "train.txt").write_text("images/train/t000.jpg\n")
    assert len(index_of(tmp_path, "train")) == 4


def test_plan_folder__only_the_other_split_has_a_list(tmp_path: Path):
    write_folder(tmp_path, **FLAT)
    (tmp_path / "val.txt").write_text("v000\n")
    with raises(DataError, "has val.txt but no train.txt. Add it, or remove the others"):
        index_of(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\tc\n", "train.txt: 'a b c' is not `image<TAB>mask`"),
        ("t000\nt000\n", "train.txt lists images/t000.jpg more than once"),
        ("nowhere\n", "train.txt lists 1 lines and none fits the files there; the first is 'nowhere'"),
        ("", "train.txt lists 0 lines"),
    ],
)
def test_plan_folder__mistakes_in_lists(tmp_path: Path, text: str, message: str):
    write_folder(tmp_path, **FLAT)
    (tmp_path / "train.txt").write_text(text)
    with raises(DataError, message):
        index_of(tmp_path, "train")


def test_plan_folder__listed_files_that_are_not_there(tmp_path: Path):
    write_folder(tmp_path, **FLAT)
    (tmp_path / "train.txt").write_text("images/t000.jpg\tmasks/t000.png\nimages/gone.jpg\tmasks/gone.png\n")
    (skipped,) = index_of(tmp_path, "train").skipped
    assert skipped.name == "images/gone.jpg masks/gone.png"
    assert skipped.reason == "is listed in train.txt, but there is no such file"


def test_plan_folder__patterns_day_and_dusk(tmp_path: Path):
    write_folder(tmp_path / "d", num_train=4, num_val=3, names=None)
    (tmp_path / "dusk.yaml").write_text(
        "path: d\nnames: [a, b, c]\ntrain: ['*', '!v*', '!t000*']\nval: ['v001*', 't000*']\n"
    )
    train, val = (index_of(tmp_path / "dusk.yaml", split) for split in ("train", "val"))
    assert stems(train) == ["t001", "t002", "t003"]
    assert sorted(stems(val)) == ["t000", "v001"]
    assert "chosen by v001*, t000*" in val.sentence


def test_plan_folder__patterns_choose_images_without_masks(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / "masks/train/t000.png").unlink()
    (tmp_path / "dataset.yaml").write_text("names: [a, b, c]\ntrain: 't*'\nval: 'v*'\n")
    assert [file.name for file in index_of(tmp_path, "train").skipped] == ["images/train/t000.jpg"]
    assert index_of(tmp_path, "val").skipped == ()


def test_plan_folder__split_that_the_yaml_file_leaves_out(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / "dataset.yaml").write_text("names: [a, b, c]\ntrain: '*'\n")
    with raises(DataError, "gives train but no val: add `val:`, or `val_fraction: 0.1`."):
        index_of(tmp_path, "val")


def test_plan_folder__list_files_beside_the_yaml_file(tmp_path: Path):
    write_folder(tmp_path / "d", **FLAT, names=None)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/a.txt").write_text("images/t002.jpg\tmasks/t002.png\n")
    (tmp_path / "d.yaml").write_text("path: d\nnames: [a, b, c]\ntrain: lists/a.txt\nval: lists/b.txt\n")
    with raises(DataError, "There is no list lists/b.txt beside the YAML file in "):
        index_of(tmp_path / "d.yaml", "train")
    (tmp_path / "lists/b.txt").write_text("v000\n")
    assert stems(index_of(tmp_path / "d.yaml", "train")) == ["t002"]
    (tmp_path / "lists/a.txt").write_text("images/t001.jpg\tmasks/t001.png\n")
    assert stems(index_of(tmp_path / "d.yaml", "train")) == ["t001"]


def test_plan_folder__list_files_in_the_data_that_the_yaml_file_points_to(tmp_path: Path):
    write_folder(tmp_path / "d", **FLAT, names=None)
    (tmp_path / "d/some.txt").write_text("t003\n")
    (tmp_path / "d.yaml").write_text("path: d\nnames: [a, b, c]\ntrain: some.txt\n")
    assert stems(index_of(tmp_path / "d.yaml", "train")) == ["t003"]
    (tmp_path / "d.yaml").write_text("path: d\nnames: [a, b, c]\ntrain: sone.txt\n")
    with raises(DataError, "There is no list sone.txt", "Did you mean some.txt?"):
        index_of(tmp_path / "d.yaml", "train")


def test_plan_folder__yaml_and_lists_inside_a_zip(tmp_path: Path):
    write_folder(tmp_path / "d", **FLAT)
    (tmp_path / "d/dataset.yaml").write_text("names: [a, b, c]\ntrain: a.txt\nval: b.txt\n")
    (tmp_path / "d/a.txt").write_text("t001\n")
    files = {
        p.relative_to(tmp_path / "d").as_posix(): p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()
    }
    path = pack(files, tmp_path / "d.zip", "zip")
    with raises(DataError, "There is no list b.txt beside", "or in ", "d.zip. Did you mean a.txt"):
        plan_folder(path, "train")
    pack(files | {"b.txt": b"v000\n"}, path, "zip")
    assert stems(index_of(path, "train")) == ["t001"]
    assert plan_folder(path, "train")[1].label_map.label_space.names == ("a", "b", "c")


def test_plan_folder__data_elsewhere_as_the_yaml_file_says(tmp_path: Path):
    write_folder(tmp_path / "elsewhere", names=None)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/d.yaml").write_text("path: ../elsewhere\nnames: [a, b, c]\n")
    assert len(index_of(tmp_path / "x/d.yaml", "train")) == 4
    (tmp_path / "x/d.yaml").write_text(f"path: {tmp_path}/elsewhere\nnames: [a, b, c]\n")
    assert len(index_of(tmp_path / "x/d.yaml", "train")) == 4


def test_plan_folder__yaml_file_with_mistakes_is_named(tmp_path: Path):
    write_folder(tmp_path, names=None)
    (tmp_path / "data.yaml").write_text("nc: 3\nnames: [a]\n")
    with raises(DataError, f"{tmp_path}/data.yaml has 1 mistake", "'nc' is no key here"):
        plan_folder(tmp_path, "train")


def test_plan_folder__yaml_file_that_does_not_exist(tmp_path: Path):
    (tmp_path / "camvid.yaml").write_text("names: [a]")
    with raises(ArchiveError, "there is no 'canvid.yaml'", "Did you mean camvid.yaml?"):
        plan_folder(tmp_path / "canvid.yaml", "train")


def test_plan_folder__without_yaml_there_is_no_description(tmp_path: Path):
    write_folder(tmp_path, names=None)
    assert plan_folder(tmp_path, "train")[1] is None


LATIN = "names: [a, b, c]\n# Straße\n".encode("latin-1")


def test_plan_folder__yaml_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path):
    write_folder(tmp_path / "d", names=None)
    said = "is not UTF-8 text: line 2 holds the byte 0xdf. Save it as UTF-8."
    for path, title in ((tmp_path / "x.yaml", "x.yaml"), (tmp_path / "d/data.yaml", "d/data.yaml")):
        path.write_bytes(LATIN)
        with raises(DataError, f"{tmp_path}/{title} {said}"):
            plan_folder(path if title == "x.yaml" else tmp_path / "d", "train")
    packed = pack({"dataset.yaml": LATIN}, tmp_path / "d.zip", "zip")
    with raises(DataError, f"{packed}: dataset.yaml {said}"):
        plan_folder(packed, "train")


def test_plan_folder__yaml_with_a_byte_order_mark(tmp_path: Path):
    write_folder(tmp_path, names=None)
    (tmp_path / "data.yaml").write_text("names: [a, b, c]\n", encoding="utf-8-sig")
    assert plan_folder(tmp_path, "train")[1].label_map.label_space.names == ("a", "b", "c")


def test_plan_folder__lists_that_are_not_utf_8(tmp_path: Path):
    write_folder(tmp_path / "d", **FLAT, names=None)
    (tmp_path / "d/train.txt").write_bytes(b"t000\nt\xe9\n")
    with raises(DataError, f"{tmp_path}/d: train.txt is not UTF-8 text: line 2 holds the byte 0xe9"):
        index_of(tmp_path / "d", "train")
    (tmp_path / "d.yaml").write_text("path: d\nnames: [a, b, c]\ntrain: train.txt\n")
    with raises(DataError, f"{tmp_path}/d/train.txt is not UTF-8 text: line 2"):
        plan_folder(tmp_path / "d.yaml", "train")
    packed = pack({"dataset.yaml": b"names: [a]\ntrain: a.txt", "a.txt": b"\xe9"}, tmp_path / "d.zip", "zip")
    with raises(DataError, f"{packed}: a.txt is not UTF-8 text: line 1"):
        plan_folder(packed, "train")


@pytest.mark.parametrize("packing", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_plan_folder__member_that_was_packed_again_counts(tmp_path: Path, packing: Packing):
    path = pack({"dataset.yaml": b"names: [old]"}, tmp_path / "a", packing)
    if packing == "zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("dataset.yaml", b"names: [new]")
    else:
        with tarfile.open(path, "a") as archive:
            info = tarfile.TarInfo("dataset.yaml")
            info.size = len(b"names: [new]")
            archive.addfile(info, io.BytesIO(b"names: [new]"))
    assert plan_folder(path, "train")[1].label_map.label_space.names == ("new",)


def test_plan_folder__many_pairs_without_a_split_are_not_compared_with_each_other(tmp_path: Path):
    names = [f"{kind}/{i}.png" for kind in ("images", "masks") for i in range(20000)]
    path = pack(dict.fromkeys(names, b""), tmp_path / "a.zip", "zip")
    started_s = time.process_time()
    assert len(index_of(path, "train")) == 20000
    assert time.process_time() - started_s < 10  # a quarter of a second; comparing takes a minute
