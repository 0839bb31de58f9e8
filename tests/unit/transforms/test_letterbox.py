"""Letterbox plans: the image fits its crop, lies at the top left, and finds its way back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from vfmseg.transforms.letterbox import LetterboxPlan, plan_letterbox, to_crop, to_image

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))
crops = st.tuples(st.integers(1, 48), st.integers(1, 48))


def random_image(size):
    generator = torch.Generator().manual_seed(size[0] * 97 + size[1])
    return torch.randint(1, 256, (3, *size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("size", "crop", "resized"),
    [
        ((480, 640), (640, 640), (480, 640)),
        ((640, 480), (640, 640), (640, 480)),
        ((1024, 2048), (1024, 1024), (512, 1024)),
        ((427, 640), (640, 640), (427, 640)),
        ((641, 639), (640, 640), (640, 638)),
        ((639, 640), (640, 640), (639, 640)),
        ((333, 500), (640, 640), (426, 640)),
        ((17, 64), (32, 32), (8, 32)),  # 8.5 to the even neighbour, as published
        ((32, 32), (32, 32), (32, 32)),
        ((100, 50), (64, 128), (64, 32)),
        ((1, 1000), (32, 32), (1, 32)),  # 0.03 pixels would be none
        ((1, 1), (32, 48), (32, 32)),
        ((7, 9), (1, 1), (1, 1)),
    ],
)
def test_plan_letterbox__sizes(size, crop, resized):
    assert plan_letterbox(size, crop) == LetterboxPlan(size, crop, resized)


@given(size=sizes, crop=crops)
def test_plan_letterbox__fits_and_touches(size, crop):
    plan = plan_letterbox(size, crop)
    assert all(1 <= inner <= outer for inner, outer in zip(plan.resized_size, crop, strict=True))
    assert plan.resized_size[0] == crop[0] or plan.resized_size[1] == crop[1]


@pytest.mark.parametrize(("size", "crop"), [((0, 5), (8, 8)), ((5, 5), (8, 0))])
def test_plan_letterbox__nothing_to_fit(size, crop):
    with pytest.raises(ValueError, match=r"cannot fit an image of \(.*\) into a crop of"):
        plan_letterbox(size, crop)


@given(size=sizes, crop=crops)
def test_to_crop__equals_pillow_and_is_black_around(size, crop):
    image, plan = random_image(size), plan_letterbox(size, crop)
    found = to_crop(image, plan)
    height, width = plan.resized_size
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    expected = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    assert found.shape == (3, *crop)
    assert found.dtype == torch.uint8
    assert np.array_equal(found[:, :height, :width].permute(1, 2, 0).numpy(), expected)
    assert not found[:, height:].any()
    assert not found[:, :, width:].any()


def test_to_crop__memory_layout_does_not_matter():
    plan = plan_letterbox((30, 21), (16, 16))
    image = random_image((30, 21))
    interleaved = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(to_crop(interleaved, plan), to_crop(image, plan))


def test_to_crop__image_of_another_size():
    with pytest.raises(ValueError, match=r"the plan is for images of \(20, 30\), not \(30, 20\)"):
        to_crop(torch.zeros(3, 30, 20, dtype=torch.uint8), plan_letterbox((20, 30), (8, 8)))


@given(size=sizes, crop=crops, grid=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_to_image__two_resizes_with_a_cut_between(size, crop, grid):
    logits, plan = torch.randn(2, *grid), plan_letterbox(size, crop)
    at_crop = F.interpolate(logits[None], crop, mode="bilinear", align_corners=False)
    cut = at_crop[..., : plan.resized_size[0], : plan.resized_size[1]]
    expected = F.interpolate(cut, size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(to_image(logits, plan), expected)


@given(size=sizes)
def test_round_trip__an_image_of_the_crop_size_comes_back_as_it_was(size):
    plan, image = plan_letterbox(size, size), random_image(size)
    assert torch.equal(to_crop(image, plan), image)
    assert torch.equal(to_image(image.float(), plan), image.float())


@given(
    size=st.tuples(st.integers(8, 90), st.integers(8, 90)),
    crop=st.tuples(st.integers(24, 48), st.integers(24, 48)),
)
def test_round_trip__a_ramp_stays_where_it_was(size, crop):
    plan = plan_letterbox(size, crop)
    rows, columns = torch.meshgrid(*(torch.linspace(0, 200, n) for n in size), indexing="ij")
    ramp = ((rows + columns) / 2).to(torch.uint8).expand(3, *size)
    back = to_image(to_crop(ramp, plan).float(), plan)
    step = max(100 / n for n in (*size, *plan.resized_size))
    # One grid step off at most, also beside the padding; the resized size is rounded, too.
    assert (back - ramp).abs().max() <= 2 * step + 2


def test_to_image__batches_and_half_precision():
    plan = plan_letterbox((20, 33), (32, 32))
    logits = torch.randn(2, 3, 8, 8).bfloat16()
    found = to_image(logits, plan)
    assert found.shape == (2, 3, 20, 33)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[1], to_image(logits[1].float(), plan))
