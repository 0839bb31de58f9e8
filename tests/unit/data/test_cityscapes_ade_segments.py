"""Cityscapes and ADE20K as panoptic and instance data: from instance ids, from the toolkit's JSON, from two PNGs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.archives import (
    ADE_CAR,
    SIZE,
    Packing,
    ade20k_instances,
    cityscapes_instance_ids,
    draw_label,
    encode,
    pack,
    write_ade20k,
    write_ade20k_instances,
    write_cityscapes,
    write_cityscapes_panoptic,
)
from support.errors import raises
from vfmseg.data.dataset import open_dataset
from vfmseg.errors import ArchiveError, DataError, LabelError
from vfmseg.types import IGNORE_INDEX

CITYSCAPES = [7, 11, 0, 23, 26]
ADE = [1, 3, 0, 150, 21]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VFMSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_cityscapes__segments_from_instance_ids(tmp_path: Path, packing: Packing):
    write_cityscapes(tmp_path / "data", packing=packing)
    dataset = open_dataset("cityscapes", tmp_path / "data", "train", task="panoptic")
    assert dataset.label_space.num_classes == 19
    assert "instanceIds.png" in dataset.label_path(0)
    for number in range(4):
        raw = cityscapes_instance_ids(draw_label(CITYSCAPES, SIZE, number))
        sample = dataset[number]
        targets = sample.targets
        values = [v for v in np.unique(raw).tolist() if v != 0]
        assert targets.segment_classes.tolist() == [
            {7: 0, 11: 2, 23: 10, 26: 13}[v if v < 1000 else v // 1000] for v in values
        ]
        assert targets.segment_is_crowd.tolist() == [v == 26 for v in values]
        for segment, value in enumerate(values):
            np.testing.assert_array_equal(targets.id_map.numpy() == segment, raw == value)
        np.testing.assert_array_equal(targets.id_map.numpy() == IGNORE_INDEX, raw == 0)


@pytest.mark.parametrize("packing", ["folder", "zip"])
@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_cityscapes__same_from_what_the_toolkit_made(tmp_path: Path, packing: Packing, task: str):
    write_cityscapes(tmp_path / "data", packing="folder")
    expected = open_dataset("cityscapes", tmp_path / "data", "train", task=task)
    write_cityscapes_panoptic(tmp_path / "data", packing=packing)
    dataset = open_dataset("cityscapes", tmp_path / "data", "train", task=task)
    assert "cityscapes_panoptic_train" in dataset.label_path(0)
    assert "instanceIds" in expected.label_path(0)
    assert list(dataset.names) == list(expected.names)
    assert dataset.label_space == expected.label_space
    for index in range(4):
        targets, others = dataset[index].targets, expected[index].targets
        assert (targets.id_map == others.id_map).all()
        assert targets.segment_classes.tolist() == others.segment_classes.tolist()
        assert targets.segment_is_crowd.tolist() == others.segment_is_crowd.tolist()
        truth, other = dataset.instance_truth(index), expected.instance_truth(index)
        assert truth.rles == other.rles
        assert truth.classes.tolist() == other.classes.tolist()
        assert truth.is_crowd.tolist() == other.is_crowd.tolist()
    if task == "instance":
        assert dataset.label_space.names[:3] == ("person", "rider", "car")
        assert dataset.label_space.category_ids == (24, 25, 26, 27, 28, 31, 32, 33)
        assert set(dataset.instance_truth(0).classes.tolist()) == {2}
        assert len(dataset.label_space.names) == 8


def test_cityscapes__value_that_is_no_instance_id(tmp_path: Path):
    write_cityscapes(tmp_path / "data", packing="folder")
    path = next((tmp_path / "data" / "gtFine" / "train").rglob("*_instanceIds.png"))
    path.write_bytes(encode(np.full(SIZE, 99_0, np.uint16), "PNG"))
    dataset = open_dataset("cityscapes", tmp_path / "data", "train", task="panoptic")
    with raises(LabelError, "instanceIds.png", "holds the values [990]", "0-33"):
        [dataset.targets(i) for i in range(4)]


def test_cityscapes__files_missing(tmp_path: Path):
    write_cityscapes(tmp_path / "data")
    (tmp_path / "data" / "gtFine_trainvaltest.zip").unlink()
    with raises(ArchiveError, "gtFine_trainvaltest.zip", "https://www.cityscapes-dataset.com"):
        open_dataset("cityscapes", tmp_path / "data", "train", task="panoptic")
    with raises(DataError, "Cityscapes has no split 'test'", "train, val"):
        open_dataset("cityscapes", tmp_path / "data", "test", task="panoptic")


def ade(path: Path, **options: Any) -> Any:
    return open_dataset("ade20k", path, "train", **{"task": "panoptic", **options})


@pytest.mark.parametrize("packing", ["zip", "tar", "tar.gz", "folder"])
def test_ade20k__stuff_and_things(tmp_path: Path, packing: Packing):
    write_ade20k(tmp_path / "data", packing="folder" if packing == "folder" else "zip")
    dataset = ade(write_ade20k_instances(tmp_path / "data", packing=packing))
    assert sum(dataset.label_space.is_thing) == 100
    for index in range(4):
        label = draw_label(ADE, SIZE, index + 1)
        red_green = ade20k_instances(label)
        targets = dataset[index].targets
        green = red_green[..., 1]
        expected = [(0, (label == 1) & (green == 0)), (2, (label == 3) & (green == 0))]
        expected += [(20, green == number) for number in (5, 9)]
        expected = [(class_id, mask) for class_id, mask in expected if mask.any()]
        assert targets.segment_classes.tolist() == [class_id for class_id, _ in expected]
        assert not targets.segment_is_crowd.any()
        for segment, (_, mask) in enumerate(expected):
            np.testing.assert_array_equal(targets.id_map.numpy() == segment, mask)
        lost = (green == 0) & np.isin(label, [0, 150, 21])  # also things that are no instance
        np.testing.assert_array_equal(targets.id_map.numpy() == IGNORE_INDEX, lost)
        assert dataset.instance_truth(index).classes.tolist() == [20] * sum(c == 20 for c, _ in expected)


def test_ade20k__instance_task_has_100_classes(tmp_path: Path):
    write_ade20k(tmp_path / "data")
    dataset = ade(write_ade20k_instances(tmp_path / "data"), task="instance")
    assert dataset.label_space.num_classes == 100
    car = dataset.label_space.names.index("car")
    assert set(dataset.targets(0).segment_classes.tolist()) == {car}
    assert set(dataset.instance_truth(0).classes.tolist()) == {car}


def test_ade20k__instance_labels_missing(tmp_path: Path):
    write_ade20k(tmp_path / "data")
    with raises(ArchiveError, "annotations_instance.zip or annotations_instance.tar", "ChallengeData2017"):
        ade(tmp_path / "data")


def instance_label_of_first(path: Path, pixels: np.ndarray | None) -> Path:
    """Write ADE20K with this instance label, or none, for the first image."""
    write_ade20k(path)
    write_ade20k_instances(path, packing="folder")
    name = "annotations_instance/training/ADE_train_00000001.png"
    if pixels is None:
        (path / name).unlink()
    else:
        pack({name: encode(pixels, "PNG")}, path, "folder")
    return path


def test_ade20k__one_instance_label_missing(tmp_path: Path):
    instance_label_of_first(tmp_path / "data", None)
    with raises(DataError, "ADE_train_00000001.jpg has no label"):
        ade(tmp_path / "data")
    dataset = ade(tmp_path / "data", allow_unpaired=True)
    assert [name[-6:-4] for name in dataset.names] == ["02", "03", "04"]
    label = draw_label(ADE, SIZE, 2)
    assert (dataset.targets(0).id_map.numpy() == IGNORE_INDEX).sum() == (
        (ade20k_instances(label)[..., 1] == 0) & np.isin(label, [0, 150, 21])
    ).sum()


def test_ade20k__bad_instance_labels(tmp_path: Path):
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[0, 0] = (101, 3, 0)
    dataset = ade(instance_label_of_first(tmp_path / "a", pixels))
    with raises(LabelError, "ADE_train_00000001.png has the instance 3 with red 101", "red is 1 to 100"):
        dataset.targets(0)
    with raises(LabelError, "is 2 x 64", "are 48 x 64"):
        ade(instance_label_of_first(tmp_path / "b", pixels[:2])).targets(0)
    with raises(LabelError, "is grey"):
        ade(instance_label_of_first(tmp_path / "c", pixels[..., 0])).targets(0)
    assert ADE_CAR == 9
