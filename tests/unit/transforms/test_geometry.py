"""Resize, crop and look-up: what torchvision does to the whole, done to the part that is seen."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from vfmseg.transforms.geometry import (
    cut,
    look_up,
    mirror,
    nearest_index,
    pad,
    pad_to_planes,
    resize,
    scaled_size,
    source_window,
)

sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))


def noise(size, channels=None):
    shape = size if channels is None else (*size, channels)
    return np.random.default_rng(size[0] * 71 + size[1]).integers(0, 256, shape).astype(np.uint8)


@st.composite
def window_of(draw, size):
    top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    return top, left, draw(st.integers(1, size[0] - top)), draw(st.integers(1, size[1] - left))


@pytest.mark.parametrize(
    ("image_size", "target", "scale", "expected"),
    [
        ((60, 64), (48, 48), 1.0, (45, 48)),
        ((60, 50), (32, 56), 1.0, (38, 32)),  # swapped sides: min(56 / 60, 32 / 50) = 0.64
        ((512, 683), (512, 512), 2.0, (767, 1024)),  # 512 * 2 * (512 / 683) in float32, truncated
        ((1, 1000), (32, 32), 0.5, (1, 16)),
    ],
)
def test_scaled_size__published_formula(image_size, target, scale, expected):
    assert scaled_size(image_size, target, scale) == expected


@settings(max_examples=60, deadline=None)
@given(source=sizes, resized=sizes)
def test_resize__equals_torchvision(source, resized):
    pixels = noise(source, 3)
    expected = reference.resize(torch.from_numpy(pixels).permute(2, 0, 1), list(resized), antialias=True)
    assert np.array_equal(resize(pixels, resized), expected.permute(1, 2, 0).numpy())


@settings(max_examples=80, deadline=None)
@given(source=sizes, resized=sizes, data=st.data())
def test_source_window__nothing_outside_it_is_read(source, resized, data):
    pixels = noise(source, 3)
    window = data.draw(window_of(resized))
    seen = source_window(window, source, resized)
    blacked = np.zeros_like(pixels)
    cut(blacked, seen)[:] = cut(pixels, seen)
    assert np.array_equal(cut(resize(blacked, resized), window), cut(resize(pixels, resized), window))


@settings(max_examples=80, deadline=None)
@given(source=sizes, resized=sizes, flip=st.booleans(), data=st.data())
def test_nearest_index__equals_torchvision_then_crop(source, resized, flip, data):
    label = noise(source)
    window = data.draw(window_of(resized))
    flipped = torch.from_numpy(label)[None]
    flipped = reference.horizontal_flip(flipped) if flip else flipped
    whole = reference.resize(flipped, list(resized), interpolation=InterpolationMode.NEAREST)[0].numpy()
    rows, columns = nearest_index(source, resized, window, flip=flip)
    assert np.array_equal(look_up(label, rows, columns), cut(whole, window))


@given(size=sizes, data=st.data())
def test_mirror__where_a_window_lies_after_a_flip(size, data):
    window = data.draw(window_of(size))
    pixels = noise(size, 3)
    moved = mirror(window, size[1])
    assert np.array_equal(cut(pixels[:, ::-1], moved), cut(pixels, window)[:, ::-1])
    assert mirror(moved, size[1]) == window


def test_pad__part_at_the_top_left():
    label = noise((3, 4))
    padded = pad(label, (5, 6), 255)
    assert np.array_equal(padded[:3, :4], label)
    assert (padded[3:] == 255).all()
    assert (padded[:, 4:] == 255).all()

    pixels = noise((7, 9), 3)[1:4, 2:6]
    planes = pad_to_planes(pixels, (5, 6))
    assert np.array_equal(planes[:, :3, :4], pixels.transpose(2, 0, 1))
    assert not planes[:, 3:].any()
    assert not planes[:, :, 4:].any()
    assert not np.shares_memory(pad_to_planes(pixels, (3, 4)), pixels)
