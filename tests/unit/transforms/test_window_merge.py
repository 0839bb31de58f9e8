"""Merging windows: equal to the published steps done one after the other, in less memory."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vfmseg.transforms.sliding_window import plan_windows, tile_plan
from vfmseg.transforms.window_merge import (
    merge,
    merge_to_classes,
    merge_to_measure,
    stream_classes,
    stream_logits,
)

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))
crops = st.tuples(st.integers(6, 32), st.integers(6, 32))
grids = st.tuples(st.integers(1, 8), st.integers(1, 8))


def step_by_step(crop_logits, plan):
    """Upsample, weigh, add up, divide, cut off the padding, resize: on whole arrays."""
    crops = F.interpolate(crop_logits, plan.crop_size, mode="bilinear", align_corners=False)
    summed = torch.zeros(crop_logits.shape[1], plan.rows.padded, plan.columns.padded)
    weights = torch.zeros(plan.rows.padded, plan.columns.padded)

    def ramp(length):
        return torch.tensor([min(i, length - 1 - i) + 0.5 for i in range(length)])

    height, width = plan.crop_size
    share = torch.ones(plan.crop_size)
    if plan.rows.blend == "ramp":
        share = ramp(height)[:, None] * ramp(width)
    places = [(top, left) for top in plan.rows.starts for left in plan.columns.starts]
    for crop, (top, left) in zip(crops, places, strict=True):
        summed[:, top : top + height, left : left + width] += crop * share
        weights[top : top + height, left : left + width] += share
    merged = (summed / weights)[:, : plan.resized_size[0], : plan.resized_size[1]]
    return F.interpolate(merged[None], plan.image_size, mode="bilinear", align_corners=False)[0]


def random_logits(plan, grid, num_classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(plan.num_windows, num_classes, *grid, generator=generator)


def agree(classes, logits, atol=2e-5):
    """The chosen class has the largest logit, up to rounding."""
    chosen = logits.gather(0, classes.long()[None])[0]
    return bool((logits.amax(0) - chosen <= atol).all())


@st.composite
def plans(draw):
    size, crop = draw(sizes), draw(crops)
    if draw(st.booleans()):
        return plan_windows(size, crop)
    return tile_plan(size, crop, draw(st.integers(0, min(crop) - 1)))


@settings(max_examples=80, deadline=None)
@given(plan=plans(), grid=grids, seed=st.integers(0, 1000))
def test_merge__equals_the_steps(plan, grid, seed):
    logits = random_logits(plan, grid, seed=seed)
    expected = step_by_step(logits, plan)
    merged = merge(logits, plan)
    assert merged.shape == (3, *plan.image_size)
    torch.testing.assert_close(merged, expected, rtol=0, atol=2e-5)
    found = merge_to_classes(logits, plan)
    assert found.classes.dtype == torch.uint8
    assert found.confidence is None
    assert agree(found.classes, expected)


@settings(max_examples=30, deadline=None)
@given(plan=plans(), seed=st.integers(0, 1000))
def test_merge__logits_at_the_size_of_the_crop(plan, seed):
    logits = random_logits(plan, plan.crop_size, seed=seed)
    expected = step_by_step(logits, plan)
    torch.testing.assert_close(merge(logits, plan), expected, rtol=0, atol=2e-5)
    assert agree(merge_to_classes(logits, plan).classes, expected)


@settings(max_examples=30, deadline=None)
@given(size=sizes, crop=crops, grid=grids, tiles=st.booleans())
def test_merge__constant_logits_stay_constant(size, crop, grid, tiles):
    plan = tile_plan(size, crop, min(crop) // 3) if tiles else plan_windows(size, crop)
    logits = torch.tensor([1.5, -2.0])[None, :, None, None].expand(plan.num_windows, 2, *grid)
    torch.testing.assert_close(merge(logits, plan), logits[0, :, :1, :1].expand(2, *size))


def test_tiles__no_seams_in_a_linear_ramp():
    plan = tile_plan((70, 90), (32, 32), 8)
    rows, columns = torch.meshgrid(torch.arange(70.0), torch.arange(90.0), indexing="ij")
    ramp = torch.stack([0.3 * rows - 0.1 * columns, columns])
    crops = [
        ramp[:, top : top + 32, left : left + 32] for top in plan.rows.starts for left in plan.columns.starts
    ]
    torch.testing.assert_close(merge(torch.stack(crops), plan), ramp, rtol=0, atol=2e-5)


def test_tiles__what_one_tile_alone_says_fades_out():
    plan = tile_plan((32, 48), (32, 32), 16)
    crops = torch.zeros(2, 1, 32, 32)
    crops[1] = 1
    line = merge(crops, plan)[0, 8]
    assert (line[:16] == 0).all()
    assert (line[32:] == 1).all()
    torch.testing.assert_close(line[16:32].diff(), torch.full((15,), 1 / 16))


@settings(max_examples=30, deadline=None)
@given(plan=plans(), grid=grids)
@example(plan=plan_windows((1, 1), (6, 48)), grid=(1, 1))  # rows of windows of which none is needed
def test_stream__bands_make_the_whole(plan, grid):
    logits = random_logits(plan, grid)
    rows = logits.view(*plan.shape, *logits.shape[1:])
    merged = merge(logits, plan)

    bands = list(stream_logits(rows, plan))
    assert [start for start, _ in bands] == list(range(0, plan.image_size[0], 64))
    assert torch.equal(torch.cat([band for _, band in bands], 1), merged)

    maps = [found for _, found in stream_classes(rows, plan, confidence="softmax")]
    whole = merge_to_classes(logits, plan, confidence="softmax")
    assert torch.equal(torch.cat([found.classes for found in maps]), whole.classes)
    assert torch.equal(torch.cat([found.confidence for found in maps]), whole.confidence)


def test_stream__holds_few_window_rows_whatever_the_height():
    plan = tile_plan((1000, 20), (32, 20), 8)
    alive = []

    def window_rows():
        for _ in plan.rows.starts:
            row = torch.zeros(1, 2, 4, 4)
            alive.append(weakref.ref(row))
            yield row

    most, last_start = 0, 0
    for start, _ in stream_classes(window_rows(), plan):
        most = max(most, sum(reference() is not None for reference in alive))
        needed = sum(first < start + 64 for first in plan.rows.starts)
        assert len(alive) <= needed + 1
        last_start = start
    assert last_start == 960
    assert most <= 2


def test_stream__window_rows_missing_or_too_many():
    plan = tile_plan((100, 20), (32, 20), 8)
    row = torch.zeros(1, 2, 4, 4)
    with pytest.raises(ValueError, match="the plan has 4 rows of windows, but 0 came"):
        list(stream_logits([], plan))
    with pytest.raises(ValueError, match="the plan has 4 rows of windows, but 2 came"):
        list(stream_logits([row] * 2, plan))
    with pytest.raises(ValueError, match="the plan has 4 rows of windows, but 5 came"):
        list(stream_logits([row] * 5, plan))
    with pytest.raises(ValueError, match="the plan has 1 windows in a row, but there are 2"):
        list(stream_logits([torch.cat([row, row])], plan))


def test_merge__wrong_number_of_windows():
    with pytest.raises(ValueError, match="the plan has 2 windows, but there are logits of 3"):
        merge(torch.zeros(3, 2, 4, 4), plan_windows((32, 48), (32, 32)))


@pytest.mark.parametrize("confidence", ["softmax", "score"])
def test_merge_to_classes__confidence(confidence):
    plan = plan_windows((50, 83), (32, 32))
    logits = random_logits(plan, (4, 4), num_classes=11)
    expected = step_by_step(logits, plan)
    if confidence == "softmax":
        expected = expected.softmax(0)
    found = merge_to_classes(logits, plan, confidence=confidence)
    assert found.confidence.dtype == torch.float16
    torch.testing.assert_close(found.confidence.float(), expected.amax(0), rtol=1e-3, atol=1e-5)


def test_merge__half_precision_and_gradients_in_float32_and_no_gradients_out():
    plan = plan_windows((50, 83), (32, 32))
    logits = random_logits(plan, (4, 4)).bfloat16()
    expected = merge(logits.float(), plan)
    assert torch.equal(merge(logits.requires_grad_(), plan), expected)


def test_published_spans__nan_also_in_a_stream():
    plan = plan_windows((675, 224), (224, 224), published_spans=True)
    logits = torch.ones(plan.num_windows, 2, 4, 4)
    bands = [band for _, band in stream_logits(logits[:, None], plan)]
    merged = torch.cat(bands, 1)
    assert merged[:, -1].isnan().all()
    assert not merged[:, :-1].isnan().any()


@pytest.mark.parametrize("size", [(150, 70), (40, 130), (20, 20)])
def test_merge_to_measure__classes_and_a_measure_of_the_merged_logits(size):
    plan = plan_windows(size, (32, 32))
    logits = random_logits(plan, (5, 4), num_classes=6)
    found = merge_to_measure(logits, plan, lambda rows: rows.logsumexp(0))
    whole = merge(logits, plan)
    assert torch.equal(found.classes, merge_to_classes(logits, plan).classes)
    assert found.classes.dtype == torch.uint8
    assert found.confidence.dtype == torch.float32
    torch.testing.assert_close(found.confidence, whole.logsumexp(0), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="but there are logits of 0"):
        merge_to_measure(logits[:0], plan, torch.sum)
