"""The training augmentation against recorded runs of the published one, with the recorded draws fed in."""

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

GOLDEN = Path(__file__).parents[1] / "goldens" / "augmentation_bench.safetensors"
with safe_open(GOLDEN, "pt") as stored:
    INFO = json.loads(stored.metadata()["info"])
    TENSORS = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
CASES = sorted(INFO["cases"])


def plan_of(draws):
    """Read the recorded draws in their call order; a draw not made does not appear."""
    left = [(kind, value) for kind, value in draws]

    def take(kind):
        drawn_kind, value = left.pop(0)
        assert drawn_kind == kind
        return value

    def factor():
        return take("uniform") if take("rand") < 0.5 else None

    factors = {"brightness": factor(), "contrast_first": take("rand") < 0.5}
    names = ("contrast", "saturation", "hue")
    for name in names if factors["contrast_first"] else (*names[1:], names[0]):
        factors[name] = factor()
    flip = take("rand") < 0.5
    low, high = INFO["scale_range"]
    scale = np.float32(low) + np.float32(take("rand")) * np.float32(high - low)
    return ColorDraws(**factors), flip, scale, [value for _, value in left]


def sample_of(case):
    """The recorded masks overlap, so an id stands for a set of masks: bit i is mask i, no mask is ignored."""
    masks = TENSORS[f"{case}/masks"]
    ids = (masks.long() << torch.arange(len(masks))[:, None, None]).sum(0)
    ids[ids == 0] = IGNORE_INDEX
    return Sample(TENSORS[f"{case}/image"], Targets(ids.to(torch.uint8)), case)


def masks_of(id_map, num_masks):
    ids = id_map.long()
    ids[ids == IGNORE_INDEX] = 0
    masks = torch.stack([(ids >> bit & 1).bool() for bit in range(num_masks)])
    return masks, masks.flatten(1).any(1)


@pytest.mark.parametrize("case", CASES)
def test_augment__recorded_draws_give_the_recorded_image_and_masks(case):
    picture = case.split("/")[0]
    size = tuple(INFO["cases"][case]["img_size"])
    color, flip, scale, offsets = plan_of(INFO["cases"][case]["draws"])
    sample = sample_of(picture)
    scaled = scaled_size(sample.image.shape[1:], size, scale)
    top, left = (offsets.pop(0) if scaled[axis] > size[axis] else 0 for axis in (0, 1))
    assert not offsets

    plan = AugmentationPlan(color=color, flip=flip, scale=scale, top=top, left=left)
    result = augment(sample, plan, size)

    assert torch.equal(result.image, TENSORS[f"{case}/out_image"])
    labels = TENSORS[f"{picture}/labels"]
    masks, seen = masks_of(result.targets.id_map, len(labels))
    assert torch.equal(masks[seen], TENSORS[f"{case}/out_masks"])
    assert torch.equal(labels[seen], TENSORS[f"{case}/out_labels"])


def test_defaults__published_ranges():
    settings = Augmentation(size=(48, 48))
    assert list(settings.scale_range) == INFO["scale_range"]
    uniform = [value for case in INFO["cases"].values() for kind, value in case["draws"] if kind == "uniform"]
    turns = [value for value in uniform if abs(value) < 0.2]
    assert max(map(abs, turns)) <= settings.hue == 0.05
    transform = TrainTransform(settings)
    assert transform(sample_of("color"), np.random.default_rng(0)).image.shape == (3, 48, 48)
