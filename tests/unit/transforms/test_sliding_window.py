"""Window plans: every pixel is seen, shares sum to one, and crops are cut where the plan says."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from vfmseg.errors import RecipeError
from vfmseg.transforms.sliding_window import cut, cut_rows, plan_windows, stride_plan, tile_plan

sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))
crops = st.tuples(st.integers(1, 64), st.integers(1, 64))


def total_share(axis):
    total = torch.zeros(axis.padded)
    for start, share in zip(axis.starts, axis.weights(), strict=True):
        total[start : start + axis.window] += share
    return total


def check_axis(axis, size, crop):
    assert axis.size == size
    assert axis.window == crop
    assert axis.starts[0] == 0
    assert list(axis.starts) == sorted(set(axis.starts))
    assert axis.padded == max(axis.resized, crop)
    assert not axis.uncovered().any()
    torch.testing.assert_close(total_share(axis), torch.ones(axis.padded))
    assert (axis.weights() > 0).all()


@given(size=sizes, crop=crops)
def test_plan_windows__covers_every_pixel_in_one_direction(size, crop):
    plan = plan_windows(size, crop)
    for axis, length, window in zip((plan.rows, plan.columns), size, crop, strict=True):
        check_axis(axis, length, window)
        assert axis.padded == axis.resized
    assert min(plan.shape) == 1
    assert crop[0] == plan.resized_size[0] or crop[1] == plan.resized_size[1]
    assert plan.image_size == size
    assert plan.crop_size == crop
    assert plan.num_windows == plan.shape[0] * plan.shape[1]


@given(size=st.integers(1, 600), other=st.integers(1, 600), crop=st.integers(1, 64))
def test_plan_windows__only_the_last_published_start_changes(size, other, crop):
    plan = plan_windows((size, other), (crop, crop))
    published = plan_windows((size, other), (crop, crop), published_spans=True)
    for axis, theirs in ((plan.rows, published.rows), (plan.columns, published.columns)):
        assert axis.starts[:-1] == theirs.starts[:-1]
        assert theirs.starts[-1] <= axis.starts[-1] == axis.resized - crop <= theirs.starts[-1] + 1


def test_plan_windows__crops_that_are_not_square():
    plan = plan_windows((200, 300), (64, 128))
    assert plan.resized_size == (85, 128)  # 300 -> 128 covers 64 rows too
    assert plan.rows.starts == (0, 21)
    assert plan.columns.starts == (0,)


@given(size=sizes, crop=crops, data=st.data())
def test_tile_plan__covers_every_pixel_with_at_least_the_overlap(size, crop, data):
    overlap = data.draw(st.integers(0, min(crop) - 1))
    plan = tile_plan(size, crop, overlap)
    assert plan.resized_size == size
    for axis, length, window in zip((plan.rows, plan.columns), size, crop, strict=True):
        check_axis(axis, length, window)
        assert all(later - start <= window - overlap for start, later in pairwise(axis.starts))
        fewer = (len(axis.starts) - 1) * (window - overlap) + overlap
        assert length > fewer or len(axis.starts) == 1


def test_tile_plan__ramps_cross_linearly():
    share = tile_plan((16, 24), (16, 16), 8).columns.weights()
    expected = (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(share[1, :8], expected)
    torch.testing.assert_close(share[0, 8:], expected.flip(0))


@pytest.mark.parametrize("overlap", [-1, 32, 100])
def test_tile_plan__overlap_out_of_range(overlap):
    with pytest.raises(
        RecipeError, match=rf"tile overlap is {overlap} pixels.*32 x 48 .* between 0 and 31.*8"
    ):
        tile_plan((100, 100), (32, 48), overlap)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    crop=st.tuples(st.integers(4, 24), st.integers(4, 24)),
    tiles=st.booleans(),
)
def test_cut__windows_of_the_resized_and_padded_image(size, crop, tiles):
    generator = torch.Generator().manual_seed(size[0] * 61 + size[1])
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
    plan = tile_plan(size, crop, 3) if tiles else plan_windows(size, crop)
    windows = cut(image, plan)
    assert windows.shape == (plan.num_windows, 3, *crop)

    resized = reference.resize(image, list(plan.resized_size), antialias=True)
    padded = torch.zeros(3, plan.rows.padded, plan.columns.padded, dtype=torch.uint8)
    padded[:, : resized.shape[1], : resized.shape[2]] = resized
    expected = [
        padded[:, top : top + crop[0], left : left + crop[1]]
        for top in plan.rows.starts
        for left in plan.columns.starts
    ]
    assert torch.equal(windows, torch.stack(expected))
    rows = list(cut_rows(image, plan))
    assert len(rows) == plan.shape[0]
    assert torch.equal(torch.cat(rows), windows)


def test_cut__image_of_another_size():
    with pytest.raises(ValueError, match=r"the plan is for images of \(20, 30\), not \(30, 20\)"):
        cut(torch.zeros(3, 30, 20, dtype=torch.uint8), plan_windows((20, 30), (8, 8)))


def test_stride_plan__the_published_three_windows_of_cityscapes() -> None:
    plan = stride_plan((1024, 2048), (512, 512), 341)
    assert plan.resized_size == (512, 1024)
    assert (plan.rows.starts, plan.columns.starts) == ((0,), (0, 341, 512))
    assert stride_plan((1024, 2048), (1024, 1024), 683).columns.starts == (0, 683, 1024)
    assert stride_plan((720, 1280), (512, 512), 341, cover=False).shape == (2, 4)


@pytest.mark.parametrize("stride", [0, 513])
def test_stride_plan__refuses_a_stride_that_leaves_gaps(stride: int) -> None:
    with pytest.raises(RecipeError, match=rf"stride is {stride} pixels.* between 1 and 512. Published: 341"):
        stride_plan((512, 1024), (512, 512), stride)
