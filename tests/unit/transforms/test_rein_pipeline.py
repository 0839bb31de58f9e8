"""Rein's training augmentation: the published scales, crops that no class fills, one place in image and labels."""

import warnings

import cv2
import numpy as np
import pytest
import torch

from vfmseg.errors import LabelError, RecipeError
from vfmseg.transforms.photometric import PhotometricDraws, distort
from vfmseg.transforms.rein_pipeline import (
    MAX_REDRAWS,
    MEAN_COLOR,
    ReinAugmentation,
    ReinPlan,
    ReinTransform,
    apply_plan,
    class_counts,
    draw_rein_plan,
    short_side_size,
)
from vfmseg.types import IGNORE_INDEX, Sample, Targets


def sample_of(ids, seed=0, segment_classes=None):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*ids.shape, 3)).astype(np.uint8)
    targets = Targets(torch.from_numpy(ids), segment_classes)
    return Sample(torch.from_numpy(image).permute(2, 0, 1), targets, "images/one.png")


def noisy(size, seed=0, dtype=np.uint8):
    return sample_of(np.random.default_rng(seed + 1).integers(0, 5, size).astype(dtype), seed)


def test_short_sides__are_the_sixteen_published():
    expected = [256, 307, 358, 409, 460, 512, 563, 614, 665, 716, 768, 819, 870, 921, 972, 1024]
    assert list(ReinAugmentation(size=(512, 512)).short_sides) == expected
    assert list(ReinAugmentation(size=(1024, 1024)).short_sides) == [1024 * x // 10 for x in range(5, 21)]


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((1052, 1914), 358, (358, 651)),  # 651.34
        ((1052, 1914), 307, (307, 559)),  # 558.55
        ((1914, 1052), 1024, (1863, 1024)),
        ((100, 1000), 1024, (205, 2048)),  # the long side is capped: 204.8
    ],
)
def test_short_side_size__is_rounded_and_capped(size, short, expected):
    assert short_side_size(size, short, 2048) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("resized", [(37, 61), (90, 147), (53, 86)])
def test_apply_plan__is_resize_crop_flip_distort_and_pad(resized, flip, dtype):
    sample, size, top, left = noisy((53, 86), dtype=dtype), (48, 64), 0, 0
    if resized[0] > size[0]:
        top, left = resized[0] - size[0], 7
    color = PhotometricDraws(brightness=12.0, contrast=0.8, saturation=1.3, hue=-7)
    plan = ReinPlan(resized_size=resized, top=top, left=left, flip=flip, color=color)
    found = apply_plan(sample, plan, size)

    image = cv2.resize(sample.image.permute(1, 2, 0).numpy().copy(), resized[::-1])
    ids = cv2.resize(sample.targets.id_map.numpy(), resized[::-1], interpolation=cv2.INTER_NEAREST)
    image, ids = (array[top : top + size[0], left : left + size[1]] for array in (image, ids))
    if flip:
        image, ids = image[:, ::-1], ids[:, ::-1]
    image = distort(np.ascontiguousarray(image), color)
    expected = np.full((*size, 3), MEAN_COLOR, np.uint8)
    expected[: image.shape[0], : image.shape[1]] = image
    expected_ids = np.full(size, IGNORE_INDEX, dtype)
    expected_ids[: ids.shape[0], : ids.shape[1]] = ids
    assert np.array_equal(found.image.permute(1, 2, 0).numpy(), expected)
    assert np.array_equal(found.targets.id_map.numpy(), expected_ids)
    assert found.targets.id_map.dtype == sample.targets.id_map.dtype


def test_mean_color__is_nearly_zero_after_normalisation():
    normalised = (np.array(MEAN_COLOR) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    assert np.abs(normalised).max() < 0.01


def test_transform__same_generator_same_result_and_the_sample_untouched():
    sample, copy = noisy((60, 110)), noisy((60, 110))
    transform = ReinTransform(ReinAugmentation(size=(32, 32)))
    results = [transform(sample, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert results[0].image.equal(results[1].image)
    assert results[0].targets.id_map.equal(results[1].targets.id_map)
    assert not results[0].image.equal(results[2].image)
    assert sample.image.equal(copy.image)
    assert sample.targets.id_map.equal(copy.targets.id_map)


def test_draw__all_scales_flips_and_places_are_drawn():
    sample, settings = noisy((60, 110)), ReinAugmentation(size=(32, 32))
    rng = np.random.default_rng(0)
    plans = [draw_rein_plan(settings, sample, rng) for _ in range(800)]
    assert {plan.resized_size[0] for plan in plans} == set(settings.short_sides)
    assert 0.44 < np.mean([plan.flip for plan in plans]) < 0.56
    largest = [plan for plan in plans if plan.resized_size[0] == 64]
    assert {plan.top for plan in largest} > {0, 32} or len({plan.top for plan in largest}) > 15
    assert all(plan.top <= 32 and plan.left <= plan.resized_size[1] - 32 for plan in largest)


def test_draw__a_crop_that_one_class_fills_is_drawn_again():
    ids = np.zeros((64, 64), np.uint8)
    ids[:, 40:] = 1
    sample, settings = sample_of(ids), ReinAugmentation(size=(16, 16), scale_range=(4.0, 4.0), num_scales=1)
    kept = []
    for seed in range(60):
        plan = draw_rein_plan(settings, sample, np.random.default_rng(seed))
        window = ids[plan.top : plan.top + 16, plan.left : plan.left + 16]
        kept.append(max(np.mean(window == 0), np.mean(window == 1)))
    # one crop in seven or so has both classes in good shares: eleven draws find one four times in five
    assert np.mean(np.array(kept) < 0.75) > 0.6
    loose = ReinAugmentation(size=(16, 16), scale_range=(4.0, 4.0), num_scales=1, max_class_share=1.0)
    both = [
        len(np.unique(_crop(ids, draw_rein_plan(loose, sample, np.random.default_rng(s))))) for s in range(60)
    ]
    assert np.mean(np.array(both) == 2) > 0.8


def _crop(ids, plan):
    return ids[plan.top : plan.top + 16, plan.left : plan.left + 16]


class Counting:
    """A generator that counts how often a place is drawn."""

    def __init__(self):
        self.rng, self.drawn = np.random.default_rng(0), 0

    def integers(self, *bounds):
        self.drawn += 1
        return self.rng.integers(*bounds)

    def random(self):
        return self.rng.random()


def test_draw__ends_after_ten_redraws_and_keeps_the_last():
    sample = sample_of(np.full((64, 64), 3, np.uint8))
    settings = ReinAugmentation(size=(16, 16), scale_range=(2.0, 2.0), color_jitter=False, flip=False)
    rng = Counting()
    draw_rein_plan(settings, sample, rng)
    assert rng.drawn == 1 + 2 * (1 + MAX_REDRAWS)


def test_draw__shares_are_of_classes_not_of_segments():
    ids = np.arange(64, dtype=np.int32).repeat(64).reshape(64, 64)  # a segment a row
    classes = torch.zeros(64, dtype=torch.int64)
    sample = sample_of(ids, segment_classes=classes)
    rows = columns = np.arange(16)
    assert class_counts(sample.targets, rows, columns).tolist() == [256]
    classes[8:] = 2
    assert class_counts(sample.targets, rows, columns).tolist() == [128, 0, 128]


def test_class_counts__unlabelled_pixels_do_not_count():
    ids = np.full((4, 4), IGNORE_INDEX, np.uint8)
    ids[0, :3] = 7
    counts = class_counts(Targets(torch.from_numpy(ids)), np.arange(4), np.arange(4))
    assert counts.sum() == counts[7] == 3


def test_transform__an_unlabelled_crop_is_said_once_and_kept():
    sample = sample_of(np.full((40, 40), IGNORE_INDEX, np.uint8))
    with pytest.warns(
        UserWarning, match=r"images/one\.png: no labelled pixel in the last of 11 random crops"
    ):
        found = ReinTransform(ReinAugmentation(size=(16, 16)))(sample, np.random.default_rng(0))
    assert (found.targets.id_map == IGNORE_INDEX).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = Sample(sample.image, Targets(sample.targets.id_map, torch.zeros(0, dtype=torch.int64)), "n")
        ReinTransform(ReinAugmentation(size=(16, 16)))(empty, np.random.default_rng(0))


def test_transform__refuses_labels_of_another_size():
    sample = noisy((20, 20))
    other = Sample(sample.image[:, :10], sample.targets, "a.png")
    with pytest.raises(LabelError, match=r"a\.png: the image is \(10, 20\)"):
        ReinTransform(ReinAugmentation(size=(16, 16)))(other, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": (0, 8)}, "at least 1 pixel"),
        ({"scale_range": (2.0, 1.0)}, "the smaller first"),
        ({"num_scales": 0}, "at least one scale"),
        ({"max_class_share": 0.0}, "above 0 and not above 1"),
    ],
)
def test_augmentation__refuses_what_makes_no_sense(wrong, says):
    with pytest.raises(RecipeError, match=says):
        ReinAugmentation(**{"size": (8, 8), **wrong})
