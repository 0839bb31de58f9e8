"""The data sets to test generalisation with: found in their own layouts, read with the classes of Cityscapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.archives import SIZE, Files, Packing, draw_label, encode, pack, write_cityscapes
from support.driving import (
    CONDITIONS,
    encode_synthia,
    write_acdc,
    write_bdd100k,
    write_cityscapes_c,
    write_mapillary,
    write_synthia,
    write_urbansyn,
)
from support.errors import raises
from vfmseg.data.catalog import SPECS
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.doctor import examine
from vfmseg.data.images import decode_label
from vfmseg.data.sets.cityscapes_c import CORRUPTIONS
from vfmseg.data.spec import read_label_map
from vfmseg.errors import ArchiveError, DataError, LabelError
from vfmseg.types import IGNORE_INDEX

CITY = read_label_map("cityscapes").label_space
NAMES = (
    "bdd100k",
    "mapillary",
    "mapillary_v2",
    "acdc",
    "synthia",
    "urbansyn",
    "cityscapes_c",
)
WRITERS: dict[str, tuple[Callable[..., Path], set[int]]] = {
    "bdd100k": (write_bdd100k, {0, 2, 255, 10, 18}),
    "mapillary": (write_mapillary, {0, 1, 255, 10, 16}),
    "mapillary_v2": (write_mapillary, {0, 1, 255, 10, 6}),
    "mapillary_own": (write_mapillary, {13, 2, 255, 27, 58}),
    "acdc": (write_acdc, {0, 2, 255, 10, 13}),
    "synthia": (write_synthia, {0, 2, 255, 10, 11}),
    "urbansyn": (write_urbansyn, {0, 2, 255, 10, 13}),
}
"""Data set -> what writes it, and the class ids that its labels hold."""


def names_of(dataset: SegmentationDataset) -> list[str]:
    return list(dataset.names)


@pytest.mark.parametrize("name", NAMES)
def test_classes__are_those_of_cityscapes(name: str):
    spec = SPECS[name]
    for split in (*spec.splits, *spec.parts):
        assert spec.label_map(split).label_space == CITY


@pytest.mark.parametrize("name", WRITERS)
def test_open_dataset__reads_the_original_files(name: str, tmp_path: Path):
    write, expected = WRITERS[name]
    dataset = open_dataset(name, write(tmp_path), "train")
    assert len(dataset) == 4
    assert not dataset.skipped
    found = {int(v) for i in range(len(dataset)) for v in dataset[i].targets.id_map.unique()}
    assert found == expected


@pytest.mark.parametrize("packing", ["zip", "folder"])
@pytest.mark.parametrize("name", ["bdd100k", "mapillary", "mapillary_v2", "acdc"])
def test_open_dataset__the_same_pairs_packed_and_unpacked(name: str, packing: Packing, tmp_path: Path):
    dataset = open_dataset(name, WRITERS[name][0](tmp_path, packing=packing), "val")
    stems = {"acdc": "GOPR0000_frame_000000", "bdd100k": "000003e9-0078f487"}
    assert stems.get(name, "1001_aB-cD7926919") in names_of(dataset)[0]
    for i in range(len(dataset)):
        assert dataset[i].image.shape == (3, *SIZE)


def test_bdd100k__pixels(tmp_path: Path):
    dataset = open_dataset("bdd100k", write_bdd100k(tmp_path), "val")
    np.testing.assert_array_equal(
        dataset[0].targets.id_map.numpy(), draw_label([0, 2, 255, 10, 18], SIZE, 1001)
    )


def test_bdd100k__images_that_come_split_by_split(tmp_path: Path):
    write_bdd100k(tmp_path)
    (tmp_path / "bdd100k_images_10k.zip").rename(tmp_path / "10k_images_val.zip")
    assert len(open_dataset("bdd100k", tmp_path, "val")) == 2
    with raises(ArchiveError, "1 of 2 files missing", "bdd100k_images_10k.zip or 10k_images_train.zip"):
        open_dataset("bdd100k", tmp_path, "train")


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_mapillary__labels_of_the_older_download(packing: Packing, tmp_path: Path):
    new = open_dataset("mapillary", write_mapillary(tmp_path / "new"), "train")
    old = open_dataset(
        "mapillary", write_mapillary(tmp_path / "old", version="1.2", packing=packing), "train"
    )
    assert names_of(old) == names_of(new)
    for i in range(len(old)):
        np.testing.assert_array_equal(old[i].targets.id_map, new[i].targets.id_map)


def test_mapillary__version_2_is_not_in_the_older_download(tmp_path: Path):
    write_mapillary(tmp_path, version="1.2")
    with raises(ArchiveError, "Mapillary Vistas 2.0 train", "mapillary-vistas-dataset_public_v2.0.zip"):
        open_dataset("mapillary_v2", tmp_path, "train")
    archive = tmp_path / "mapillary-vistas-dataset_public_v1.2.zip"
    with raises(ArchiveError, "expected files training/v2.0/labels/*.png, but inside is"):
        open_dataset("mapillary_v2", archive, "train")


@pytest.mark.parametrize(
    ("classes", "name", "counts_as"),
    [
        ("mapillary_v1.2", "Curb", "sidewalk"),  # as the matching published with Rein has it
        ("mapillary_v1.2", "Bike Lane", "road"),
        ("mapillary_v1.2", "Other Rider", "rider"),
        ("mapillary_v1.2", "On Rails", "train"),
        ("mapillary_v1.2", "Traffic Sign (Back)", "traffic sign"),
        ("mapillary_v1.2", "Guard Rail", None),
        ("mapillary_v1.2", "Ego Vehicle", None),
        ("mapillary_v2.0", "Traffic Light - Cyclists", "traffic light"),
        ("mapillary_v2.0", "Parking Meter", None),
        ("mapillary_v2.0", "Lane Marking - Text", "road"),
        ("synthia", "pedestrian", "person"),
        ("synthia", "lanemarking", None),
        ("synthia", "parking-slot", None),
    ],
)
def test_read_label_map__maps_by_name(classes: str, name: str, counts_as: str | None):
    label_map = read_label_map(classes, onto="cityscapes")
    raw = raw_values(classes)[name]
    class_id = label_map.raw_to_id[raw]
    assert class_id == (IGNORE_INDEX if counts_as is None else CITY.names.index(counts_as))


@pytest.mark.parametrize(
    ("classes", "count"), [("mapillary_v1.2", 66), ("mapillary_v2.0", 124), ("synthia", 23)]
)
def test_read_label_map__each_equal_name_is_that_class_and_no_order_matters(classes: str, count: int):
    label_map = read_label_map(classes, onto="cityscapes")
    raw = raw_values(classes)
    assert len(label_map.raw_to_id) == len(raw) == count
    for name, value in raw.items():
        if name.lower() in CITY.names:
            assert CITY.names[label_map.raw_to_id[value]] == name.lower()
    assert set(label_map.raw_to_id.values()) == {*range(19), IGNORE_INDEX}


def raw_values(classes: str) -> dict[str, int]:
    """Return name -> raw value of a class file, read without the code under test."""
    import yaml

    from vfmseg.data.spec import CLASSES_FOLDER

    rows = yaml.safe_load((CLASSES_FOLDER / f"{classes}.yaml").read_text())["classes"]
    return {row["name"]: row["id"] for row in rows}


def test_mapillary_own__classes_that_are_evaluated(tmp_path: Path):
    space = SPECS["mapillary_own"].label_map("val").label_space
    assert (space.num_classes, space.names[:2], space.names[-1]) == (
        65,
        ("Bird", "Ground Animal"),
        "Ego Vehicle",
    )
    newer = SPECS["mapillary_v2_own"].label_map("val").label_space
    assert newer.num_classes == 116
    assert "Unlabeled" not in newer.names


def test_acdc__all_conditions_or_one(tmp_path: Path):
    write_acdc(tmp_path, num_val=2)
    every = open_dataset("acdc", tmp_path, "val")
    assert len(every) == 8
    of_night = open_dataset("acdc", tmp_path, "val_night")
    assert len(of_night) == 2
    assert {name.split("/")[1] for name in of_night.names} == {"night"}
    assert {name.split("/")[1] for name in every.names} == set(CONDITIONS)
    assert all("/val/" in name for name in every.names)
    assert of_night.sentence.startswith("ACDC val_night: 2 images")
    assert set(names_of(open_dataset("acdc", tmp_path, "train"))).isdisjoint(every.names)


def test_acdc__test_split_has_no_labels(tmp_path: Path):
    write_acdc(tmp_path)
    with raises(
        DataError,
        "ACDC has no split 'test' with public labels. Splits: train, val. Parts of them: train_fog, train_night",
    ):
        open_dataset("acdc", tmp_path, "test")
    with raises(DataError, "no split 'val_nigth'", "Did you mean val_night"):
        open_dataset("acdc", tmp_path, "val_nigth")


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_acdc__condition_that_is_not_there(packing: Packing, tmp_path: Path):
    write_acdc(tmp_path, conditions=("fog", "rain", "snow"), packing=packing)
    with raises(ArchiveError, "ACDC val needs: expected files rgb_anon/night/val/*_rgb_anon.png"):
        open_dataset("acdc", tmp_path, "val")
    assert len(open_dataset("acdc", tmp_path, "val_fog")) == 1


@pytest.mark.parametrize("root", ["RAND_CITYSCAPES/", "synthia/"])
def test_synthia__unpacked_under_either_name(root: str, tmp_path: Path):
    write_synthia(tmp_path, root=root)
    dataset = open_dataset("synthia", tmp_path if root != "synthia/" else tmp_path / "synthia", "train")
    assert [name.rpartition("/")[2] for name in dataset.names] == [f"{i:07d}.png" for i in range(4)]
    expected = np.array(
        [{3: 0, 2: 2, 22: 255, 1: 10, 10: 11}[v] for v in draw_label([3, 2, 22, 1, 10], SIZE, 0).ravel()]
    )
    np.testing.assert_array_equal(dataset[0].targets.id_map.numpy().ravel(), expected)


def test_synthia__archive_that_was_not_unpacked(tmp_path: Path):
    archive = tmp_path / "SYNTHIA_RAND_CITYSCAPES.rar"
    archive.write_bytes(b"Rar!\x1a\x07\x00" + bytes(100))
    with raises(ArchiveError, "missing", "there is: SYNTHIA_RAND_CITYSCAPES.rar", "to be unpacked"):
        open_dataset("synthia", tmp_path, "train")
    with raises(ArchiveError, f"{archive} is a RAR archive, which cannot be read in place. Unpack it"):
        open_dataset("synthia", archive, "train")


def test_decode_label__channel_of_16_bits():
    label = draw_label([3, 2, 22], SIZE, 0)
    instances = np.full(SIZE, 60_000, np.uint16)
    np.testing.assert_array_equal(decode_label(encode_synthia(label, instances), "it", 0), label)
    np.testing.assert_array_equal(decode_label(encode_synthia(label, instances), "it", 1), instances)
    of_8_bits = bytes(cv2.imencode(".png", np.dstack([label * 0, label * 0, label]))[1])
    np.testing.assert_array_equal(decode_label(of_8_bits, "it", 0), label)


def test_decode_label__channel_that_is_not_there():
    label = draw_label([3, 2, 22], SIZE, 0)
    with raises(LabelError, "it has one channel; as released", "not converted ones"):
        decode_label(encode(label, "PNG"), "it", 0)
    whole = encode_synthia(label, np.zeros(SIZE, np.uint16))
    with raises(LabelError, "it cannot be decoded as a label: it is damaged or cut short"):
        decode_label(whole[: len(whole) // 2], "it", 0)
    with raises(LabelError, "it cannot be decoded as a label: it is no PNG"):
        decode_label(encode(label, "TIFF"), "it", 0)


@pytest.mark.parametrize("name", ["synthia", "urbansyn"])
def test_validation__is_on_cityscapes(name: str, tmp_path: Path):
    WRITERS[name][0](tmp_path)
    write_cityscapes(tmp_path)
    assert names_of(open_dataset(name, tmp_path, "val")) == names_of(
        open_dataset("cityscapes", tmp_path, "val")
    )
    assert open_dataset(name, tmp_path, "train").label_space == CITY


def test_urbansyn__read_from_its_archives(tmp_path: Path):
    packed = open_dataset("urbansyn", write_urbansyn(tmp_path / "zip", packing="zip"), "train")
    unpacked = open_dataset("urbansyn", write_urbansyn(tmp_path / "folder"), "train")
    assert names_of(packed) == names_of(unpacked)
    np.testing.assert_array_equal(packed[3].targets.id_map, unpacked[3].targets.id_map)


def test_urbansyn__pairs_by_what_follows_the_prefix(tmp_path: Path):
    write_urbansyn(tmp_path)
    (tmp_path / "ss" / "ss_0002.png").unlink()
    (tmp_path / "ss" / "readme_0002.png").write_bytes(b"")
    dataset = open_dataset("urbansyn", tmp_path, "train", allow_unpaired=True)
    assert names_of(dataset) == [f"rgb/rgb_{i:04d}.png" for i in (1, 3, 4)]
    assert [file.name for file in dataset.skipped] == ["rgb/rgb_0002.png"]


def test_cityscapes_c__a_label_for_every_corruption(tmp_path: Path):
    write_cityscapes(tmp_path)
    write_cityscapes_c(tmp_path, corruptions=("fog", "snow"))
    of_fog = open_dataset("cityscapes_c", tmp_path, "val_fog")
    assert len(of_fog) == 10
    strongest = open_dataset("cityscapes_c", tmp_path, "val_fog_5")
    clean = open_dataset("cityscapes", tmp_path, "val")
    assert len(strongest) == len(clean) == 2
    for i in range(2):
        np.testing.assert_array_equal(strongest[i].image, clean[i].image // 5)
        np.testing.assert_array_equal(strongest[i].targets.id_map, clean[i].targets.id_map)
    with raises(ArchiveError, "expected files Cityscapes-C/gaussian_noise/1/val/*_leftImg8bit.png"):
        open_dataset("cityscapes_c", tmp_path, "val")


def test_cityscapes_c__all_of_it(tmp_path: Path):
    write_cityscapes(tmp_path)
    write_cityscapes_c(tmp_path, corruptions=CORRUPTIONS, num_val=1, size=(4, 4))
    dataset = open_dataset("cityscapes_c", tmp_path, "val", allow_unpaired=True)
    assert len(dataset) == 75
    assert len(set(dataset.names)) == 75
    assert len(dataset.skipped) == 75  # Cityscapes' second image, which was not corrupted
    assert {file.reason for file in dataset.skipped} == {"has no image"}


@pytest.mark.parametrize("name", ["bdd100k", "mapillary", "acdc"])
def test_open_dataset__missing_download_is_named(name: str, tmp_path: Path):
    WRITERS[name][0](tmp_path)
    files = SPECS[name].splits["val"].labels.archives[0]
    for file in files:
        (tmp_path / file).unlink(missing_ok=True)
    with raises(ArchiveError, f"{SPECS[name].title} val:", " or ".join(files), SPECS[name].homepage):
        open_dataset(name, tmp_path, "val")


@pytest.mark.parametrize(
    ("name", "known"),
    [("bdd100k", "0-18, 255"), ("urbansyn", "0-19, 255"), ("acdc", "0-18, 255"), ("mapillary", "0-65")],
)
def test_open_dataset__label_value_that_no_class_has(name: str, known: str, tmp_path: Path):
    options = {} if name == "urbansyn" else {"packing": "folder"}
    WRITERS[name][0](tmp_path, **options)
    dataset = open_dataset(name, tmp_path, "train")
    label = tmp_path / dataset.index.labels.name(0)
    label.write_bytes(encode(np.full(SIZE, 200, np.uint8), "PNG"))
    with raises(
        LabelError, f"{label.name} holds values that no class has: 200 (3072 pixels). Known are {known}."
    ):
        open_dataset(name, tmp_path, "train")[0]


def test_synthia__class_that_is_not_defined(tmp_path: Path):
    write_synthia(tmp_path)
    files: Files = {
        "RAND_CITYSCAPES/GT/LABELS/0000000.png": encode_synthia(
            np.full(SIZE, 23, np.uint8), np.zeros(SIZE, np.uint16)
        )
    }
    pack(files, tmp_path, "folder")
    with raises(LabelError, "0000000.png holds values that no class has: 23 (3072 pixels). Known are 0-22."):
        open_dataset("synthia", tmp_path, "train")[0]


def test_doctor__reads_labels_of_three_channels_and_many_to_one(tmp_path: Path):
    write_synthia(tmp_path)
    write_cityscapes(tmp_path)
    report = examine(tmp_path, name="synthia")
    assert not [finding for finding in report.findings if finding.severity == "error"]
    write_mapillary(tmp_path / "vistas")
    report = examine(tmp_path / "vistas", name="mapillary")
    assert not [finding for finding in report.findings if finding.severity == "error"]
