"""A panoptic map in, segments with what is known of each, and files that COCO's tools read, out."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vfmseg.inference.panoptic import PanopticSegmentation, ids_as_colours
from vfmseg.types import LabelSpace, PanopticMap

_SPACE = LabelSpace(
    names=("road", "sky", "car"),
    colours=((200, 0, 0), (0, 0, 200), (0, 200, 0)),
    is_thing=(False, False, True),
    category_ids=(7, 23, 26),
)


def _found() -> PanopticSegmentation:
    """A sky above a road with two cars and a hole."""
    segments = np.full((40, 60), 0, np.int32)
    segments[:15] = 1
    segments[20:30, 5:20] = 2
    segments[22:35, 40:55] = 3
    segments[36:, :7] = -1
    found = PanopticMap(
        torch.from_numpy(segments), torch.tensor([0, 1, 2, 2]), torch.tensor([0.9, 0.95, 0.85, 1.0])
    )
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return PanopticSegmentation.of(image, found, _SPACE)


def test_panoptic__says_what_each_segment_is() -> None:
    found = _found()
    for segment in found.segments_info:
        mask = found.segments == segment.id
        rows, columns = np.nonzero(mask)
        assert segment.area == mask.sum()
        assert segment.bbox == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert [(s.class_id, s.name, s.isthing) for s in found.segments_info] == [
        (0, "road", False),
        (1, "sky", False),
        (2, "car", True),
        (2, "car", True),
    ]
    assert found.segments_info[3].score == 1.0


def test_panoptic__class_map_is_that_of_the_segments() -> None:
    found = _found()
    assert found.semantic.dtype == np.uint8
    assert np.unique(found.semantic).tolist() == [0, 1, 2, 255]
    assert ((found.semantic == 255) == (found.segments == -1)).all()
    assert ((found.semantic == 2) == (found.segments >= 2)).all()


def test_panoptic__without_a_segment(tmp_path: Path) -> None:
    nothing = PanopticMap(
        torch.full((4, 6), -1, dtype=torch.int32), torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    )
    image = np.full((4, 6, 3), 7, np.uint8)
    found = PanopticSegmentation.of(image, nothing, _SPACE)
    assert found.segments_info == ()
    assert (found.semantic == 255).all()
    assert np.array_equal(found.plot(), image)
    written = found.save(tmp_path, "a")
    assert json.loads((tmp_path / written["json"]).read_text())["annotations"][0]["segments_info"] == []


def test_plot__parts_and_names_objects_of_one_class() -> None:
    segments = torch.zeros(60, 120, dtype=torch.int32)
    segments[:, 60:] = 1
    image = np.zeros((60, 120, 3), np.uint8)
    found = PanopticMap(segments, torch.tensor([2, 2]), torch.ones(2))
    picture = PanopticSegmentation.of(image, found, _SPACE).plot(alpha=1.0)
    assert (picture[5, 60] != picture[5, 58]).any(), "a line between the two cars"
    assert np.array_equal(picture[5, 58], (0, 200, 0))
    for half in (picture[:, :60], picture[:, 60:]):
        assert (half.min(-1) > 200).any(), "a name in white"


def test_save__files_are_what_cocos_format_says(tmp_path: Path) -> None:
    found = _found()
    written = found.save(tmp_path, "sub/photo")
    assert written == {
        "panoptic": "panoptic/sub/photo.png",
        "mask": "masks/sub/photo.png",
        "overlay": "overlays/sub/photo.jpg",
        "json": "panoptic/sub/photo.json",
    }
    content = json.loads((tmp_path / written["json"]).read_text())
    assert content["images"] == [{"id": 1, "file_name": "sub/photo", "width": 60, "height": 40}]
    (annotation,) = content["annotations"]
    colours = np.asarray(Image.open(tmp_path / "panoptic" / annotation["file_name"])).astype(int)
    ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    known = {segment["id"]: segment for segment in annotation["segments_info"]}
    assert set(np.unique(ids).tolist()) - {0} == set(known), "no id without an entry, no entry without pixels"
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert names == {7: "road", 23: "sky", 26: "car"}
    for number, segment in known.items():
        rows, columns = np.nonzero(ids == number)
        assert segment["area"] == len(rows)
        assert segment["iscrowd"] == 0
        left, top, width, height = segment["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
        assert names[segment["category_id"]] == found.segments_info[number - 1].name
    mask = Image.open(tmp_path / written["mask"])
    assert mask.mode == "P"
    assert np.array_equal(np.asarray(mask), found.semantic)


def test_save__without_overlay(tmp_path: Path) -> None:
    assert "overlay" not in _found().save(tmp_path, "a", with_overlay=False)
    assert not (tmp_path / "overlays").exists()


def test_ids_as_colours__low_byte_is_red() -> None:
    ids = np.array([[0, 1, 256, 65536, 2**24 - 1]], np.int32)
    assert ids_as_colours(ids).tolist() == [[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [255, 255, 255]]]
