"""Letterbox, panoptic merging and instance selection against recorded runs of the published code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from vfmseg.postprocess.instance import instances
from vfmseg.postprocess.panoptic import panoptic_map
from vfmseg.transforms.letterbox import plan_letterbox, to_crop, to_image
from vfmseg.types import MaskLogits

GOLDENS = Path(__file__).parents[1] / "goldens"


def stored(name):
    with safe_open(GOLDENS / f"postprocess_{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        return json.loads(file.metadata()["info"]), tensors


LETTERBOX_INFO, LETTERBOX = stored("resize_pad")
PANOPTIC_INFO, PANOPTIC = stored("panoptic")
FULL_INFO, FULL = stored("panoptic_full")
INSTANCE_INFO, INSTANCE = stored("instance")


def size_of(text):
    height, width = map(int, text.split("x"))
    return height, width


def is_thing_of(info):
    return [class_id not in info["stuff_classes"] for class_id in range(info["num_classes"])]


def check_panoptic(found, expected, num_classes):
    """Compare with the published form, (H, W, 2): class (K where there is no segment) and segment."""
    assert torch.equal(found.segments, expected[..., 1].int())
    classes = torch.cat([found.segment_classes, torch.tensor([num_classes])])[found.segments.long()]
    assert torch.equal(classes, expected[..., 0])
    assert len(found.segment_classes) == len(found.segment_scores) == int(expected[..., 1].max()) + 1


@pytest.mark.parametrize("case", LETTERBOX_INFO["cases"])
def test_letterbox__recorded_crops_and_way_back(case):
    crop, size = case.removeprefix("to").split("/")
    plan = plan_letterbox(size_of(size), size_of(crop))
    assert list(plan.resized_size) == LETTERBOX_INFO["cases"][case]["scaled_to"]
    assert torch.equal(to_crop(LETTERBOX[f"{case}/image"], plan), LETTERBOX[f"{case}/padded"])
    back = to_image(LETTERBOX[f"{case}/logits"], plan)
    torch.testing.assert_close(back, LETTERBOX[f"{case}/reverted"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("tile_side", [8, 128])
@pytest.mark.parametrize("case", PANOPTIC_INFO["cases"])
def test_panoptic_map__recorded_merging(case, tile_side, monkeypatch):
    monkeypatch.setattr("vfmseg.postprocess.mask_tiles.TILE_SIDE", tile_side)
    thresholds = PANOPTIC_INFO["cases"][case]
    images = zip(
        *(PANOPTIC[f"{case}/{kind}"] for kind in ("mask_logits", "class_logits", "segments")), strict=True
    )
    for mask_logits, class_logits, expected in images:
        size = expected.shape[:2]
        found = panoptic_map(
            MaskLogits(mask_logits, class_logits),
            plan_letterbox(size, size),
            is_thing_of(PANOPTIC_INFO),
            score_threshold=thresholds["mask_thresh"],  # published name
            overlap_threshold=thresholds["overlap_thresh"],
        )
        check_panoptic(found, expected, PANOPTIC_INFO["num_classes"])
        opened = class_logits.softmax(-1).max(-1).values.unique()
        assert set(found.segment_scores.tolist()) <= set(opened.tolist())


@pytest.mark.parametrize("tile_side", [8, 128])
@pytest.mark.parametrize("image", [0, 1])
def test_panoptic_map__recorded_evaluation_step(image, tile_side, monkeypatch):
    monkeypatch.setattr("vfmseg.postprocess.mask_tiles.TILE_SIDE", tile_side)
    found = panoptic_map(
        MaskLogits(FULL["mask_logits"][image], FULL["class_logits"][image]),
        plan_letterbox(tuple(FULL["image_sizes"][image].tolist()), tuple(FULL_INFO["img_size"])),
        is_thing_of(FULL_INFO),
        score_threshold=FULL_INFO["mask_thresh"],
        overlap_threshold=FULL_INFO["overlap_thresh"],
    )
    check_panoptic(found, FULL[f"segments/{image}"], FULL_INFO["num_classes"])


@pytest.mark.parametrize("tile_side", [8, 128])
@pytest.mark.parametrize("count", [5, 20])
@pytest.mark.parametrize("image", [0, 1])
def test_instances__recorded_selection(image, count, tile_side, monkeypatch):
    monkeypatch.setattr("vfmseg.postprocess.mask_tiles.TILE_SIDE", tile_side)
    found = instances(
        MaskLogits(INSTANCE["mask_logits"][image], INSTANCE["class_logits"][image]),
        plan_letterbox(tuple(INSTANCE["image_sizes"][image].tolist()), tuple(INSTANCE_INFO["img_size"])),
        max_instances=count,
    )
    expected = {name: INSTANCE[f"top{count}/{image}/{name}"] for name in ("scores", "labels", "masks")}
    order = expected["scores"].argsort(descending=True, stable=True)  # the published one is unsorted
    torch.testing.assert_close(found.scores, expected["scores"][order], rtol=0, atol=1e-6)
    assert torch.equal(found.classes, expected["labels"][order])
    masks = np.unpackbits(found.packed_masks.numpy(), axis=-1, count=found.size[1])
    assert np.array_equal(masks.astype(bool), expected["masks"][order].numpy())
    assert int(INSTANCE["default_top_k"]) == 100
