"""The constants of the known data sets agree with their class files and with what is published."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.errors import raises
from vfmseg.data.catalog import DATASETS, SPECS, check_name
from vfmseg.data.spec import DatasetSpec, format_ranges, read_label_map
from vfmseg.errors import DataError
from vfmseg.types import IGNORE_INDEX


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_spec__states_the_number_of_classes_of_its_files(spec: DatasetSpec):
    for split in spec.splits:
        label_map = spec.label_map(split)
        ids = set(label_map.raw_to_id.values()) - {IGNORE_INDEX}
        assert label_map.label_space.num_classes == spec.num_classes
        assert ids == set(range(spec.num_classes))


@pytest.mark.parametrize(
    ("classes", "ignored", "raw_values"),
    [
        ("ade20k", (0,), "0-150"),
        ("pascal_voc2012", (255,), "0-20, 255"),
        ("cityscapes", (), "0-33"),
        ("gta5", (), "0-34"),
    ],
)
def test_read_label_map__raw_values_allowed(classes: str, ignored: tuple[int, ...], raw_values: str):
    assert read_label_map(classes, ignored).raw_values == raw_values


def test_read_label_map__published_ids():
    ade = read_label_map("ade20k", (0,))
    assert [ade.raw_to_id[v] for v in (0, 1, 2, 150)] == [IGNORE_INDEX, 0, 1, 149]
    city = read_label_map("cityscapes")
    assert [city.raw_to_id[v] for v in (7, 8, 11, 33, 0, 14, 30)] == [0, 1, 2, 18, *[IGNORE_INDEX] * 3]
    assert city.label_space.names[:2] == ("road", "sidewalk")
    assert city.label_space.colours[0] == (128, 64, 128)
    assert sum(city.label_space.is_thing) == 8
    assert sum(ade.label_space.is_thing) == 100


@pytest.mark.parametrize(
    ("classes", "first", "last"),
    [("ade20k", 1, 150), ("cityscapes", 7, 33), ("coco_panoptic", 1, 200), ("coco_instance", 1, 90)],
)
def test_read_label_map__categories_are_called_as_in_the_annotations(classes: str, first: int, last: int):
    label_map = read_label_map(classes)
    ids = label_map.label_space.category_ids
    assert (ids[0], ids[-1]) == (first, last)
    assert [label_map.raw_to_id[i] for i in ids] == list(range(label_map.label_space.num_classes))


def test_gta5__classes_and_validation_are_those_of_cityscapes():
    gta, city = SPECS["gta5"], SPECS["cityscapes"]
    assert gta.label_map("train").label_space == city.label_map("val").label_space
    assert gta.splits["val"] == city.splits["val"]


def test_files__each_download_once():
    assert SPECS["ade20k"].files == ("ADEChallengeData2016.zip",)
    assert SPECS["cityscapes"].files == ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip")
    assert len(SPECS["gta5"].files) == 22
    assert DATASETS["pascal_voc"].files == ("VOCtrainval_11-May-2012.zip",)


def test_split__unknown_one():
    with raises(DataError, "Cityscapes has no split 'valid'", "Splits: train, val.", "Did you mean val"):
        SPECS["cityscapes"].split("valid")


def test_check_name__unknown_one():
    check_name("ade20k")
    with raises(DataError, "There is no data set 'cityscape'", "Did you mean cityscapes"):
        check_name("cityscape")


def test_format_ranges__joins_runs():
    assert format_ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert format_ranges([]) == ""


def test_catalog__imports_nothing_heavy():
    code = (
        "import sys, vfmseg.data.catalog; "
        "sys.exit(','.join({'torch', 'cv2', 'yaml', 'PIL', 'numpy'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
