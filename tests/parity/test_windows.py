"""Windows, cut and merge against recorded runs of the published sliding-window evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from vfmseg.transforms.sliding_window import cut, plan_windows, stride_plan
from vfmseg.transforms.window_merge import merge, merge_to_classes

GOLDENS = Path(__file__).parents[1] / "goldens"


def stored(name):
    with safe_open(GOLDENS / name, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        return json.loads(file.metadata()["info"]), tensors


INFO, TENSORS = stored("windows_bench.safetensors")
GEOMETRY_INFO, GEOMETRY = stored("windows_geometry.safetensors")
SIZES = sorted({name.rsplit("/", 1)[0] for name in GEOMETRY})
UNCOVERED = GEOMETRY_INFO["sizes_where_the_last_pixel_is_in_no_window"]


def plan_of(case, **kwargs):
    crop, size = case.removeprefix("crop").split("/")
    height, width = map(int, size.split("x"))
    return plan_windows((height, width), (int(crop), int(crop)), **kwargs)


def spans_of(plan):
    """The published form: start and end along the longer side, which is the one with windows."""
    axis = max(plan.rows, plan.columns, key=lambda axis: len(axis.starts))
    return [[start, start + axis.window] for start in axis.starts]


@pytest.mark.parametrize("case", INFO["cases"])
def test_cut__recorded_crops_and_spans(case):
    plan = plan_of(case)
    assert list(plan.resized_size) == INFO["cases"][case]["resized_to"]
    assert spans_of(plan) == TENSORS[f"{case}/spans"].tolist()
    assert torch.equal(cut(TENSORS[f"{case}/image"], plan), TENSORS[f"{case}/crops"])


def published_merge(logits, plan):
    """Upsample, add up, divide, resize: the published order of operations, with the torch that is installed."""
    crop = (plan.rows.window, plan.columns.window)
    upsampled = F.interpolate(logits, crop, mode="bilinear")
    total = torch.zeros(logits.shape[1], *plan.resized_size)
    count = torch.zeros(plan.resized_size)
    starts = [(top, left) for top in plan.rows.starts for left in plan.columns.starts]
    for window, (top, left) in zip(upsampled, starts, strict=True):
        total[:, top : top + crop[0], left : left + crop[1]] += window
        count[top : top + crop[0], left : left + crop[1]] += 1
    return F.interpolate((total / count)[None], (plan.rows.size, plan.columns.size), mode="bilinear")[0]


@pytest.mark.parametrize("case", INFO["cases"])
def test_merge__recorded_logits(case):
    logits, expected = TENSORS[f"{case}/crop_logits"], TENSORS[f"{case}/merged"]
    found, reference = merge(logits, plan_of(case)), published_merge(logits, plan_of(case))
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-5)
    # Recorded with torch 2.15. That of 2.14 rounds the places it reads from otherwise: its own operations differ from
    # the recording by up to 1.3e-5 (3 of 14210 logits of crop48/49x145), and only so far may we.
    drift = (reference - expected).abs()
    assert drift.max() < 2e-5
    assert ((found - expected).abs() <= 1e-5 + drift).all()
    assert torch.equal(merge_to_classes(logits, plan_of(case)).classes, expected.argmax(0).to(torch.uint8))


@pytest.mark.parametrize("case", SIZES)
def test_plan_windows__recorded_geometry(case):
    expected = GEOMETRY[f"{case}/spans"].tolist()
    published, plan = plan_of(case, published_spans=True), plan_of(case)
    assert list(plan.resized_size) == GEOMETRY[f"{case}/resized_to"].tolist()
    assert spans_of(published) == expected
    if case in UNCOVERED:
        assert spans_of(plan)[:-1] == expected[:-1]
        assert spans_of(plan)[-1] == [expected[-1][0] + 1, expected[-1][1] + 1]
    else:
        assert spans_of(plan) == expected


@pytest.mark.parametrize("case", UNCOVERED)
def test_published_spans__leave_the_recorded_pixels_without_logits(case):
    plan = plan_of(case, published_spans=True)
    logits = torch.zeros(plan.num_windows, 1, 4, 4)
    assert int(merge(logits, plan).isnan().sum()) == int(GEOMETRY[f"{case}/nan_pixels_after_merge"]) > 0
    assert not merge(logits, plan_of(case)).isnan().any()
    assert np.all(merge_to_classes(logits, plan).classes.numpy() == 0)


SLIDE_INFO, SLIDE = stored("windows_mmseg_slide.safetensors")


@pytest.mark.parametrize("case", sorted({name.split("/")[0] for name in SLIDE}))
def test_stride_plan__recorded_boxes_and_merge(case):
    height, width = map(int, case.split("x"))
    crop, (stride, _) = tuple(SLIDE_INFO["crop_size"]), SLIDE_INFO["stride"]
    plan = stride_plan((height, width), crop, stride, cover=False)
    boxes = [
        [top, left, min(top + crop[0], height), min(left + crop[1], width)]
        for top in plan.rows.starts
        for left in plan.columns.starts
    ]
    assert boxes == SLIDE[f"{case}/boxes_y1x1y2x2"].tolist()
    logits = torch.full((len(boxes), 1, *crop), torch.nan)  # what lies beyond the image must not count
    for i in range(len(boxes)):
        seen = SLIDE[f"{case}/crop_logits/{i}"]
        logits[i, :, : seen.shape[1], : seen.shape[2]] = seen
    found = merge(logits, plan)
    torch.testing.assert_close(found, SLIDE[f"{case}/merged"], rtol=1e-5, atol=1e-5)
