"""COCO panoptic from its original zips and unpacked: what is read, what is kept, and every contradiction."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from support.archives import SIZE, Files, Packing, as_rgb_ids, draw_label, encode, make_old, write_coco
from support.errors import raises
from vfmseg.data import json_plan, segment_cache
from vfmseg.data.collate import collate_samples
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.spec import read_label_map
from vfmseg.errors import ArchiveError, DataError, LabelError
from vfmseg.types import IGNORE_INDEX

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VFMSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def panoptic(path: Path, split: str = "train", **options: Any) -> SegmentationDataset:
    return open_dataset("coco", path, split, task="panoptic", **options)


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_coco__segments(tmp_path: Path, packing: Packing):
    write_coco(tmp_path / "coco", packing=packing)
    dataset = panoptic(tmp_path / "coco")
    assert dataset.label_space.num_classes == 133
    assert dataset.label_space.names == read_label_map("coco_panoptic").label_space.names
    assert list(dataset.names) == [f"train2017/{n:012d}.jpg" for n in range(1, 5)]
    label = draw_label([0, 1, 2, 3], SIZE, 1)
    targets = dataset[0].targets
    assert targets.segment_classes.tolist() == [0, 132, 2]
    assert [dataset.label_space.names[c] for c in (0, 2)] == ["person", "car"]
    assert targets.segment_is_crowd.tolist() == [False, False, True]
    np.testing.assert_array_equal(targets.id_map.numpy(), np.array([IGNORE_INDEX, 0, 1, 2], np.uint8)[label])
    assert dataset[0].image.shape == (3, *SIZE)
    assert len(panoptic(tmp_path / "coco", "val")) == 2


def test_coco__things_as_instances(tmp_path: Path):
    dataset = panoptic(write_coco(tmp_path / "coco"))
    truth = dataset.instance_truth(0)
    label = draw_label([0, 1, 2, 3], SIZE, 1)
    assert truth.classes.tolist() == [0, 2]
    assert truth.is_crowd.tolist() == [False, True]
    np.testing.assert_array_equal(truth.masks, np.stack([label == 1, label == 3]))


def test_coco__image_without_objects_and_image_of_a_crowd_alone(tmp_path: Path):
    dataset = panoptic(write_coco(tmp_path / "coco"))
    assert dataset[2].targets.segment_classes.shape == (0,)
    assert (dataset[2].targets.id_map == IGNORE_INDEX).all()
    assert len(dataset.instance_truth(2)) == 0
    assert dataset[3].targets.segment_is_crowd.tolist() == [True]
    dataset = panoptic(tmp_path / "coco", skip_constant_labels=True)
    assert [name[-6:-4] for name in dataset.names] == ["01", "02", "04"]
    assert [s.reason for s in dataset.skipped] == ["no segment is annotated"]
    assert dataset[2].targets.segment_classes.tolist() == [2]
    assert dataset[2].targets.segment_is_crowd.tolist() == [True]


def test_coco__same_from_the_cache_in_workers_and_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_coco(tmp_path / "coco")
    first = [panoptic(tmp_path / "coco")[i].targets for i in range(4)]

    def fail(*_: object) -> None:
        raise AssertionError("the JSON was read again")

    monkeypatch.setattr(json_plan, "match", fail)
    dataset = panoptic(tmp_path / "coco")
    loaded = [s for batch in DataLoader(dataset, num_workers=1, collate_fn=collate_samples) for s in batch]
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(pickle.dumps(dataset)) < 20_000
    for expected, sample, other in zip(first, loaded, copy, strict=True):
        for targets in (sample.targets, other.targets):
            assert (targets.id_map == expected.id_map).all()
            assert (targets.segment_classes == expected.segment_classes).all()
            assert (targets.segment_is_crowd == expected.segment_is_crowd).all()


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_coco__an_edited_json_is_read_again(tmp_path: Path, packing: Packing):
    write_coco(tmp_path / "coco", packing=packing)
    assert panoptic(tmp_path / "coco").targets(0).segment_classes.tolist() == [0, 132, 2]

    def edit(split: str, content: Json, labels: Files) -> None:
        content["annotations"][0]["segments_info"][0]["category_id"] = 90

    write_coco(tmp_path / "coco", packing=packing, edit=edit, stamp=False)
    assert panoptic(tmp_path / "coco").targets(0).segment_classes.tolist() == [79, 132, 2]


def test_coco__cache_that_cannot_be_written(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture):
    cache.write_bytes(b"a file where the folder should be")
    dataset = panoptic(write_coco(tmp_path / "coco"))
    assert "could not be kept" in caplog.text
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[0].targets.segment_classes.tolist() == [0, 132, 2]


def test_coco__damaged_cache(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture):
    panoptic(write_coco(tmp_path / "coco"))
    for path in cache.rglob("*.npy"):
        path.write_bytes(b"damaged")
    assert panoptic(tmp_path / "coco").targets(0).segment_classes.tolist() == [0, 132, 2]
    assert "cannot be used" in caplog.text


def test_coco__two_processes_fill_the_cache_at_once(tmp_path: Path):
    arrays = {"a": np.arange(3), "empty": np.zeros(0)}
    first = segment_cache.save_arrays("key", arrays)
    second = segment_cache.save_arrays("key", arrays)
    for found in (first, second, segment_cache.load_arrays("key"), pickle.loads(pickle.dumps(first))):
        assert found is not None
        assert found["a"].tolist() == [0, 1, 2]
        assert found["empty"].shape == (0,)
    assert [path.name for path in (tmp_path / "cache" / "annotations").iterdir()] == ["key"]


def test_coco__partly_unpacked(tmp_path: Path):
    write_coco(tmp_path / "zips")
    write_coco(tmp_path / "folders", packing="folder")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "train2017.zip").symlink_to(tmp_path / "zips" / "train2017.zip")
    (tmp_path / "mixed" / "annotations").symlink_to(tmp_path / "folders" / "annotations")
    assert panoptic(tmp_path / "mixed").targets(0).segment_classes.tolist() == [0, 132, 2]


def test_coco__more_than_255_segments(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        ids = np.zeros(SIZE, np.uint32)
        ids.reshape(-1)[:300] = np.arange(1, 301)
        name = content["annotations"][0]["file_name"]
        labels[name] = encode(as_rgb_ids(ids), "PNG")
        content["annotations"][0]["segments_info"] = [{"id": i, "category_id": 1} for i in range(1, 301)]

    targets = panoptic(write_coco(tmp_path / "coco", edit=edit)).targets(0)
    assert targets.id_map.flatten()[[0, 254, 255, 299, 300]].tolist() == [0, 254, 256, 300, IGNORE_INDEX]


def test_coco__segment_of_the_json_without_pixels_is_left_out(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        content["annotations"][0]["segments_info"].insert(1, {"id": 77, "category_id": 90, "iscrowd": 0})

    assert panoptic(write_coco(tmp_path / "coco", edit=edit)).targets(0).segment_classes.tolist() == [
        0,
        132,
        2,
    ]


def refused(tmp_path: Path, edit: Any, error: type[Exception], *texts: str) -> None:
    write_coco(tmp_path / "coco", edit=lambda split, content, labels: edit(content, labels))
    with raises(error, *texts):
        panoptic(tmp_path / "coco").targets(0)


def test_coco__segment_id_that_the_json_lacks(tmp_path: Path):
    refused(
        tmp_path,
        lambda content, labels: content["annotations"][0]["segments_info"].pop(0),
        LabelError,
        "panoptic_train2017.zip: panoptic_train2017/000000000001.png holds segment ids",
        "3226956 (",
        "fetch or export both again",
    )
    dataset = panoptic(tmp_path / "coco", skip_bad=True)
    assert len(dataset) == 3
    assert dataset.targets(1).segment_classes.shape == (0,)


def test_coco__json_without_image(tmp_path: Path):
    write_coco(tmp_path / "coco", num_train=4)
    write_coco(tmp_path / "less", num_train=3)
    (tmp_path / "coco" / "train2017.zip").write_bytes((tmp_path / "less" / "train2017.zip").read_bytes())
    with raises(DataError, "000000000004.jpg is in panoptic_train2017.json but there is no such image"):
        panoptic(tmp_path / "coco")
    assert len(panoptic(tmp_path / "coco", allow_unpaired=True)) == 3


def test_coco__image_without_entry_and_label_without_entry(tmp_path: Path):
    write_coco(tmp_path / "coco", edit=lambda split, content, labels: content["annotations"].pop(1))
    with raises(
        DataError,
        "train2017/000000000002.jpg has no entry in panoptic_train2017.json",
        "panoptic_train2017/000000000002.png has no entry",
        "allow_unpaired",
    ):
        panoptic(tmp_path / "coco")
    dataset = panoptic(tmp_path / "coco", allow_unpaired=True)
    assert dataset.targets(1).segment_classes.shape == (0,)
    assert len(dataset) == 3


def test_coco__label_image_missing(tmp_path: Path):
    refused(
        tmp_path,
        lambda content, labels: labels.pop(content["annotations"][1]["file_name"]),
        DataError,
        ".jpg has no label: there is no 0000000",
    )


@pytest.mark.parametrize(
    ("edit", "texts"),
    [
        (
            lambda c: c["annotations"][0]["segments_info"][0].update(category_id=12),
            ("category ids 12,", "1-11, 13-25"),
        ),
        (
            lambda c: c["annotations"][0]["segments_info"][0].update(id=0),
            ("a segment with id 0", "0 is no segment"),
        ),
        (
            lambda c: c["annotations"][0]["segments_info"][0].update(id=1 << 24),
            ("a segment with id 16777216",),
        ),
        (
            lambda c: c["annotations"][0]["segments_info"][1].update(id=3226956),
            ("two segments with id 3226956",),
        ),
        (
            lambda c: c["annotations"][0]["segments_info"][0].update(id="7"),
            ("Expected `int`, got `str`", "[0].id"),
        ),
        (
            lambda c: c["annotations"][0]["segments_info"][0].update(id=1 << 70),
            ("the id 1180591620717411303424, which is no 64-bit number",),
        ),
        (lambda c: c["annotations"][0].update(image_id=99), ("image_id 99, which `images` does not list",)),
        (lambda c: c["annotations"].append(c["annotations"][0]), (" twice", "lists the image")),
        (lambda c: c.pop("images"), ("is no COCO panoptic JSON", "missing required field `images`")),
    ],
)
def test_coco__json_that_contradicts_itself(tmp_path: Path, edit: Any, texts: tuple[str, ...]):
    refused(tmp_path, lambda content, labels: edit(content), LabelError, "panoptic_train2017.json", *texts)


def test_coco__png_of_another_size(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        if split == "train":
            labels["000000000003.png"] = encode(np.zeros((5, 6, 3), np.uint8), "PNG")

    write_coco(tmp_path / "coco", edit=edit)
    with raises(LabelError, "000000000003.png is for an image of 5 x 6", "is 48 x 64", "Export both"):
        panoptic(tmp_path / "coco")[2]


def test_coco__png_that_is_a_jpeg(tmp_path: Path):
    def edit(content: Json, labels: Files) -> None:
        labels[content["annotations"][0]["file_name"]] = encode(np.zeros((*SIZE, 3), np.uint8), "JPEG")

    refused(tmp_path, edit, LabelError, "is a JPEG, which changes colours")


def test_coco__files_missing(tmp_path: Path):
    write_coco(tmp_path / "coco")
    (tmp_path / "coco" / "train2017.zip").unlink()
    with raises(
        ArchiveError,
        "COCO 2017 train: missing in",
        "train2017.zip (or unpacked: train2017 or",
        "panoptic_annotations_trainval2017.zip, val2017.zip",
        "https://cocodataset.org",
    ):
        panoptic(tmp_path / "coco")
    with raises(
        ArchiveError, "nowhere does not exist", "train2017.zip, panoptic_annotations_trainval2017.zip"
    ):
        panoptic(tmp_path / "nowhere")


def test_coco__instance_annotations_in_place_of_panoptic(tmp_path: Path):
    write_coco(tmp_path / "coco", kind="instance")
    zip_name = "panoptic_annotations_trainval2017.zip"
    (tmp_path / "coco" / "annotations_trainval2017.zip").rename(tmp_path / "coco" / zip_name)
    with raises(ArchiveError, "which is there but lacks annotations/panoptic_train2017.json"):
        panoptic(tmp_path / "coco")


def test_coco__tasks_and_splits(tmp_path: Path):
    with raises(DataError, "COCO 2017 has no labels for the task semantic. It has: panoptic, instance."):
        open_dataset("coco", tmp_path, "train")
    with raises(DataError, "COCO 2017 has no split 'valid'", "Did you mean val?"):
        panoptic(tmp_path, "valid")


def test_coco__unsettled_folders_are_not_cached(tmp_path: Path, cache: Path):
    write_coco(tmp_path / "coco", packing="folder", stamp=False)
    assert panoptic(tmp_path / "coco").targets(0).segment_classes.tolist() == [0, 132, 2]
    assert not list(cache.rglob("*.npy"))
    make_old(tmp_path / "coco")
