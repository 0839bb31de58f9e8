"""The training augmentation as a whole: fixed size, aligned, determined by its generator, no endless loop."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vfmseg.errors import LabelError, RecipeError
from vfmseg.transforms.color import ColorDraws
from vfmseg.transforms.geometry import scaled_size
from vfmseg.transforms.pipeline import (
    MAX_CROP_DRAWS,
    Augmentation,
    AugmentationPlan,
    TrainTransform,
    augment,
    draw_plan,
)
from vfmseg.types import IGNORE_INDEX, Sample, Targets

sizes = st.tuples(st.integers(1, 120), st.integers(1, 120))
targets = st.tuples(st.integers(1, 48), st.integers(1, 48))


def painted(size):
    """Row in the red channel, column in the green one, and both in the id map."""
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    image = torch.stack([rows, columns, torch.full(size, 7)]).to(torch.uint8)
    return Sample(image, Targets((rows * 1000 + columns + 1000).to(torch.int32)), "painted")


def noisy(size, seed=0):
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).permute(2, 0, 1)
    return Sample(
        pixels, Targets(torch.from_numpy(rng.integers(0, 5, size).astype(np.uint8))), "images/noisy.png"
    )


def equal(one, other):
    return torch.equal(one.image, other.image) and torch.equal(one.targets.id_map, other.targets.id_map)


@settings(max_examples=150, deadline=None)
@given(size=sizes, target=targets, seed=st.integers(0, 2**32 - 1))
def test_train_transform__image_and_labels_show_the_same_place(size, target, seed):
    sample = painted(size)
    transform = TrainTransform(Augmentation(size=target, color_jitter=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = transform(sample, np.random.default_rng(seed))
    assert result.image.shape == (3, *target)
    assert result.targets.id_map.shape == target

    ids = result.targets.id_map
    inside = ids != IGNORE_INDEX
    assert inside[0, 0]
    assert torch.equal(result.image[2] == 7, inside)
    plan = draw_plan(transform.settings, sample, np.random.default_rng(seed))
    resized = scaled_size(size, target, plan.scale)
    for axis, painted_index in enumerate((ids // 1000 - 1, ids % 1000)):
        off = (result.image[axis].int() - painted_index).abs()[inside]
        # Nearest takes the first source pixel under a pixel, bilinear the mean around their middle.
        assert off.max() <= 1 + max(1.0, size[axis] / resized[axis])


@settings(max_examples=40, deadline=None)
@given(size=sizes, target=targets, seed=st.integers(0, 2**32 - 1))
def test_train_transform__same_generator_same_result_and_the_sample_untouched(size, target, seed):
    sample, copy = noisy(size), noisy(size)
    transform = TrainTransform(Augmentation(size=target))
    first = transform(sample, np.random.default_rng(seed))
    assert equal(sample, copy)
    assert equal(first, transform(sample, np.random.default_rng(seed)))
    for mine, theirs in (
        (first.image, sample.image),
        (first.targets.id_map, sample.targets.id_map),
    ):
        assert not np.shares_memory(mine.numpy(), theirs.numpy())


def test_augment__nothing_drawn_gives_a_copy():
    sample = noisy((40, 40))
    plan = AugmentationPlan(color=ColorDraws(), flip=False, scale=1.0, top=0, left=0)
    result = augment(sample, plan, (40, 40))
    assert equal(result, sample)
    result.image.zero_()
    result.targets.id_map.zero_()
    assert equal(sample, noisy((40, 40)))


def test_augment__flip_twice_is_the_sample():
    sample = noisy((40, 40))
    plan = AugmentationPlan(color=ColorDraws(), flip=True, scale=1.0, top=0, left=0)
    once = augment(sample, plan, (40, 40))
    assert torch.equal(once.image, sample.image.flip(2))
    assert torch.equal(once.targets.id_map, sample.targets.id_map.flip(1))
    assert equal(augment(once, plan, (40, 40)), sample)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("color", [ColorDraws(), ColorDraws(hue=0.03, contrast=0.8)])
def test_augment__the_part_of_a_larger_crop(flip, color):
    """A crop is the same whatever else is cropped: nothing of the canvas outside it shows."""
    sample = noisy((64, 64))
    small = AugmentationPlan(color=color, flip=flip, scale=2.0, top=9, left=20)
    crop = augment(sample, small, (32, 32))
    # The scaled size refers to the target, so the larger target takes half the scale.
    whole = augment(sample, replace(small, scale=1.0, top=0, left=0), (64, 64))
    assert torch.equal(crop.image, whole.image[:, 9:41, 20:52])
    assert torch.equal(crop.targets.id_map, whole.targets.id_map[9:41, 20:52])


def test_augment__contiguous_image_gives_the_same_as_channels_last():
    sample = noisy((50, 70))
    plan = draw_plan(Augmentation(size=(32, 32)), sample, np.random.default_rng(5))
    contiguous = replace(sample, image=sample.image.contiguous())
    assert equal(augment(sample, plan, (32, 32)), augment(contiguous, plan, (32, 32)))


def test_draw_plan__every_setting_reaches_the_draws():
    sample = noisy((30, 30))
    plain = Augmentation(size=(16, 16), color_jitter=False, flip=False, scale_range=(1.0, 1.0))
    plans = [draw_plan(plain, sample, np.random.default_rng(seed)) for seed in range(20)]
    assert all(plan.color == ColorDraws() and not plan.flip and plan.scale == 1 for plan in plans)

    settings = Augmentation(size=(16, 16))
    plans = [draw_plan(settings, sample, np.random.default_rng(seed)) for seed in range(2000)]
    for name, center, reach in (
        ("brightness", 1, 32 / 255),
        ("contrast", 1, 0.5),
        ("saturation", 1, 0.5),
        ("hue", 0, 0.05),
    ):
        drawn = [getattr(plan.color, name) for plan in plans]
        factors = np.array([factor for factor in drawn if factor is not None])
        assert 0.45 < len(factors) / len(plans) < 0.55
        assert np.abs(factors - center).max() <= reach
        assert np.abs(factors - center).max() > 0.98 * reach
    assert 0.45 < np.mean([plan.flip for plan in plans]) < 0.55
    assert 0.45 < np.mean([plan.color.contrast_first for plan in plans]) < 0.55
    scales = np.array([plan.scale for plan in plans])
    assert 0.5 <= scales.min() < 0.51
    assert 1.99 < scales.max() <= 2.0

    still = replace(settings, brightness=0, contrast=0, saturation=0, hue=0)
    assert draw_plan(still, sample, np.random.default_rng(0)).color.hue is None


def one_labelled_pixel(crowd=False):
    sample = noisy((64, 64))
    ids = torch.full((64, 64), IGNORE_INDEX, dtype=torch.uint8)
    ids[50, 50] = 1
    crowds = torch.tensor([False, crowd])
    return replace(sample, targets=Targets(ids, torch.tensor([3, 4]), crowds))


def test_train_transform__crop_is_drawn_again_until_a_label_shows():
    transform = TrainTransform(Augmentation(size=(32, 32), scale_range=(2.0, 2.0), flip=False))
    sample = one_labelled_pixel()
    for seed in range(20):
        result = transform(sample, np.random.default_rng(seed))
        assert (result.targets.id_map == 1).any()
        assert result.targets.segment_classes is sample.targets.segment_classes


def test_train_transform__image_without_labels_is_kept_with_a_warning():
    sample = noisy((64, 64))
    void = replace(sample, targets=Targets(torch.full((64, 64), IGNORE_INDEX, dtype=torch.uint8)))
    transform = TrainTransform(Augmentation(size=(32, 32)))
    with pytest.warns(UserWarning, match=r"images/noisy.png: no labelled pixel in 1 random crop") as caught:
        result = transform(void, np.random.default_rng(0))
    assert "look at their labels with `vfmseg check-data`" in str(caught[0].message)
    assert (result.targets.id_map == IGNORE_INDEX).all()


def test_train_transform__bounded_where_the_resize_loses_the_only_label():
    sample = one_labelled_pixel()
    transform = TrainTransform(Augmentation(size=(32, 32), scale_range=(0.5, 0.5), flip=False))
    with pytest.warns(UserWarning, match=f"no labelled pixel in {MAX_CROP_DRAWS} random crop"):
        transform(sample, np.random.default_rng(0))


@pytest.mark.parametrize("what", ["a crowd", "nothing"])
def test_train_transform__image_without_segments_teaches_that_there_are_none(what):
    sample = one_labelled_pixel(crowd=True)
    if what == "nothing":
        void = torch.full_like(sample.targets.id_map, IGNORE_INDEX)
        sample = replace(sample, targets=Targets(void, torch.zeros(0, dtype=torch.int64)))
    transform = TrainTransform(Augmentation(size=(32, 32)))
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert transform(sample, rng).targets.id_map.shape == (32, 32)
    once = np.random.default_rng(0)
    transform(noisy((64, 64)), once)
    assert rng.random() == once.random()  # no crop was drawn again: a crowd is no label


def test_train_transform__other_label_size():
    sample = noisy((20, 30))
    wrong = replace(sample, targets=Targets(torch.zeros(20, 31, dtype=torch.uint8)))
    with pytest.raises(LabelError, match=r"images/noisy.png: the image is \(20, 30\) pixels .* \(20, 31\)"):
        TrainTransform(Augmentation(size=(8, 8)))(wrong, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": (0, 8)}, r"augmentation size is \(0, 8\), .* at least 1 pixel.*size: \[512, 512\]"),
        ({"scale_range": (0.0, 2.0)}, r"scale_range is \(0.0, 2.0\).*two factors above 0, the smaller first"),
        ({"scale_range": (2.0, 0.5)}, r"scale_range is \(2.0, 0.5\)"),
        ({"brightness": 1.5}, r"brightness is 1.5, .* between 0 and 1. Use brightness: 0 to leave"),
        ({"contrast": -0.1}, r"contrast is -0.1"),
        ({"saturation": 2}, r"saturation is 2"),
        ({"hue": 0.3}, r"hue is 0.3, .* below 1/6. Use hue: 0"),
    ],
)
def test_augmentation__settings_out_of_range(changed, message):
    with pytest.raises(RecipeError, match=message):
        Augmentation(**{"size": (8, 8), **changed})
