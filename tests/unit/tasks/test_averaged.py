"""Test-time augmentation equals a plain loop over the variants that holds all their scores."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import resize

from vfmseg.postprocess.semantic import pixel_scores
from vfmseg.tasks.averaged import predict_averaged
from vfmseg.tasks.semantic import predict_tiles, predict_windows
from vfmseg.transforms.averaged_views import AveragedViews
from vfmseg.transforms.sliding_window import View, WindowPlan, cut, stride_plan, tile_plan
from vfmseg.transforms.window_merge import merge
from vfmseg.types import MaskLogits, Output, PixelLogits

CROP = (32, 32)
NUM_CLASSES = 5
VIEWS = AveragedViews((0.75, 1.0, 1.5), flip=True)


def pixels(crops: Tensor) -> Output:
    """Say logits that depend on what is seen and where; far from symmetric."""
    grid = F.avg_pool2d(crops.float() / 255, 8) - 0.5  # n 3 h w
    mix = torch.randn(NUM_CLASSES, 3, generator=torch.Generator().manual_seed(0))
    where = torch.linspace(0, 0.5, grid.shape[-1]) * torch.arange(NUM_CLASSES)[:, None, None].cos()
    return PixelLogits(4 * torch.einsum("kc,nchw->nkhw", mix, grid) + where)


def masks(crops: Tensor) -> Output:
    """Say the same through queries."""
    said = pixels(crops)
    assert isinstance(said, PixelLogits)
    classes = (3 * torch.eye(NUM_CLASSES, NUM_CLASSES + 1)).expand(len(crops), -1, -1)
    return (MaskLogits(said.logits, classes),)


def image(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    small = torch.randint(0, 256, (3, 9, 11), generator=generator, dtype=torch.uint8)
    return resize(small, [height, width], antialias=True)


def looped(segment, picture: Tensor, plans: list[WindowPlan], flip: bool) -> Tensor:
    """Return the mean scores (K, H, W) over all variants."""
    found = []
    for plan in plans:
        for is_flipped in (False, True) if flip else (False,):
            variant = picture.flip(-1) if is_flipped else picture
            scores = merge(pixel_scores(segment(cut(variant, plan)), CROP), plan)
            found.append(scores.flip(-1) if is_flipped else scores)
    return torch.stack(found).mean(0)


def sized(plan: WindowPlan, size: tuple[int, int]) -> WindowPlan:
    """Return a plan of a scaled image as one of the image itself, which is scaled when it is cut."""
    rows, columns = (
        replace(plan.rows, size=size[0], blend="mean"),
        replace(plan.columns, size=size[1], blend="mean"),
    )
    return WindowPlan(rows, columns)


@pytest.mark.parametrize("segment", [pixels, masks])
@pytest.mark.parametrize(
    ("size", "at_one"), [((50, 91), (32, 58)), ((70, 40), (56, 32)), ((20, 20), (32, 32))]
)
def test_predict_windows__augmented_equals_a_plain_loop(segment, size, at_one) -> None:
    picture = image(*size)
    plans = []
    for scale in VIEWS.scales:
        if scale == 1:
            plans.append(View().plan(size, CROP))
        else:
            scaled = (round(at_one[0] * scale), round(at_one[1] * scale))
            plans.append(sized(tile_plan(scaled, CROP, 0), size))
    expected = looped(segment, picture, plans, flip=True)
    (found,) = predict_windows(segment, [picture], CROP, confidence=True, view=View(augment=VIEWS))
    top = expected.topk(2, 0).values
    clear = top[0] - top[1] > 1e-4  # sums in another order may part equals
    assert clear.float().mean() > 0.99
    assert torch.equal(found.classes.long()[clear], expected.argmax(0)[clear])
    assert found.confidence is not None
    sure = expected.softmax(0).amax(0) if segment is pixels else expected.amax(0)
    torch.testing.assert_close(found.confidence, sure, rtol=1e-4, atol=1e-4)


def test_predict_windows__one_view_as_it_is_changes_nothing() -> None:
    picture = image(50, 91)
    (plain,) = predict_windows(pixels, [picture], CROP, confidence=True)
    (same,) = predict_windows(pixels, [picture], CROP, confidence=True, view=View(augment=AveragedViews()))
    assert torch.equal(plain.classes, same.classes)
    assert plain.confidence is not None
    assert same.confidence is not None
    torch.testing.assert_close(same.confidence, plain.confidence.float(), rtol=1e-3, atol=1e-3)


def test_predict_windows__a_mirrored_image_has_the_mirrored_map() -> None:
    picture, view = image(50, 91), View(augment=AveragedViews(flip=True))
    found = [
        predict_windows(pixels, [one], CROP, view=view)[0].classes for one in (picture, picture.flip(-1))
    ]
    assert (found[0] == found[1].flip(-1)).float().mean() > 0.99
    (alone,) = predict_windows(pixels, [picture], CROP)
    assert not torch.equal(alone.classes, found[0])


def test_predict_averaged__at_a_stride_and_with_a_measure() -> None:
    size, scale = (50, 91), 1.5
    picture, view = image(*size), View(stride=20)
    scaled = sized(stride_plan((48, 87), CROP, 20, cover=False), size)
    expected = looped(pixels, picture, [stride_plan(size, CROP, 20), scaled], flip=False)
    measure = partial(torch.amax, dim=0)
    plan = view.plan(size, CROP)
    found = predict_averaged(
        pixels, picture, plan, AveragedViews((1.0, scale)), view.plan_at, measure=measure
    )
    torch.testing.assert_close(found.confidence, expected.amax(0), rtol=1e-4, atol=1e-4)


def test_predict_tiles__augmented_equals_a_plain_loop() -> None:
    size = (80, 100)
    picture, views = image(*size), AveragedViews((1.0, 0.5), flip=True)
    small = tile_plan((40, 50), CROP, 8)
    plans = [
        tile_plan(size, CROP, 8),
        WindowPlan(replace(small.rows, size=80), replace(small.columns, size=100)),
    ]
    expected = looped(masks, picture, plans, flip=True)
    found = predict_tiles(masks, picture, CROP, overlap=8, confidence=True, augment=views)
    torch.testing.assert_close(found.confidence, expected.amax(0), rtol=1e-4, atol=1e-4)
