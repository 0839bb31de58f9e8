"""The training augmentation against recorded runs of the published ones, with the recorded draws fed in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from vfmseg.transforms.color import ColorDraws
from vfmseg.transforms.geometry import scaled_size
from vfmseg.transforms.pipeline import Augmentation, AugmentationPlan, TrainTransform, augment
from vfmseg.types import IGNORE_INDEX, Sample, Targets

GOLDENS = Path(__file__).parents[1] / "goldens"


def read(name):
    with safe_open(GOLDENS / f"augmentation_{name}.safetensors", "pt") as stored:
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
        return json.loads(stored.metadata()["info"]), tensors


RECORDED = {name: read(name) for name in ("bench", "eomt")}
CASES = [(name, case) for name, (info, _) in RECORDED.items() for case in sorted(info["cases"])]


def plan_of(info, case):
    """Read the recorded draws in their call order; a draw not made does not appear."""
    left = [(kind, value) for kind, value in info["cases"][case]["draws"]]

    def take(kind):
        drawn_kind, value = left.pop(0)
        assert drawn_kind == kind
        return value

    def factor():
        return take("uniform") if take("rand") < 0.5 else None

    factors = {}
    if info["cases"][case]["color_jitter"]:
        factors = {"brightness": factor(), "contrast_first": take("rand") < 0.5}
        names = ("contrast", "saturation", "hue")
        for name in names if factors["contrast_first"] else (*names[1:], names[0]):
            factors[name] = factor()
    flip = take("rand") < 0.5
    low, high = info["scale_range"]
    scale = np.float32(low) + np.float32(take("rand")) * np.float32(high - low)
    return ColorDraws(**factors), flip, scale, [value for _, value in left]


def sample_of(tensors, picture, kept):
    """The recorded masks overlap, so an id stands for a set of masks: bit i is mask i, no mask is ignored."""
    masks = tensors[f"{picture}/masks"][kept]
    ids = (masks.long() << torch.arange(len(masks))[:, None, None]).sum(0)
    ids[ids == 0] = IGNORE_INDEX
    return Sample(tensors[f"{picture}/image"], Targets(ids.to(torch.uint8)), picture)


def masks_of(id_map, num_masks):
    ids = id_map.long()
    ids[ids == IGNORE_INDEX] = 0
    masks = torch.stack([(ids >> bit & 1).bool() for bit in range(num_masks)])
    return masks, masks.flatten(1).any(1)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_augment__recorded_draws_give_the_recorded_image_and_masks(name, case):
    info, tensors = RECORDED[name]
    picture = case.split("/")[0]
    size = tuple(info["cases"][case]["img_size"])
    color, flip, scale, offsets = plan_of(info, case)
    labels = tensors[f"{picture}/labels"]
    # EoMT removes crowds first; the benchmark's data sets have none
    crowd = tensors.get(f"{picture}/is_crowd", torch.zeros(len(labels), dtype=torch.bool)).bool()
    kept = ~crowd if name == "eomt" else torch.ones_like(crowd)
    sample = sample_of(tensors, picture, kept)
    scaled = scaled_size(sample.image.shape[1:], size, scale)
    top, left = (offsets.pop(0) if scaled[axis] > size[axis] else 0 for axis in (0, 1))
    assert not offsets

    plan = AugmentationPlan(color=color, flip=flip, scale=scale, top=top, left=left)
    result = augment(sample, plan, size)

    assert torch.equal(result.image, tensors[f"{case}/out_image"])
    masks, seen = masks_of(result.targets.id_map, int(kept.sum()))
    assert torch.equal(masks[seen], tensors[f"{case}/out_masks"])
    assert torch.equal(labels[kept][seen], tensors[f"{case}/out_labels"])


def test_defaults__published_ranges():
    info, tensors = RECORDED["bench"]
    settings = Augmentation(size=(48, 48))
    assert list(settings.scale_range) == info["scale_range"]
    uniform = [value for case in info["cases"].values() for kind, value in case["draws"] if kind == "uniform"]
    turns = [value for value in uniform if abs(value) < 0.2]
    assert max(map(abs, turns)) <= settings.hue == 0.05
    transform = TrainTransform(settings)
    kept = torch.ones(len(tensors["color/labels"]), dtype=torch.bool)
    assert transform(sample_of(tensors, "color", kept), np.random.default_rng(0)).image.shape == (3, 48, 48)
