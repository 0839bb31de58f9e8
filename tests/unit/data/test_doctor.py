"""examine: each thing that can be wrong with files is found, named, and comes with its remedy."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.archives import (
    SIZE,
    Packing,
    draw_image,
    draw_label,
    encode,
    pack,
    write_ade20k,
    write_cityscapes,
    write_folder,
    write_gta5,
    write_pascal_voc,
)
from support.errors import raises
from vfmseg.data.doctor import examine
from vfmseg.data.doctor_report import Finding, Report
from vfmseg.data.doctor_splits import Origin, find_splits
from vfmseg.errors import ArchiveError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder without a flaw: 4 training and 2 validation images, the classes ground, box and cone."""
    return write_folder(tmp_path / "mine")


def found(report: Report, code: str) -> Finding:
    """Return the one finding of a kind."""
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def where(finding: Finding) -> list[str]:
    return [str(place) for place in finding.places]


def cut(path: Path) -> None:
    """Cut a file short."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def oriented(label: np.ndarray, orientation: int) -> bytes:
    """Return a JPEG that shows a label and asks viewers to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(draw_image(label, 5)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


# data in order


def test_examine__a_clean_folder(folder: Path):
    report = examine(folder)
    assert report.findings == ()
    assert report.exit_code(strict=True) == 0
    assert report.class_names == ("ground", "box", "cone")
    train, val = report.splits
    assert (train.split, train.num_samples, train.num_examined, train.sizes) == ("train", 4, 4, ((SIZE, 4),))
    assert (val.split, val.num_samples, val.num_examined) == ("val", 2, 2)
    assert train.ignored_share == 0
    assert train.decode_ms > 0
    assert train.read_ms > 0
    assert report.images_per_s > 0


def test_examine__values_are_counted_as_stored(folder: Path):
    expected = np.zeros((3, 2), np.int64)
    for column, split in enumerate(("train", "val")):
        for path in (folder / "masks" / split).iterdir():
            expected[:, column] += np.bincount(np.asarray(Image.open(path)).ravel(), minlength=3)
    rows = examine(folder).values
    assert [(row.value, row.class_name) for row in rows] == [("0", "ground"), ("1", "box"), ("2", "cone")]
    assert [list(row.pixels) for row in rows] == expected.tolist()
    assert [row.images for row in rows] == [(4, 2)] * 3


@pytest.mark.parametrize("packing", ["zip", "tar", "tar.gz"])
def test_examine__inside_an_archive(folder: Path, tmp_path: Path, packing: Packing):
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*g")}
    description = tmp_path / "archive.yaml"
    pack(files, tmp_path / f"archive.{packing}", packing)
    description.write_text(f"path: archive.{packing}\nnames: [ground, box, cone]\n")
    report = examine(description)
    assert report.findings == ()
    assert report.values == examine(folder).values


@pytest.mark.parametrize(
    ("name", "write", "severe"),
    [
        ("ade20k", write_ade20k, ["class_not_in_train", "class_not_in_val", "duplicate_across_splits"]),
        ("pascal_voc", write_pascal_voc, ["class_not_in_train", "class_not_in_val"]),
        (
            "cityscapes",
            write_cityscapes,
            ["class_not_in_train", "class_not_in_val", "duplicate_across_splits"],
        ),
        ("gta5", write_gta5, ["no_val_split", "class_not_in_train"]),
    ],
)
def test_examine__known_data_sets(name: str, write, severe: list[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    report = examine(write(tmp_path), name=name)
    assert [f.code for f in report.findings if f.severity != "info"] == severe
    assert "(no class)" not in {row.class_name for row in report.values}
    assert "Fine if these are not all files" in found(report, "class_not_in_train").remedy


def test_examine__raw_values_of_splits_that_differ_keep_their_meaning(tmp_path: Path):
    write_gta5(tmp_path)
    write_cityscapes(tmp_path)
    report = examine(tmp_path, name="gta5")
    assert [split.split for split in report.splits] == ["train", "val"]
    ignored = {row.value: row.pixels for row in report.values if row.class_name == "(ignored)"}
    assert ignored["34"][0] > 0 == ignored["34"][1]  # licence plates in GTA V, not drawn in Cityscapes
    assert "unknown_values" not in codes(report)


# which splits


def splits_of(path: Path, *, name: str = "folder", val_fraction: float = 0.0) -> tuple[str, ...]:
    return find_splits(Origin(name=name, path=path, val_fraction=val_fraction))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ({"image_name": "images/{stem}.jpg", "label_name": "masks/{stem}.png"}, ("train",)),
        ({"image_name": "{split}/img/{stem}.jpg", "label_name": "{split}/ann/{stem}.png"}, ("train", "val")),
    ],
)
def test_find_splits__by_folders(layout: dict[str, str], expected: tuple[str, ...], tmp_path: Path):
    assert splits_of(write_folder(tmp_path, **layout)) == expected


def test_find_splits__by_lists_patterns_and_draw(folder: Path, tmp_path: Path):
    pairs = [f"images/train/t00{i}.jpg\tmasks/train/t00{i}.png" for i in range(4)]
    (folder / "train.txt").write_text("\n".join(pairs[:3]))
    (folder / "test.txt").write_text(pairs[3])
    assert splits_of(folder) == ("train", "test")
    description = tmp_path / "d.yaml"
    description.write_text(f"path: {folder}\nnames: [a, b, c]\nval: '*t003*'\n")
    assert splits_of(description) == ("val",)
    flat = write_folder(tmp_path / "flat", image_name="img/{stem}.jpg", label_name="gt/{stem}.png")
    assert splits_of(flat, val_fraction=0.3) == ("train", "val")
    (flat / "dataset.yaml").write_text("names: [a, b, c]\nval_fraction: 0.5\n")
    assert splits_of(flat) == ("train", "val")
    assert splits_of(tmp_path, name="ade20k") == ("train", "val")


def test_examine__no_val_split(tmp_path: Path):
    report = examine(write_folder(tmp_path, num_val=0))
    finding = found(report, "no_val_split")
    assert finding.severity == "error"  # `vfmseg fit` would stop
    assert finding.what == "no val split, so `vfmseg fit` could not score what it learns"
    assert finding.remedy.endswith("or take a share of the images: --data.val_fraction 0.1")
    assert codes(examine(tmp_path, splits=["train"])) == []  # nobody asked for val


def test_examine__no_train_split(tmp_path: Path):
    report = examine(write_folder(tmp_path, num_train=0))
    assert report.exit_code(strict=True) == 0
    assert found(report, "no_train_split").what == (
        "no train split: models can be validated on these data, not trained"
    )


def test_examine__a_drawn_val_split(tmp_path: Path):
    write_folder(tmp_path, image_name="img/{stem}.jpg", label_name="gt/{stem}.png")
    assert codes(examine(tmp_path)) == ["no_val_split"]
    drawn = examine(tmp_path, val_fraction=0.5)
    assert drawn.findings == ()
    assert [split.num_samples for split in drawn.splits] == [3, 3]
    with raises(DataError, "val_fraction is for your own folders; ade20k has its own splits."):
        examine(tmp_path, name="ade20k", val_fraction=0.5)


def test_examine__parts_of_a_download_missing(tmp_path: Path):
    write_gta5(tmp_path, parts=range(1, 4))
    with raises(ArchiveError, "14 of 20 files missing"):
        examine(tmp_path, name="gta5")
    report = examine(tmp_path, name="gta5", splits=["train"], allow_missing=True)
    assert report.splits[0].num_samples == 3
    assert "Left out, not there: 04_images.zip" in report.splits[0].sentence


def test_examine__downloads_of_one_split_missing(tmp_path: Path):
    write_gta5(tmp_path)
    remedy = found(examine(tmp_path, name="gta5"), "no_val_split").remedy
    assert remedy.startswith(f"GTA V val: 2 of 2 files missing in {tmp_path}: leftImg8bit_trainvaltest.zip")
    with raises(ArchiveError, "GTA V val: 2 of 2 files missing"):
        examine(tmp_path, name="gta5", splits=["train", "val"])


def test_examine__a_split_that_is_not_there(folder: Path):
    with raises(DataError, "has no test split; found: 4 train, 2 val."):
        examine(folder, splits=["test"])


def test_examine__nothing_there(tmp_path: Path):
    with raises(ArchiveError, "ADE20K train: 1 of 1 files missing"):
        examine(tmp_path, name="ade20k")
    with raises(DataError, "There is no data set 'ade20'", "Did you mean ade20k"):
        examine(tmp_path, name="ade20")
    with raises(DataError, "holds no images with masks"):
        examine(tmp_path)


# limit


def test_examine__limit_is_evenly_spread_and_said(folder: Path):
    for number in (0, 3):
        (folder / f"masks/train/t00{number}.png").write_bytes(b"broken")
    report = examine(folder, limit=2)
    assert where(found(report, "label_unreadable"))[1].startswith("train: masks/train/t003.png")
    assert [(s.num_samples, s.num_examined) for s in report.splits] == [(4, 2), (2, 2)]
    with raises(DataError, "limit is 0; at least 1 sample a split is looked at."):
        examine(folder, limit=0)


def test_examine__progress_ends_with_all(folder: Path):
    seen: list[tuple[int, int]] = []
    examine(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_examine__same_report_whatever_the_threads(folder: Path):
    cut(folder / "images/train/t001.jpg")
    one, many = (examine(folder, num_threads=n) for n in (1, 7))
    assert one.findings == many.findings
    assert one.values == many.values


# files without partner


def test_examine__files_without_partner_both_ways(folder: Path, caplog: pytest.LogCaptureFixture):
    (folder / "masks/train/t001.png").unlink()
    (folder / "images/val/v000.jpg").unlink()
    report = examine(folder)
    image, label = found(report, "image_without_label"), found(report, "label_without_image")
    assert image.severity == label.severity == "error"
    assert image.what == "1 image without a label"
    assert where(image) == ["train: images/train/t001.jpg"]
    assert image.remedy == "Add the labels; or leave them out: --data.allow_unpaired true"
    assert label.what == "1 label without an image"
    assert where(label) == ["val: masks/val/v000.png"]
    allowed = examine(folder, allow_unpaired=True)
    assert allowed.exit_code() == 0
    assert found(allowed, "image_without_label").what == (
        "1 image without a label: left out, as data.allow_unpaired asks"
    )
    assert not caplog.records  # the report says it all


def test_examine__listed_files_that_are_not_there(folder: Path):
    pair = "images/train/t000.jpg\tmasks/train/t000.png\n"
    (folder / "train.txt").write_text(pair + "images/train/gone.jpg\tmasks/train/gone.png\n")
    finding = found(examine(folder, splits=["train"]), "listed_not_there")
    assert finding.what == "1 listed file not there"
    assert finding.remedy.startswith("Add the files, or correct the list")
    assert "is listed in train.txt, but there is no such file" in where(finding)[0]


def test_examine__an_empty_split(tmp_path: Path):
    write_pascal_voc(tmp_path, packing="folder")
    for number in range(1, 5):
        (tmp_path / f"VOCdevkit/VOC2012/SegmentationClass/2007_00000{number}.png").unlink()
    report = examine(tmp_path, name="pascal_voc")
    finding = found(report, "empty_split")
    assert finding.severity == "error"
    assert finding.what == "the split train is empty: no image has a label"
    assert report.splits[0].num_samples == 0
    assert np.isnan(report.splits[0].decode_ms)
    assert found(report, "image_without_label").count == 4


# unreadable files


def test_examine__unreadable_image_and_label(folder: Path):
    cut(folder / "images/train/t001.jpg")
    cut(folder / "masks/val/v000.png")
    report = examine(folder)
    image, label = found(report, "image_unreadable"), found(report, "label_unreadable")
    assert image.severity == label.severity == "error"
    assert image.what == "1 image cannot be read"
    assert where(image)[0].startswith("train: images/train/t001.jpg (it cannot be decoded as an image:")
    assert label.what == "1 label cannot be read"
    assert where(label)[0].startswith("val: masks/val/v000.png (it cannot be decoded as a label:")
    assert label.remedy == "Fetch or export the files again; or leave them out: --data.skip_bad true"
    skipped = examine(folder, skip_bad=True)
    assert skipped.exit_code() == 0
    assert found(skipped, "label_unreadable").remedy.endswith("They are left out, as data.skip_bad asks.")


def test_examine__damaged_bytes_in_an_archive(folder: Path, tmp_path: Path):
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
    path = pack(files, tmp_path / "a.zip", "zip")
    data, image = path.read_bytes(), files["images/train/t002.jpg"]
    at = data.index(image) + len(image) // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    finding = found(examine(path), "image_unreadable")
    assert finding.count == 1
    assert "is damaged: its bytes do not match its checksum" in where(finding)[0]


def test_examine__jpeg_labels(folder: Path):
    for number in range(4):
        (folder / f"masks/train/t00{number}.png").unlink()
        label = draw_label([0, 1, 2], SIZE, number)
        (folder / f"masks/train/t00{number}.jpg").write_bytes(encode(label, "JPEG"))
    finding = found(examine(folder), "label_jpeg")
    assert finding.severity == "error"  # training refuses them
    assert finding.what == (
        "4 labels stored as JPEG, which changes values: class ids are lost at every border"
    )
    assert finding.remedy.startswith("Export the labels again, as PNG: converting them does not bring")
    assert where(finding)[0] == "train: masks/train/t000.jpg"


# sizes and orientations


def test_examine__sizes_that_differ(folder: Path):
    (folder / "masks/train/t001.png").write_bytes(encode(draw_label([0, 1, 2], (24, 32), 1), "PNG"))
    (folder / "masks/train/t002.png").write_bytes(encode(draw_label([0, 1, 2], SIZE[::-1], 2), "PNG"))
    report = examine(folder)
    other, turned = found(report, "size_mismatch"), found(report, "size_turned")
    assert other.severity == turned.severity == "error"
    assert other.what == "1 label of another size than the image (height x width)"
    assert where(other) == ["train: masks/train/t001.png (image 48 x 64, label 24 x 32)"]
    assert other.remedy.startswith("Export both at one size: a resized label would be wrong at every border")
    assert turned.what == "1 label would fit the image only if one of both were turned by 90 degrees"
    assert where(turned) == ["train: masks/train/t002.png (image 48 x 64, label 64 x 48)"]


def test_examine__sizes_that_are_known_to_differ(tmp_path: Path):
    finding = found(examine(write_gta5(tmp_path, odd_sized=(3,)), name="gta5"), "label_resized")
    assert finding.severity == "info"
    assert finding.what == (
        "1 label of another size than the image: resized (nearest), as published code does for this data set"
    )


def test_examine__sizes_are_known_to_differ_in_one_split_only(tmp_path: Path):
    write_gta5(tmp_path, odd_sized=(3,))
    write_cityscapes(tmp_path, packing="folder")
    label = next((tmp_path / "gtFine/val").rglob("*_labelIds.png"))
    label.write_bytes(encode(draw_label([7, 11], (24, 32), 1), "PNG"))
    report = examine(tmp_path, name="gta5")
    assert found(report, "label_resized").count == found(report, "size_mismatch").count == 1
    assert found(report, "size_mismatch").severity == "error"


@pytest.mark.parametrize(
    ("orientation", "image_size", "code", "severity", "what"),
    [
        (6, SIZE[::-1], "exif_applied", "info", "turned as it asks: only then the label fits"),
        (6, SIZE, "exif_unused", "info", "not turned: the label fits what is stored, though viewers"),
        (3, SIZE, "exif_unclear", "warning", "which viewers follow and training does not; the size does not"),
        (6, (48, 48), "exif_unclear", "warning", "which viewers follow and training does not; the size does"),
    ],
)
def test_examine__exif_orientation(
    orientation: int, image_size: tuple[int, int], code: str, severity: str, what: str, folder: Path
):
    shown = draw_label([0, 1, 2], image_size, 7)
    (folder / "images/train/t002.jpg").write_bytes(oriented(shown, orientation))
    if image_size[0] == image_size[1]:
        (folder / "masks/train/t002.png").write_bytes(encode(shown, "PNG"))
    report = examine(folder)
    finding = found(report, code)
    assert codes(report) == [code]
    assert finding.severity == severity
    assert finding.what.startswith(f"1 image with an EXIF orientation, {what}")
    assert where(finding) == [f"train: images/train/t002.jpg (orientation {orientation})"]


# duplicates


def test_examine__images_that_are_there_twice(folder: Path):
    first = (folder / "images/train/t000.jpg").read_bytes()
    (folder / "images/train/t003.jpg").write_bytes(first)
    (folder / "images/val/v001.jpg").write_bytes(first)
    report = examine(folder)
    across, within = found(report, "duplicate_across_splits"), found(report, "duplicate_within_split")
    assert across.severity == "warning"
    assert across.what == "1 image that another split holds, too, byte for byte: scores are too good"
    assert where(across) == ["val: images/val/v001.jpg (= train: images/train/t000.jpg)"]
    assert within.severity == "info"
    assert within.what == "1 image more than once in a split, byte for byte"
    assert where(within) == ["train: images/train/t003.jpg (= images/train/t000.jpg)"]
    assert "near_duplicate_across_splits" not in codes(report)  # said already


def test_examine__images_that_look_almost_the_same(folder: Path):
    blobs = np.random.default_rng(3).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    smooth = Image.fromarray(blobs).resize((256, 192), Image.Resampling.BICUBIC)
    smooth.save(folder / "images/train/t001.jpg", quality=95)
    smooth.resize((96, 72)).save(folder / "images/val/v000.jpg", quality=40)
    for path, size in (("train/t001", (192, 256)), ("val/v000", (72, 96))):
        (folder / f"masks/{path}.png").write_bytes(encode(draw_label([0, 1, 2], size, 1), "PNG"))
    report = examine(folder)
    finding = found(report, "near_duplicate_across_splits")
    assert codes(report) == ["near_duplicate_across_splits"]
    assert finding.severity == "info"
    assert finding.what == (
        "1 image almost like one of another split (of an 8 x 8 difference hash at most 4 bits differ)"
    )
    assert where(finding) == ["val: images/val/v000.jpg (like train: images/train/t001.jpg)"]


def test_examine__flat_pictures_are_no_near_duplicates(folder: Path):
    for path, grey in (("train/t000", 100), ("val/v000", 104)):
        (folder / f"images/{path}.jpg").write_bytes(encode(np.full((*SIZE, 3), grey, np.uint8), "JPEG"))
    assert examine(folder).findings == ()


def test_examine__leaves_logging_alone(folder: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        examine(folder)
    assert not caplog.records


def test_examine__scenes_by_their_own_name(tmp_path: Path):
    write_folder(tmp_path)
    assert examine(tmp_path, name="scenes").title == str(tmp_path)
