"""Scored masks in, instances that unpack one by one, and files that pycocotools reads, out."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from vfmseg.inference.instance import InstanceListing, InstanceSegmentation
from vfmseg.inference.result import ImageEntry
from vfmseg.postprocess.rle import pack_masks
from vfmseg.types import Instances, LabelSpace

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools' own

_SPACE = LabelSpace(("person", "car"), ((200, 0, 0), (0, 0, 200)), (True, True), (24, 26))
_SIZE = (30, 53)  # a width that no byte ends at


def _masks() -> list[np.ndarray]:
    masks = [np.zeros(_SIZE, bool) for _ in range(4)]
    masks[0][3:20, 4:25] = True
    masks[1][10:, 20:] = True  # overlaps the first, and ends with the image
    masks[2][::2, ::3] = True
    return masks  # the last is empty


def _found() -> InstanceSegmentation:
    found = Instances(
        pack_masks(_masks(), _SIZE), torch.tensor([1, 0, 1, 0]), torch.tensor([0.9, 0.6, 0.3, 0.0]), _SIZE
    )
    image = np.random.default_rng(0).integers(0, 255, (*_SIZE, 3), dtype=np.uint8)
    return InstanceSegmentation.of(image, found, _SPACE)


def _coco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_instances__say_what_each_is() -> None:
    found = _found()
    assert [(i.name, i.class_id, round(i.score, 3)) for i in found.instances] == [
        ("car", 1, 0.9),
        ("person", 0, 0.6),
        ("car", 1, 0.3),
        ("person", 0, 0.0),
    ]
    for instance, mask in zip(found.instances, _masks(), strict=True):
        assert instance.mask.dtype == bool
        assert np.array_equal(instance.mask, mask)
        assert instance.area == mask.sum()
    assert found.instances[0].bbox == (4, 3, 21, 17)
    assert found.instances[1].bbox == (20, 10, 33, 20)
    assert found.instances[3].bbox == (0, 0, 0, 0)


def test_instances__keep_no_dense_mask() -> None:
    instance = _found().instances[0]
    first = instance.mask
    first[:] = False
    assert instance.mask.any()
    assert instance.mask is not instance.mask
    held = [value for value in vars(instance).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in held) == 30 * 7


def test_plot__shows_those_of_at_least_min_score() -> None:
    found = _found()
    assert np.array_equal(found.plot(min_score=0.95), found.image), "none"
    usual, all_of_them = found.plot(), found.plot(min_score=0.0)
    assert not np.array_equal(usual[10, 10], found.image[10, 10])
    assert np.array_equal(usual[0, 0], found.image[0, 0]), "the third is below 0.5"
    assert not np.array_equal(all_of_them[0, 0], found.image[0, 0])


def test_listing__pycocotools_reads_it(tmp_path: Path) -> None:
    found = _found()
    with InstanceListing(tmp_path, _SPACE) as listing:
        for number in (7, 9):
            listing.add(ImageEntry(number, f"{number}.jpg", str(number)), found)
        listing.finish()
    coco = _coco(tmp_path / "images.json")
    assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {24: "person", 26: "car"}
    with contextlib.redirect_stdout(io.StringIO()):
        read = coco.loadRes(str(tmp_path / "instances.json"))
    assert sorted(read.getImgIds()) == [7, 9]
    annotations = read.loadAnns(read.getAnnIds(imgIds=[9]))
    assert len(annotations) == 4
    for annotation, instance in zip(annotations, found.instances, strict=True):
        assert np.array_equal(read.annToMask(annotation), instance.mask)
        assert tuple(coco_masks.toBbox(annotation["segmentation"]).tolist()) == instance.bbox
        assert annotation["score"] == instance.score
        assert annotation["category_id"] == (24, 26)[instance.class_id]
    results = json.loads((tmp_path / "instances.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "score", "segmentation", "bbox"}
    assert isinstance(results[0]["segmentation"]["counts"], str)


def test_listing__that_is_not_finished_leaves_what_was_there(tmp_path: Path) -> None:
    for name in InstanceListing.names:
        (tmp_path / name).write_text("before")
    with contextlib.suppress(KeyboardInterrupt), InstanceListing(tmp_path, _SPACE) as listing:
        listing.add(ImageEntry(1, "a.jpg", "a"), _found())
        raise KeyboardInterrupt
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(
        InstanceListing.names, "before"
    )


def test_save__is_a_coco_data_set_of_one_image(tmp_path: Path) -> None:
    found = _found()
    written = found.save(tmp_path, "sub/photo")
    assert written == {"overlay": "overlays/sub/photo.jpg", "json": "instances/sub/photo.json"}
    coco = _coco(tmp_path / written["json"])
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    for annotation, instance in zip(annotations, found.instances, strict=True):
        assert np.array_equal(coco.annToMask(annotation), instance.mask)
        assert annotation["area"] == instance.area
