"""Masks of classes with instance numbers beside them, generated scenes among them, as panoptic and instance data."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from support.archives import encode, pack
from support.errors import raises
from vfmseg.data.dataset import open_dataset
from vfmseg.data.scene_style import SCENES
from vfmseg.data.scene_writer import SceneSettings, ensure_scenes, write_scenes
from vfmseg.data.scenes import render_scene
from vfmseg.data.segments import number_of, paint_segments
from vfmseg.errors import DataError, LabelError
from vfmseg.types import IGNORE_INDEX

DESCRIPTION = b"names: [ground, box, cone]\nthings: [box, cone]\n"


def own_files(classes: np.ndarray, numbers: np.ndarray) -> dict[str, bytes]:
    """One training image with its classes and instance numbers."""
    return {
        "dataset.yaml": DESCRIPTION,
        "images/train/a.png": encode(np.zeros((*classes.shape, 3), np.uint8), "PNG"),
        "masks/train/a.png": encode(classes.astype(np.uint8), "PNG"),
        "instances/train/a.png": encode(numbers.astype(np.uint16), "PNG"),
    }


def squares() -> tuple[np.ndarray, np.ndarray]:
    """Ground with two boxes, a cone, and boxes that nobody told apart."""
    classes, numbers = np.zeros((8, 12), np.uint8), np.zeros((8, 12), np.uint16)
    for column, class_id, number in ((0, 1, 7), (3, 1, 300), (6, 2, 7), (9, 1, 0)):
        classes[2:5, column : column + 2], numbers[2:5, column : column + 2] = class_id, number
    classes[7] = 255
    return classes, numbers


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_scenes__segments_are_those_rendered(tmp_path: Path, task: str):
    write_scenes(tmp_path / "s", train=3, val=1, size=(96, 128), instances=True, seed=2)
    dataset = open_dataset("scenes", tmp_path / "s", "train", task=task)
    assert dataset.label_space.names == (SCENES.names if task == "panoptic" else ("person", "car", "bicycle"))
    assert "Not used" not in dataset.sentence
    for index in range(3):
        scene = render_scene(2_000_000 + index, "day", (96, 128))
        sample = dataset[index]
        ids, classes = sample.targets.id_map.numpy(), sample.targets.segment_classes.numpy()
        assert classes.dtype == np.int64
        names = np.array([*[dataset.label_space.names[c] for c in classes], *[""] * (256 - len(classes))])
        is_thing = np.isin(scene.class_map, np.flatnonzero(SCENES.is_thing))
        has_class = (scene.class_map != IGNORE_INDEX) & (is_thing if task == "instance" else True)
        expected = np.array([*SCENES.names, *[""] * 245])[scene.class_map]
        np.testing.assert_array_equal(names[ids], np.where(has_class, expected, ""))
        is_group = is_thing & (scene.instance_map == 0)
        things, groups = int(scene.instance_map.max()), len(np.unique(scene.class_map[is_group]))
        stuff = len(np.unique(scene.class_map[has_class & ~is_thing]))
        assert len(classes) == things + groups + stuff
        assert sample.targets.segment_is_crowd.sum() == groups > 0
        assert set(ids[is_group]) == set(np.flatnonzero(sample.targets.segment_is_crowd))
        for number in range(1, things + 1):
            (segment,) = np.unique(ids[scene.instance_map == number])
            np.testing.assert_array_equal(ids == segment, scene.instance_map == number)
        truth = dataset.instance_truth(index)
        assert (len(truth), truth.is_crowd.sum()) == (things + groups, groups)
        assert truth.areas.sum() == is_thing.sum() == truth.masks.sum()
        for mask, class_id in zip(truth.masks, truth.classes.tolist(), strict=True):
            assert set(expected[mask]) == {dataset.label_space.names[class_id]}


def test_scenes__in_the_cache_have_instances(tmp_path: Path):
    path = ensure_scenes(SceneSettings(train=2, val=1, size=(64, 64)), tmp_path)
    assert len(open_dataset("folder", path, "val", task="panoptic")) == 1


def test_scenes__packed(tmp_path: Path):
    write_scenes(tmp_path / "s.zip", train=2, val=1, size=(64, 64), packed=True, instances=True)
    dataset = open_dataset("scenes", tmp_path / "s.zip", "val", task="panoptic")
    copy = pickle.loads(pickle.dumps(dataset))
    assert (copy[0].targets.id_map == dataset[0].targets.id_map).all()
    assert copy[-1].name == "images/val/day_00000.jpg"
    with pytest.raises(IndexError):
        dataset[1]


def test_scenes__same_instances_in_the_layout_of_cityscapes(tmp_path: Path):
    for layout in ("folder", "cityscapes"):
        write_scenes(tmp_path / layout, train=2, val=0, size=(64, 96), instances=True, layout=layout)
    for index in range(2):
        ids = []
        for layout in ("folder", "cityscapes"):
            dataset = open_dataset(layout, tmp_path / layout, "train", task="instance")
            truth = dataset.instance_truth(index)
            names = [dataset.label_space.names[i] for i in truth.classes.tolist()]
            ids.append(sorted(zip(names, truth.is_crowd.tolist(), truth.rles, strict=True)))
        assert ids[0] == ids[1]


def test_numbers__instances_crowds_and_void(tmp_path: Path):
    pack(own_files(*squares()), tmp_path, "folder")
    targets = open_dataset("folder", tmp_path, "train", task="panoptic").targets(0)
    assert targets.segment_classes.tolist() == [0, 1, 1, 1, 2]
    assert targets.segment_is_crowd.tolist() == [False, True, False, False, False]
    assert targets.id_map[3, [0, 2, 3, 6, 9]].tolist() == [2, 0, 3, 4, 1]
    assert (targets.id_map[7] == IGNORE_INDEX).all()
    dataset = open_dataset("folder", tmp_path, "train", task="instance")
    things = dataset.targets(0)
    assert dataset.label_space.names == ("box", "cone")
    assert things.segment_classes.tolist() == [0, 0, 0, 1]
    assert things.id_map[3, [0, 2, 3, 6, 9]].tolist() == [1, 255, 2, 3, 0]
    truth = dataset.instance_truth(0)
    assert truth.is_crowd.tolist() == [True, False, False, False]
    assert truth.areas.tolist() == [6, 6, 6, 6]
    assert truth.packed_masks.shape == (4, 8, 2)


def test_numbers__image_of_void_alone_is_kept_or_left_out(tmp_path: Path):
    classes, numbers = squares()
    files = own_files(classes, numbers)
    for kind, pixels in (("masks", np.full_like(classes, 255)), ("instances", np.zeros_like(numbers))):
        files[f"{kind}/train/b.png"] = encode(pixels, "PNG")
    files["images/train/b.png"] = files["images/train/a.png"]
    pack(files, tmp_path, "folder")
    dataset = open_dataset("folder", tmp_path, "train", task="panoptic")
    assert len(dataset) == 2
    assert dataset[1].targets.segment_classes.shape == (0,)
    assert len(dataset.instance_truth(1)) == 0
    assert dataset.instance_truth(1).masks.shape == (0, *classes.shape)
    dataset = open_dataset("folder", tmp_path, "train", task="panoptic", skip_constant_labels=True)
    assert list(dataset.names) == ["images/train/a.png"]
    assert [s.reason for s in dataset.skipped] == ["its label has one single value"]


def test_numbers__more_than_can_be_told_apart(tmp_path: Path):
    numbers = np.arange(300 * 300).reshape(300, 300) % (1 << 16)
    classes = np.repeat([1, 2], 150)[:, None].repeat(300, 1)  # 90,000 pairs of class and number
    pack(own_files(classes, numbers), tmp_path, "folder")
    dataset = open_dataset("folder", tmp_path, "train", task="panoptic")
    with raises(LabelError, "instances/train/a.png", "tells 90000 segments apart", "65534 are possible"):
        dataset[0]


def test_numbers__on_stuff(tmp_path: Path):
    classes, numbers = squares()
    numbers[0, 0] = 5
    pack(own_files(classes, numbers), tmp_path, "folder")
    with raises(LabelError, "has the instance 5 on pixels of 'ground'", "no thing", "Things are: box, cone"):
        open_dataset("folder", tmp_path, "train", task="panoptic").targets(0)
    with raises(DataError, "all 1 samples were left out", "has the instance 5"):
        open_dataset("folder", tmp_path, "train", task="panoptic", skip_bad=True)


def test_numbers__other_size(tmp_path: Path):
    classes, numbers = squares()
    pack(own_files(classes, numbers[:4]), tmp_path, "folder")
    with raises(LabelError, "instances/train/a.png is 4 x 12", "masks/train/a.png are 8 x 12"):
        open_dataset("folder", tmp_path, "train", task="panoptic").targets(0)


def test_numbers__none_for_some_or_all_images(tmp_path: Path):
    files = own_files(*squares())
    del files["instances/train/a.png"]
    pack(files, tmp_path / "none", "folder")
    with raises(DataError, "masks of classes but no instances", "instances/train/a.png", "instances=True"):
        open_dataset("folder", tmp_path / "none", "train", task="panoptic")
    files = own_files(*squares())
    files |= {f"{kind}/train/b.png": files[f"{kind}/train/a.png"] for kind in ("images", "masks")}
    pack(files, tmp_path / "some", "folder")
    with raises(DataError, "images/train/b.png has no instance numbers (instances/train/b.png)"):
        open_dataset("folder", tmp_path / "some", "train", task="panoptic")
    dataset = open_dataset("folder", tmp_path / "some", "train", task="panoptic", allow_unpaired=True)
    assert list(dataset.names) == ["images/train/a.png"]
    assert dataset[0].targets.segment_classes.tolist() == [0, 1, 1, 1, 2]


def test_numbers__no_class_is_a_thing(tmp_path: Path):
    files = own_files(*squares()) | {"dataset.yaml": b"names: [ground, box, cone]\n"}
    pack(files, tmp_path, "folder")
    with raises(DataError, "no class is a thing", "`things:`", "ground, box, cone"):
        open_dataset("folder", tmp_path, "train", task="panoptic")


def test_task__that_a_data_set_has_not(tmp_path: Path):
    with raises(
        DataError, "PASCAL VOC 2012 has no labels for the task panoptic", "It has: semantic", "scenes"
    ):
        open_dataset("pascal_voc", tmp_path, "train", task="panoptic")
    with raises(DataError, "There is no task 'panoptics'", "Did you mean panoptic, semantic?"):
        open_dataset("pascal_voc", tmp_path, "train", task="panoptics")


def test_instance_truth__of_a_semantic_data_set(tmp_path: Path):
    pack(own_files(*squares()), tmp_path, "folder")
    with raises(DataError, "was opened for the task semantic"):
        open_dataset("folder", tmp_path, "train").instance_truth(0)


def test_paint_segments__more_than_255():
    places = np.arange(1, 301, dtype=np.uint16).reshape(1, 300)
    targets = paint_segments(places, np.arange(300) % 7, np.arange(300) % 2 == 0)
    assert targets.id_map.numpy().dtype == np.int32
    numbers = targets.id_map.numpy()[0]
    np.testing.assert_array_equal(numbers, number_of(300))
    assert IGNORE_INDEX not in numbers
    assert targets.segment_classes.shape == (301,)
    np.testing.assert_array_equal(targets.segment_classes.numpy()[numbers], np.arange(300) % 7)
    np.testing.assert_array_equal(targets.segment_is_crowd.numpy()[numbers], np.arange(300) % 2 == 0)


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.int32)])
def test_paint_segments__width_of_the_map(count: int, dtype: type):
    places = np.arange(count + 1, dtype=np.uint16).reshape(1, -1)
    targets = paint_segments(places, np.zeros(count), np.zeros(count, bool))
    assert targets.id_map.numpy().dtype == dtype
    assert targets.id_map[0, 0] == IGNORE_INDEX
    assert len(np.unique(targets.id_map)) == count + 1
