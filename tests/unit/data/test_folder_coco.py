"""Own data in COCO's format: the JSON of a split is found, with its images, in the layouts that tools write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.archives import (
    COCO_IDS,
    SIZE,
    Files,
    as_rgb_ids,
    coco_instance,
    coco_segment,
    draw_image,
    draw_label,
    encode,
    make_old,
    pack,
)
from support.errors import raises
from vfmseg.data import folder_coco
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.errors import DataError, LabelError

CATEGORIES = [
    {"id": 200, "name": "rug", "isthing": 0, "color": [1, 2, 3]},
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 3, "name": "car"},
    {"id": 90, "name": "brush"},
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VFMSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def own_files(
    *,
    kind: str = "instance",
    image: str = "images/{}",
    json_name: str = "annotations/instances_train.json",
    label: str = "",
    count: int = 3,
    first: int = 1,
    name_in_json: str = "{}",
    **extra: Any,
) -> Files:
    """One split: images, its JSON and, for panoptic, label images."""
    files: Files = {}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES, **extra}
    for number in range(first, first + count):
        values = draw_label([0, 1, 2, 3], SIZE, number)
        files[image.format(f"{number}.jpg")] = encode(draw_image(values, number), "JPEG")
        entry = {
            "id": number,
            "file_name": name_in_json.format(f"{number}.jpg"),
            "height": SIZE[0],
            "width": SIZE[1],
        }
        content["images"].append(entry)
        if kind == "instance":
            content["annotations"] += [{"image_id": number, **coco_instance(v, values)} for v in (1, 2, 3)]
        else:
            files[label.format(f"{number}.png")] = encode(as_rgb_ids(COCO_IDS[values]), "PNG")
            segments = [coco_segment(v, values) for v in (1, 2, 3)]
            content["annotations"].append(
                {"image_id": number, "file_name": f"{number}.png", "segments_info": segments}
            )
    files[json_name] = json.dumps(content).encode()
    return files


def opened(
    files: Files, path: Path, split: str = "train", task: str = "instance", **more: Any
) -> SegmentationDataset:
    pack(files, path, "folder")
    make_old(path)
    return open_dataset("folder", path, split, task=task, **more)


LAYOUTS = {
    "one images folder": {"image": "images/{}", "json_name": "annotations/instances_train.json"},
    "images by split": {"image": "images/train/{}", "json_name": "annotations/train.json"},
    "COCO's own": {"image": "train2017/{}", "json_name": "annotations/instances_train2017.json"},
    "beside the JSON": {"image": "train/{}", "json_name": "train/_annotations.coco.json"},
    "folders in the names": {"image": "images/a/b/{}", "json_name": "train.json", "name_in_json": "a/b/{}"},
    "no split": {"image": "images/{}", "json_name": "labels.json"},
    "all at the top": {"image": "{}", "json_name": "train.json"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folder__instances(tmp_path: Path, layout: str):
    dataset = opened(own_files(**LAYOUTS[layout]), tmp_path / "d")
    assert len(dataset) == 3
    assert dataset.label_space.names == ("person", "car", "brush", "rug")
    assert dataset.label_space.colours[3] == (1, 2, 3)
    assert dataset.label_space.category_ids == (1, 3, 90, 200)
    assert all(dataset.label_space.is_thing)
    assert dataset[0].targets.segment_classes.tolist() == [0, 2, 1]
    assert dataset.instance_truth(2).is_crowd.tolist() == [False, False, True]
    assert dataset.names[0] == LAYOUTS[layout]["image"].format("1.jpg")


@pytest.mark.parametrize(
    ("label", "json_name"),
    [
        ("annotations/panoptic_train/{}", "annotations/panoptic_train.json"),
        ("masks/train/{}", "train.json"),
        ("panoptic_train/{}", "panoptic_train.json"),
    ],
)
def test_folder__panoptic_and_its_things(tmp_path: Path, label: str, json_name: str):
    files = own_files(kind="panoptic", image="images/train/{}", label=label, json_name=json_name)
    dataset = opened(files, tmp_path / "d", task="panoptic")
    assert dataset.label_space.is_thing == (True, True, True, False)
    values = draw_label([0, 1, 2, 3], SIZE, 1)
    expected = np.array([255, 0, 1, 2], np.uint8)[values]
    np.testing.assert_array_equal(dataset[0].targets.id_map.numpy(), expected)
    assert dataset[0].targets.segment_classes.tolist() == [0, 3, 1]
    things = open_dataset("folder", tmp_path / "d", "train", task="instance")
    assert things.label_space.names == ("person", "car", "brush")
    assert things[0].targets.segment_classes.tolist() == [0, 1]


def test_folder__two_splits_share_images(tmp_path: Path):
    files = own_files(json_name="annotations/instances_train.json")
    files |= own_files(json_name="annotations/instances_val.json", first=10, count=2)
    files["images/99.jpg"] = files["images/1.jpg"]
    dataset = opened(files, tmp_path / "d")
    assert len(dataset) == 3
    assert "3 more images lie there that instances_train.json does not name" in dataset.sentence
    assert len(open_dataset("folder", tmp_path / "d", "val", task="instance")) == 2


def test_folder__equal_names_in_both_splits(tmp_path: Path):
    files = own_files(image="train/{}", json_name="train/_annotations.coco.json")
    files |= own_files(image="valid/{}", json_name="valid/_annotations.coco.json", count=2)
    dataset = opened(files, tmp_path / "d", "val")
    assert list(dataset.names) == ["valid/1.jpg", "valid/2.jpg"]


def test_folder__zip(tmp_path: Path):
    pack(own_files(), tmp_path / "d.zip", "zip")
    dataset = open_dataset("folder", tmp_path / "d.zip", "train", task="instance")
    assert dataset[0].targets.segment_classes.tolist() == [0, 2, 1]


def test_folder__head_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened(own_files(), tmp_path / "d")

    def fail(_: bytes) -> None:
        raise AssertionError("the JSON was read again")

    monkeypatch.setattr(folder_coco, "read_head", fail)
    assert len(open_dataset("folder", tmp_path / "d", "train", task="instance")) == 3


def test_folder__share_to_validate_on(tmp_path: Path):
    names = [
        set(opened(own_files(count=10), tmp_path / "d", split, val_fraction=0.3, seed=1).names)
        for split in ("train", "val")
    ]
    assert [len(n) for n in names] == [7, 3]
    assert not names[0] & names[1]
    val = open_dataset("folder", tmp_path / "d", "val", task="instance", val_fraction=0.3, seed=1)
    number = int(Path(val.names[0]).stem)
    label = draw_label([0, 1, 2, 3], SIZE, number)
    assert val.instance_truth(0).areas[2] == coco_instance(3, label)["area"]
    with raises(DataError, "val_fraction 0.01 of 10 images leaves train or val empty"):
        open_dataset("folder", tmp_path / "d", "val", task="instance", val_fraction=0.01)
    files = own_files(json_name="annotations/instances_val.json", first=20)
    with raises(DataError, "has a val split of its own: leave out val_fraction"):
        opened(files, tmp_path / "d", "val", val_fraction=0.3)


def test_folder__no_json_for_the_split_or_task(tmp_path: Path):
    with raises(
        DataError,
        "no COCO JSON for split val and task instance",
        "instances_train.json (instance, train)",
        "_val.json",
    ):
        opened(own_files(), tmp_path / "d", "val")
    with raises(DataError, "for split train and task panoptic", "panoptic files have `segments_info`"):
        open_dataset("folder", tmp_path / "d", "train", task="panoptic")


def test_folder__two_jsons_for_one_split(tmp_path: Path):
    files = own_files()
    files["annotations/train.json"] = files["annotations/instances_train.json"]
    with raises(
        DataError, "several JSONs for split train: annotations/instances_train.json, annotations/train.json"
    ):
        opened(files, tmp_path / "d")


def test_folder__image_without_entry(tmp_path: Path):
    files = own_files()
    files["images/99.png"] = files["images/1.jpg"]
    with raises(DataError, "images/99.png has no entry in instances_train.json"):
        opened(files, tmp_path / "d")
    assert len(opened(files, tmp_path / "d", allow_unpaired=True)) == 3


def test_folder__json_without_any_of_its_images(tmp_path: Path):
    files = {name: data for name, data in own_files().items() if name.endswith(".json")}
    with raises(
        DataError, "none of the images that annotations/instances_train.json names is there, such as 1.jpg"
    ):
        opened(files, tmp_path / "d")


@pytest.mark.parametrize(
    ("categories", "text"),
    [
        ([*CATEGORIES, {"id": 1, "name": "x"}], "two categories with the id 1"),
        ([*CATEGORIES, {"id": 7, "name": "car"}], "two categories with the name 'car'"),
        ([], "has 0 categories"),
        (CATEGORIES[:2], "category ids 3, 90, which are none"),
    ],
)
def test_folder__categories_that_make_no_sense(tmp_path: Path, categories: list[Any], text: str):
    with raises(LabelError, "instances_train.json", text):
        opened(own_files(categories=categories), tmp_path / "d")


def test_folder__other_json_files_are_passed_over(tmp_path: Path):
    files = own_files() | {
        "info.json": b"[1]",
        "train_more.json": b'{"images": [], "annotations": []}',
        "a.json": b"{",
    }
    assert len(opened(files, tmp_path / "d")) == 3
