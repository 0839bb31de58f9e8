"""Colour jitter: the same grey levels as torchvision, from tables and planes."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from vfmseg.transforms.color import ColorDraws, adjust_color, mean_grey, rotate_hue, saturate

RNG = np.random.default_rng(0)
STEPS = np.unique(np.concatenate([np.arange(0, 256, 7), [1, 2, 127, 128, 254, 255]])).astype(np.uint8)
COLORS = np.stack(np.meshgrid(STEPS, STEPS, STEPS, indexing="ij"), -1).reshape(len(STEPS), -1, 3)


def as_tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)


def published(pixels, draws):
    """The chain in torchvision's words."""
    image = as_tensor(pixels)
    if draws.brightness is not None:
        image = reference.adjust_brightness(image, draws.brightness)
    if draws.contrast is not None and draws.contrast_first:
        image = reference.adjust_contrast(image, draws.contrast)
    if draws.saturation is not None:
        image = reference.adjust_saturation(image, draws.saturation)
    if draws.hue is not None:
        image = reference.adjust_hue(image, draws.hue)
    if draws.contrast is not None and not draws.contrast_first:
        image = reference.adjust_contrast(image, draws.contrast)
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("turn", [0.0, 1e-6, -1e-6, 0.05, -0.05, 0.0371, -0.0119, 0.16, -0.16])
def test_hue__equals_torchvision_on_a_grid_of_all_colors(turn):
    draws = ColorDraws(hue=turn)
    assert np.array_equal(adjust_color(COLORS, draws), published(COLORS, draws))


@pytest.mark.parametrize("turn", [0.05, -0.0333])
def test_rotate_hue__pixels_that_differ_from_torchvision_are_among_the_doubtful(turn):
    turned, doubtful = rotate_hue(cv2.split(COLORS), turn)
    exact = published(COLORS, ColorDraws(hue=turn))
    wrong = np.flatnonzero((np.stack(turned, -1) != exact).any(-1))
    assert set(wrong) <= set(doubtful)
    assert len(doubtful) < 0.01 * COLORS[..., 0].size


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.77, 1.0, 1.5])
def test_saturate__equals_torchvision_on_a_grid_of_all_colors(factor):
    planes = saturate(cv2.split(COLORS), factor)
    assert np.array_equal(np.stack(planes, -1), published(COLORS, ColorDraws(saturation=factor)))


def test_saturate__greys_stay_as_float32_leaves_them():
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    draws = ColorDraws(saturation=1.3)
    assert np.array_equal(adjust_color(greys, draws), published(greys, draws))


factors = st.none() | st.floats(0.5, 1.5)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    brightness=st.none() | st.floats(0.87, 1.13),
    contrast=factors,
    saturation=factors,
    hue=st.none() | st.floats(-0.05, 0.05),
    contrast_first=st.booleans(),
    data=st.data(),
)
def test_adjust_color__equals_torchvision_also_for_a_region(
    size, brightness, contrast, saturation, hue, contrast_first, data
):
    pixels = np.random.default_rng(size[0] * 41 + size[1]).integers(0, 256, (*size, 3)).astype(np.uint8)
    before = pixels.copy()
    draws = ColorDraws(
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=hue,
        contrast_first=contrast_first,
    )
    expected = published(pixels, draws)
    assert np.array_equal(adjust_color(pixels, draws), expected)

    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    height, width = data.draw(st.integers(1, size[0] - top)), data.draw(st.integers(1, size[1] - left))
    part = adjust_color(pixels, draws, (top, left, height, width))
    assert np.array_equal(part, expected[top : top + height, left : left + width])
    assert np.array_equal(pixels, before)


def test_adjust_color__several_blocks():
    pixels = RNG.integers(0, 256, (700, 400, 3)).astype(np.uint8)
    draws = ColorDraws(brightness=0.9, contrast=0.7, saturation=1.2, hue=-0.02, contrast_first=False)
    assert np.array_equal(adjust_color(pixels, draws), published(pixels, draws))


def test_mean_grey__exact_where_a_float32_sum_is_not():
    pixels = RNG.integers(200, 256, (601, 301, 3)).astype(np.uint8)
    red, green, blue = (as_tensor(pixels)[channel] for channel in range(3))
    grey = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_().to(torch.int64)
    assert grey.sum() > 1 << 24
    assert mean_grey(pixels) == grey.sum().item() / grey.numel()
