"""COCO instance: polygons and run lengths become the masks of pycocotools, overlaps are resolved, faults named."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as referee

from support.archives import SIZE, Files, Packing, draw_label, write_coco
from support.errors import raises
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.run_lengths import decode_mask, decode_runs, encode_mask
from vfmseg.data.segments import AnnotatedInstances
from vfmseg.data.shapes import Shapes
from vfmseg.errors import DataError, LabelError
from vfmseg.types import IGNORE_INDEX

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VFMSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def instance(path: Path, split: str = "train", **options: Any) -> SegmentationDataset:
    return open_dataset("coco", path, split, task="instance", **options)


def with_outlines(tmp_path: Path, *outlines: Any, **more: Any) -> SegmentationDataset:
    """Open COCO whose first image has these segmentations, of category 1."""

    def edit(split: str, content: Json, labels: Files) -> None:
        number = content["images"][0]["id"]
        content["annotations"] = [
            {"id": i, "image_id": number, "category_id": 1, "segmentation": outline, **more}
            for i, outline in enumerate(outlines)
        ]

    return instance(write_coco(tmp_path / "coco", kind="instance", edit=edit))


def by_referee(outline: Any) -> np.ndarray:
    """Return the mask that pycocotools makes of a segmentation."""
    rle = referee.frPyObjects(outline, *SIZE) if isinstance(outline, list) else outline
    if isinstance(outline, list):
        rle = referee.merge(rle)
    elif isinstance(outline["counts"], list):
        rle = referee.frPyObjects(outline, *SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pycocotools speaks numpy 1
        return referee.decode(rle).astype(bool)


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_coco__instances(tmp_path: Path, packing: Packing):
    dataset = instance(write_coco(tmp_path / "coco", kind="instance", packing=packing))
    assert dataset.label_space.num_classes == 80
    assert list(dataset.names) == [f"train2017/{n:012d}.jpg" for n in range(1, 5)]
    truth = dataset.instance_truth(0)
    assert [dataset.label_space.names[c] for c in truth.classes] == ["person", "toothbrush", "car"]
    assert truth.is_crowd.tolist() == [False, False, True]
    label = draw_label([0, 1, 2, 3], SIZE, 1)
    np.testing.assert_array_equal(truth.masks[2], label == 3)
    for value, mask in zip((1, 2), truth.masks, strict=False):
        rows, columns = np.nonzero(label == value)
        box = np.zeros(SIZE, bool)
        box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        np.testing.assert_array_equal(mask, box)
    np.testing.assert_array_equal(
        np.unpackbits(truth.packed_masks.numpy(), axis=2, count=SIZE[1]), truth.masks
    )
    copy = pickle.loads(pickle.dumps(dataset))
    assert (copy[0].targets.id_map == dataset[0].targets.id_map).all()
    assert copy[0].image.shape == (3, *SIZE)


def test_coco__images_without_instances_and_with_a_crowd_alone(tmp_path: Path):
    dataset = instance(write_coco(tmp_path / "coco", kind="instance"))
    assert len(dataset) == 4
    assert dataset[2].targets.segment_classes.shape == (0,)
    assert len(dataset.instance_truth(2)) == 0
    assert dataset[3].targets.segment_is_crowd.tolist() == [True]
    dataset = instance(tmp_path / "coco", skip_constant_labels=True)
    assert [name[-6:-4] for name in dataset.names] == ["01", "02", "04"]
    assert dataset.targets(2).segment_is_crowd.tolist() == [True]
    assert dataset.targets(2).id_map.shape == SIZE


def test_coco__polygons_are_rasterised_as_by_pycocotools(tmp_path: Path):
    rng = np.random.default_rng(0)
    outlines: list[Any] = []
    for count in (3, 4, 7, 30, 3, 5, 3):
        parts = int(rng.integers(1, 4))
        outlines.append([(rng.random(2 * count) * 60 - 4).round(2).tolist() for _ in range(parts)])
    outlines.append([[1, 1, 10, 1, 10, 10, 1, 10]])
    dataset = with_outlines(tmp_path, *outlines)
    for mask, outline in zip(dataset.instance_truth(0).masks, outlines, strict=True):
        np.testing.assert_array_equal(mask, by_referee(outline))


def test_coco__run_lengths_plain_and_compressed(tmp_path: Path):
    mask = np.random.default_rng(1).random(SIZE) > 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compressed = referee.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    plain = decode_runs(compressed.encode()).tolist()
    dataset = with_outlines(
        tmp_path,
        {"counts": plain, "size": list(SIZE)},
        {"counts": compressed, "size": list(SIZE)},
        iscrowd=1,
        area=12.5,
    )
    truth = dataset.instance_truth(0)
    np.testing.assert_array_equal(truth.masks, np.stack([mask, mask]))
    assert truth.areas.tolist() == [12.5, 12.5]
    assert truth.is_crowd.all()


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_coco__small_instances_stay_visible(tmp_path: Path):
    dataset = with_outlines(
        tmp_path, box(10, 10, 14, 14), box(0, 0, 30, 30), box(8, 8, 18, 18), box(10, 10, 14, 14)
    )
    truth, targets = dataset.instance_truth(0), dataset.targets(0)
    assert truth.areas.tolist() == [16, 900, 100, 16]
    assert len(targets.segment_classes) == 3  # the first is hidden by the last, of equal size
    assert targets.id_map[[12, 9, 2, 40], [12, 9, 2, 40]].tolist() == [2, 1, 0, IGNORE_INDEX]
    assert [int((targets.id_map == i).sum()) for i in range(3)] == [800, 84, 16]


def test_coco__crowds_lie_below(tmp_path: Path):
    crowd = np.zeros(SIZE, bool)
    crowd[12:14, 12:14] = True

    def edit(split: str, content: Json, labels: Files) -> None:
        runs = {"counts": decode_runs(encode_mask(crowd)).tolist(), "size": list(SIZE)}
        content["annotations"] = [
            {"image_id": content["images"][0]["id"], "category_id": 1, "iscrowd": 1, "segmentation": runs},
            {"image_id": content["images"][0]["id"], "category_id": 3, "segmentation": box(13, 0, 30, 30)},
        ]

    targets = instance(write_coco(tmp_path / "coco", kind="instance", edit=edit)).targets(0)
    assert targets.segment_is_crowd.tolist() == [True, False]
    assert targets.id_map[12, 12:14].tolist() == [0, 1]


def test_coco__polygon_outside_the_image_is_cut_off_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    outlines = [box(-5, -5, 10, 10), box(60, 40, 70, 60), box(100, 100, 110, 110), box(0, 0, 64, 48)]
    dataset = with_outlines(tmp_path, *outlines)
    truth = dataset.instance_truth(0)
    assert truth.areas.tolist() == [100, 32, 0, 48 * 64]
    for mask, outline in zip(truth.masks, outlines, strict=True):
        np.testing.assert_array_equal(mask, by_referee(outline))
    assert isinstance(dataset.annotator, Shapes)
    assert dataset.annotator.num_clipped == 3
    assert caplog.text.count("reaches outside its image of 48 x 64") == 1
    assert "train2017/000000000001.jpg" in caplog.text
    assert len(dataset.targets(0).segment_classes) == 3  # what lies outside entirely has no pixel


@pytest.mark.parametrize(
    ("outline", "text"),
    [
        ([], "it is empty (a box alone is no mask)"),
        ([[1, 2, 3, 4]], "a polygon has 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon has 7 numbers"),
        ([[1, 2, 3, 4, 5, "x"]], "Expected `float`"),
        ({"counts": [5, 5], "size": [48, 64]}, "its runs cover 10 pixels, the image has 3072"),
        ({"counts": [3073, -1], "size": [48, 64]}, "its runs cover 3072 pixels"),
        ({"counts": [3072], "size": [64, 48]}, "its run lengths are for 64 x 48"),
        ({"counts": "~~", "size": [48, 64]}, "no compressed run lengths"),
        (None, "Expected `object | array`, got `null`"),
        ([[0, 0, 1e9, 0, 0, 1e8]], "a point of it lies at x 1e+09, y 0, far outside the image of 48 x 64"),
        ([[1, 1, 9, 9, 9, -2e5]], "a point of it lies at x 9, y -200000, far outside"),
        ([[1, 1, 9, 9, 1e308, 3]], "a point of it lies at x 1e+308, y 3, far outside"),
    ],
)
def test_coco__outline_that_cannot_be_used(tmp_path: Path, outline: Any, text: str):
    dataset = with_outlines(tmp_path, box(1, 1, 9, 9), outline)
    with raises(
        LabelError,
        "instances_train2017.json: train2017/000000000001.jpg: annotation 2 of this image",
        text,
        "skip_bad: true",
    ):
        dataset.targets(0)
    kept = instance(tmp_path / "coco", skip_bad=True)
    assert len(kept) == 3
    assert kept.targets(2).segment_classes.shape == (0,)


def test_coco__json_of_another_size_than_the_image(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        content["images"][1]["height"] = 50
        content["annotations"] = []

    dataset = instance(write_coco(tmp_path / "coco", kind="instance", edit=edit))
    with raises(LabelError, "is for an image of 50 x 64", "train2017/000000000002.jpg is 48 x 64"):
        dataset[1]


@pytest.mark.parametrize(
    ("edit", "texts"),
    [
        (lambda c: c["annotations"][0].update(category_id=12), ("category ids 12,", "1-11, 13-25")),
        (lambda c: c["annotations"][0].update(image_id=99), ("image_id 99, which `images` does not list",)),
        (lambda c: c["images"].append(c["images"][0]), ("lists the image", " twice")),
        (lambda c: c["images"][0].pop("width"), (".jpg has no height and width",)),
        (
            lambda c: c["images"][0].update(width=2**32 + 64),
            (".jpg is said to have", "a width of 4294967360"),
        ),
        (
            lambda c: c["annotations"][0].update(category_id=2**70),
            ("the category_id 1180591620717411303424",),
        ),
        (lambda c: c["annotations"][0].pop("segmentation"), ("missing required field `segmentation`",)),
    ],
)
def test_coco__json_that_contradicts_itself(tmp_path: Path, edit: Any, texts: tuple[str, ...]):
    write_coco(tmp_path / "coco", kind="instance", edit=lambda split, content, labels: edit(content))
    with raises(LabelError, "instances_train2017.json", *texts):
        instance(tmp_path / "coco")


def test_coco__json_without_image_and_image_without_entry(tmp_path: Path):
    def edit(split: str, content: Json, labels: Files) -> None:
        content["images"][1]["file_name"] = "other.jpg"

    write_coco(tmp_path / "coco", kind="instance", edit=edit)
    with raises(
        DataError,
        "other.jpg is in instances_train2017.json but there is no such image",
        "train2017/000000000002.jpg has no entry in instances_train2017.json",
    ):
        instance(tmp_path / "coco")
    dataset = instance(tmp_path / "coco", allow_unpaired=True)
    assert [name[-6:-4] for name in dataset.names] == ["01", "03", "04"]
    assert dataset.targets(1).segment_classes.shape == (0,)
    assert dataset.targets(2).segment_is_crowd.tolist() == [True]


def test_instances__are_packed_without_all_of_them_at_a_byte_a_pixel():
    size = (1000, 801)
    mask = np.zeros(size, bool)
    mask[3, 800] = mask[:, 5] = True
    count = 64
    truth = AnnotatedInstances(
        (encode_mask(mask),) * count, torch.zeros(count), torch.zeros(count), torch.zeros(count), size
    )
    tracemalloc.start()
    packed = truth.packed_masks
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * packed.numel()  # the masks themselves take eight times that
    np.testing.assert_array_equal(np.unpackbits(packed[-1].numpy(), axis=1, count=801), mask)


def test_run_lengths__both_ways():
    rng = np.random.default_rng(3)
    for height, width in ((1, 1), (1, 9), (7, 1), (40, 33), (200, 150)):
        for share in (0.0, 0.02, 0.5, 1.0):
            mask = rng.random((height, width)) < share
            np.testing.assert_array_equal(decode_mask(encode_mask(mask), (height, width)), mask)
