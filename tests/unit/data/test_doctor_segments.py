"""The doctor on data with segments: what it counts, what it finds wrong, and that it never stops at a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.archives import SIZE, Files, as_rgb_ids, encode, write_coco
from support.errors import raises
from vfmseg.data.doctor import examine
from vfmseg.data.doctor_text import render
from vfmseg.data.scene_writer import write_scenes
from vfmseg.errors import ArchiveError, DataError

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VFMSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_doctor__coco_panoptic(tmp_path: Path):
    report = examine(write_coco(tmp_path / "coco"), name="coco")
    assert report.exit_code() == 0
    assert [(s.split, s.num_samples) for s in report.splits] == [("train", 4), ("val", 2)]
    assert report.splits[0].sizes == ((SIZE, 4),)
    assert {f.code for f in report.findings} == {"no_segments", "crowds", "classes_unseen"}
    empty = next(f for f in report.findings if f.code == "no_segments")
    assert [place.name for place in empty.places] == ["train2017/000000000003.jpg"]
    row = report.values[0]
    assert (row.class_name, row.images) == ("person", (2, 2))
    assert "COCO 2017 in" in render(report)
    json.loads(report.to_json())


def test_doctor__coco_instance_with_one_split_there(tmp_path: Path):
    write_coco(tmp_path / "coco", kind="instance")
    (tmp_path / "coco" / "val2017.zip").unlink()
    report = examine(tmp_path / "coco", name="coco", task="instance", limit=2)
    assert [(s.split, s.num_examined) for s in report.splits] == [("train", 2)]
    with raises(ArchiveError, "val2017.zip"):
        examine(tmp_path / "coco", name="coco", task="instance", splits=["val"])
    with raises(ArchiveError, "panoptic_annotations_trainval2017.zip"):
        examine(tmp_path / "coco", name="coco", task="panoptic")


def test_doctor__scenes(tmp_path: Path):
    write_scenes(tmp_path / "s", train=2, val=1, size=(64, 64), instances=True)
    for task in ("panoptic", "instance"):
        assert examine(tmp_path / "s", name="scenes", task=task).exit_code() == 0


def test_doctor__bad_samples_and_files_without_partner(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        if split == "train":
            labels["000000000002.png"] = encode(as_rgb_ids(np.full(SIZE, 5, np.uint32)), "PNG")
            content["annotations"].pop(3)

    write_coco(tmp_path / "coco", edit=edit)
    report = examine(tmp_path / "coco", name="coco")
    assert report.exit_code() == 1
    bad = next(f for f in report.findings if f.code == "sample_unusable")
    assert "segment ids that the JSON does not list" in bad.places[0].detail
    unpaired = next(f for f in report.findings if f.code == "unpaired")
    assert [place.name for place in unpaired.places] == [
        "train2017/000000000004.jpg",
        "panoptic_train2017/000000000004.png",
    ]
    report = examine(tmp_path / "coco", name="coco", allow_unpaired=True, skip_bad=True)
    assert report.exit_code() == 0


def test_doctor__polygons_outside(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        content["annotations"][0]["segmentation"] = [[-9, 0, 9, 0, 9, 9]]

    report = examine(write_coco(tmp_path / "coco", kind="instance", edit=edit), name="coco", task="instance")
    assert any(f.code == "polygons_clipped" and f.what.startswith("2 polygons") for f in report.findings)


@pytest.mark.parametrize("kind", ["panoptic", "instance"])
def test_doctor__a_split_of_nothing_but_crowds(tmp_path: Path, kind: str):
    def edit(split: str, content: Json, labels: Files) -> None:
        if split != "val":
            return
        for one in content["annotations"]:
            for segment in one.get("segments_info", [one]):
                segment["iscrowd"] = 1

    report = examine(write_coco(tmp_path / "coco", kind=kind, edit=edit), name="coco", task=kind)
    assert report.exit_code() == 1
    (wrong,) = (f for f in report.findings if f.severity == "error")
    assert (
        wrong.what == "no image of the split val has a segment that is no crowd, so there is nothing to score"
    )
    assert "Put images with objects into it" in wrong.remedy


def test_doctor__segments_without_a_pixel(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        content["annotations"][0]["segments_info"].append({"id": 99, "category_id": 1, "iscrowd": 0})

    report = examine(write_coco(tmp_path / "coco", edit=edit), name="coco")
    (found,) = (f for f in report.findings if f.code == "segments_hidden")
    assert found.what.startswith("2 annotated segments have no pixel")
    assert report.exit_code() == 0


def test_doctor__task_without_labels(tmp_path: Path):
    with raises(DataError, "has no labels for the task panoptic"):
        examine(tmp_path, name="pascal_voc", task="panoptic")
