"""The known data sets are found as archives and unpacked, and what is missing or wrong is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.archives import Packing, pack, write_ade20k, write_cityscapes, write_gta5, write_pascal_voc
from support.errors import raises
from vfmseg.data.catalog import SPECS
from vfmseg.data.dataset import open_dataset
from vfmseg.data.index import Index, load_or_build_index
from vfmseg.data.locate import plan_split
from vfmseg.errors import ArchiveError, DataError

WRITERS = {
    "ade20k": (write_ade20k, ("zip", "folder")),
    "pascal_voc": (write_pascal_voc, ("zip", "tar", "folder")),
    "cityscapes": (write_cityscapes, ("zip", "folder")),
    "gta5": (write_gta5, ("zip", "folder")),
}


def index_of(name: str, path: Path, split: str = "train", **options: bool) -> Index:
    return load_or_build_index(plan_split(SPECS[name], path, split, **options))


def pairs(index: Index) -> list[tuple[str, str]]:
    return [(index.images.name(i), index.labels.name(i)) for i in range(len(index))]


@pytest.mark.parametrize(("name", "packing"), [(name, p) for name, (_, ps) in WRITERS.items() for p in ps])
def test_plan_split__same_pairs_however_packed(tmp_path: Path, name: str, packing: Packing):
    write = WRITERS[name][0]
    reference = pairs(index_of(name, write(tmp_path / "zip")))
    assert len(reference) == (10 if name == "gta5" else 4)
    assert pairs(index_of(name, write(tmp_path / "other", packing=packing))) == reference


def test_plan_split__names_and_order_as_published(tmp_path: Path):
    city = pairs(index_of("cityscapes", write_cityscapes(tmp_path), "val"))
    stem = "val/munster/munster_000000_000019"
    assert city[0] == (f"leftImg8bit/{stem}_leftImg8bit.png", f"gtFine/{stem}_gtFine_labelIds.png")
    gta = pairs(index_of("gta5", write_gta5(tmp_path, num_per_part=2)))
    assert [image for image, _ in gta] == [f"images/{i:05d}.png" for i in range(1, 21)]
    voc = pairs(index_of("pascal_voc", write_pascal_voc(tmp_path), "val"))
    assert [image.rpartition("/")[2] for image, _ in voc] == ["2007_000005.jpg", "2007_000006.jpg"]


def test_plan_split__gta_validates_on_cityscapes(tmp_path: Path):
    write_gta5(tmp_path)
    write_cityscapes(tmp_path)
    gta, city = index_of("gta5", tmp_path, "val"), index_of("cityscapes", tmp_path, "val")
    assert pairs(gta) == pairs(city)
    assert gta.sentence.startswith("GTA V val: 2 images")
    assert city.sentence.startswith("Cityscapes val: 2 images")


@pytest.mark.parametrize("inside", ["", "ADEChallengeData2016"])
def test_plan_split__path_may_be_the_unpacked_folder(tmp_path: Path, inside: str):
    write_ade20k(tmp_path, packing="folder")
    assert len(index_of("ade20k", tmp_path / inside)) == 4


def test_plan_split__path_may_be_the_archive_under_any_name(tmp_path: Path):
    write_ade20k(tmp_path)
    (tmp_path / "ADEChallengeData2016.zip").rename(tmp_path / "ade.zip")
    assert len(index_of("ade20k", tmp_path / "ade.zip")) == 4


def test_plan_split__unpacked_into_folders_of_their_own(tmp_path: Path):
    write_cityscapes(tmp_path / "all", packing="folder")
    for archive, folder in (("leftImg8bit_trainvaltest", "leftImg8bit"), ("gtFine_trainvaltest", "gtFine")):
        shutil.move(tmp_path / "all" / folder, tmp_path / "own" / archive / folder)
    assert len(index_of("cityscapes", tmp_path / "own")) == 4


def test_plan_split__one_part_as_archive_and_one_unpacked(tmp_path: Path):
    write_cityscapes(tmp_path / "zip")
    write_cityscapes(tmp_path / "mixed", packing="folder")
    shutil.rmtree(tmp_path / "mixed" / "leftImg8bit")
    shutil.copy(tmp_path / "zip" / "leftImg8bit_trainvaltest.zip", tmp_path / "mixed")
    assert len(index_of("cityscapes", tmp_path / "mixed")) == 4


def test_plan_split__path_that_does_not_exist(tmp_path: Path):
    with raises(ArchiveError, "nowhere does not exist. It should hold ADEChallengeData2016.zip", "http://"):
        plan_split(SPECS["ade20k"], tmp_path / "nowhere", "train")


def test_plan_split__missing_archive_is_named_with_where_to_get_it(tmp_path: Path):
    write_cityscapes(tmp_path)
    (tmp_path / "gtFine_trainvaltest.zip").unlink()
    with raises(
        ArchiveError,
        "Cityscapes train: 1 of 2 files missing",
        ": gtFine_trainvaltest.zip; nor are they unpacked there as leftImg8bit/train/ and gtFine/train/",
        "there is: leftImg8bit_trainvaltest.zip",
        "https://www.cityscapes-dataset.com",
    ):
        plan_split(SPECS["cityscapes"], tmp_path, "train")


def test_plan_split__voc_names_both_archives_that_would_do(tmp_path: Path):
    with raises(
        ArchiveError, "VOCtrainval_11-May-2012.zip or VOCtrainval_11-May-2012.tar", "there is: nothing"
    ):
        plan_split(SPECS["pascal_voc"], tmp_path, "train")


def test_plan_split__missing_parts_of_gta(tmp_path: Path):
    write_gta5(tmp_path)
    (tmp_path / "03_images.zip").unlink()
    (tmp_path / "07_labels.zip").unlink()
    with raises(ArchiveError, "2 of 20 files missing", "03_images.zip, 07_labels.zip", "allow_missing: true"):
        plan_split(SPECS["gta5"], tmp_path, "train")
    index = index_of("gta5", tmp_path, allow_missing=True)
    assert len(index) == 8
    assert "Left out, not there: 03_images.zip, 07_labels.zip." in index.sentence


def test_plan_split__allow_missing_still_needs_a_part(tmp_path: Path):
    with raises(ArchiveError, "20 of 20 files missing"):
        plan_split(SPECS["gta5"], tmp_path, "train", allow_missing=True)


def test_plan_split__allow_missing_is_no_help_where_there_are_no_parts(tmp_path: Path):
    with raises(ArchiveError, "1 of 1 files missing"):
        plan_split(SPECS["ade20k"], tmp_path, "train", allow_missing=True)


def test_pair__wrong_archive_says_what_is_inside_and_what_was_expected(tmp_path: Path):
    path = pack({"photos/a.jpg": b"", "photos/b.jpg": b""}, tmp_path / "ADEChallengeData2016.zip", "zip")
    with raises(
        ArchiveError,
        f"{path} is not what ADE20K train needs",
        "expected files ADEChallengeData2016/images/training/*.jpg, but inside is photos/ (2 files)",
    ):
        index_of("ade20k", tmp_path)


def test_pair__voc_without_its_list(tmp_path: Path):
    write_pascal_voc(tmp_path, packing="folder")
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").unlink()
    with raises(ArchiveError, "needs the list VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"):
        index_of("pascal_voc", tmp_path)


def test_pair__voc_uses_only_what_is_listed_and_reports_what_is_not_there(tmp_path: Path):
    write_pascal_voc(tmp_path, packing="folder")
    root = tmp_path / "VOCdevkit/VOC2012"
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_000002\n2007_000009\n2007_000001\n")
    (root / "SegmentationClass/2007_000001.png").unlink()
    index = index_of("pascal_voc", tmp_path)
    assert [image.rpartition("/")[2] for image, _ in pairs(index)] == ["2007_000002.jpg"]
    assert [(file.name.rpartition("/")[2], file.reason) for file in index.skipped] == [
        ("2007_000009", "is listed but has no image"),
        ("2007_000001.jpg", "has no label"),
    ]


def test_pair__files_without_partner(tmp_path: Path):
    write_ade20k(tmp_path, packing="folder")
    (tmp_path / "ADEChallengeData2016/annotations/training/ADE_train_00000002.png").unlink()
    (tmp_path / "ADEChallengeData2016/images/training/ADE_train_00000003.jpg").unlink()
    index = index_of("ade20k", tmp_path)
    assert len(index) == 2
    assert [(file.name.rpartition("/")[2], file.reason) for file in index.skipped] == [
        ("ADE_train_00000002.jpg", "has no label"),
        ("ADE_train_00000003.png", "has no image"),
    ]


def test_pair__mac_resource_files_are_no_images(tmp_path: Path):
    write_ade20k(tmp_path, packing="folder")
    (tmp_path / "ADEChallengeData2016/images/training/._ADE_train_00000001.jpg").write_bytes(b"")
    index = index_of("ade20k", tmp_path)
    assert (len(index), index.skipped) == (4, ())


def test_pair__the_same_file_in_two_parts(tmp_path: Path):
    write_gta5(tmp_path)
    shutil.copy(tmp_path / "01_images.zip", tmp_path / "02_images.zip")
    with raises(DataError, "images/00001.png is in both", "01_images.zip and", "02_images.zip. Remove one."):
        index_of("gta5", tmp_path)


def test_pair__list_that_is_not_utf_8(tmp_path: Path):
    write_pascal_voc(tmp_path, packing="folder")
    name = "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    (tmp_path / name).write_bytes(b"2007_000001\n\xff\n")
    with raises(DataError, f"{tmp_path}: {name} is not UTF-8 text: line 2 holds the byte 0xff"):
        index_of("pascal_voc", tmp_path)


def test_plan_split__path_that_no_system_knows():
    with raises(ArchiveError, "does not exist. It should hold ADEChallengeData2016.zip"):
        plan_split(SPECS["ade20k"], "~nobody_of_that_name/" + "x" * 300, "train")


@pytest.mark.parametrize("packing", ["folder", "zip"])
@pytest.mark.parametrize(
    ("task", "needed", "left"),
    [
        ("semantic", "labelIds", "labelTrainIds"),  # what the toolkit makes of label ids
        ("panoptic", "instanceIds", "labelIds"),
        ("instance", "instanceIds", "labelTrainIds"),
    ],
)
def test_cityscapes__labels_of_another_kind_only(
    task: str, needed: str, left: str, packing: Packing, tmp_path: Path
):
    write_cityscapes(tmp_path / "made", packing="folder")
    files = {
        f"gtFine/{path.relative_to(tmp_path / 'made' / 'gtFine')}".replace(
            "labelIds", left
        ): path.read_bytes()
        for path in (tmp_path / "made" / "gtFine").rglob("*_labelIds.png")
    }
    data = tmp_path / "data"
    write_cityscapes(data, packing="zip")
    (data / "gtFine_trainvaltest.zip").unlink()
    pack(files, data / "gtFine_trainvaltest.zip" if packing == "zip" else data, packing)
    with raises(
        ArchiveError,
        f"is not what Cityscapes train needs: expected files gtFine/train/*_gtFine_{needed}.png, but there are only 4 "
        f"*_gtFine_{left}.png. They come in gtFine_trainvaltest.zip.",
    ):
        open_dataset("cityscapes", data, "train", task=task)
