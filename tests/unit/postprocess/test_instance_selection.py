"""Instance selection: the written-out algorithm on random masks, and the edges of its domain."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.postprocess import mask_tiles
from vfmseg.postprocess.instance import _pack_by_arithmetic, instances
from vfmseg.transforms.letterbox import plan_letterbox, to_image
from vfmseg.types import MaskLogits


def random_prediction(seed, num_queries=7, num_classes=3, grid=(6, 8)):
    generator = torch.Generator().manual_seed(seed)
    return MaskLogits(
        3 * torch.randn(num_queries, *grid, generator=generator),
        2 * torch.randn(num_queries, num_classes + 1, generator=generator),
    )


def unpacked(found):
    return np.unpackbits(found.packed_masks.numpy(), axis=-1, count=found.size[1]).astype(bool)


def written_out(prediction, plan, count):
    """Follow the description step by step on whole maps; return masks, classes and scores, best first."""
    probabilities = prediction.class_logits.softmax(-1)[:, :-1]
    best, pairs = probabilities.flatten().topk(min(count, probabilities.numel()))
    queries, classes = pairs // probabilities.shape[1], pairs % probabilities.shape[1]
    logits = to_image(prediction.mask_logits, plan)[queries]
    masks = logits > 0
    inside = (logits.sigmoid() * masks).sum((1, 2)) / (masks.sum((1, 2)) + 1e-6)
    order = (best * inside).argsort(descending=True, stable=True)
    return masks[order], classes[order], (best * inside)[order]


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop=st.tuples(st.integers(6, 40), st.integers(6, 40)),
    tile_side=st.sampled_from([8, 16, 128]),
    count=st.sampled_from([1, 4, 100]),
)
def test_instances__are_the_written_out_algorithm(seed, size, crop, tile_side, count):
    prediction, plan = random_prediction(seed), plan_letterbox(size, crop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_tiles, "TILE_SIDE", tile_side)
        found = instances(prediction, plan, max_instances=count)
    masks, classes, scores = written_out(prediction, plan, count)
    torch.testing.assert_close(found.scores, scores, rtol=0, atol=1e-5)
    alive = scores > 0  # empty masks share the score 0, and their order is of no account
    assert torch.equal(found.classes[alive], classes[alive])
    assert np.array_equal(unpacked(found), masks.numpy())
    assert found.size == size
    assert found.packed_masks.shape == (len(scores), size[0], -(-size[1] // 8))


def test_instances__a_query_may_appear_with_several_classes_and_is_resized_once(monkeypatch):
    asked = []
    logits = mask_tiles.MaskTiles.logits
    monkeypatch.setattr(
        mask_tiles.MaskTiles,
        "logits",
        lambda self, tile, queries: asked.append(queries) or logits(self, tile, queries),
    )
    prediction = MaskLogits(torch.ones(1, 4, 4), torch.tensor([[2.0, 3.0, 1.0, 0.0]]))
    found = instances(prediction, plan_letterbox((8, 9), (8, 8)))
    assert asked == [[0]]
    assert found.classes.tolist() == [1, 0, 2]
    assert unpacked(found).all()


def test_instances__ties_stay_in_order_of_query_and_class():
    prediction = MaskLogits(torch.ones(3, 4, 4), torch.zeros(3, 3))
    found = instances(prediction, plan_letterbox((4, 4), (4, 4)), max_instances=5)
    assert found.classes.tolist() == [0, 1, 0, 1, 0]


def test_instances__empty_masks_stay_with_score_zero():
    prediction = MaskLogits(torch.tensor([-1.0, 1.0]).view(2, 1, 1).expand(2, 4, 4), torch.zeros(2, 2))
    found = instances(prediction, plan_letterbox((4, 4), (4, 4)))
    assert found.scores[1] == 0
    assert unpacked(found).reshape(2, -1).all(1).tolist() == [True, False]
    assert not unpacked(found)[1].any()


def test_instances__a_logit_of_zero_is_outside():
    found = instances(MaskLogits(torch.zeros(1, 4, 4), torch.zeros(1, 2)), plan_letterbox((4, 4), (4, 4)))
    assert not unpacked(found).any()


@pytest.mark.parametrize(("size", "crop"), [((1, 1), (32, 32)), ((1, 50), (32, 32)), ((50, 1), (32, 48))])
def test_instances__images_of_one_pixel(size, crop):
    found = instances(MaskLogits(torch.ones(2, 4, 4), torch.zeros(2, 2)), plan_letterbox(size, crop))
    assert found.packed_masks.shape == (2, size[0], -(-size[1] // 8))
    assert unpacked(found).all()


def test_instances__bits_beyond_the_width_are_zero():
    found = instances(MaskLogits(torch.ones(1, 4, 4), torch.zeros(1, 2)), plan_letterbox((3, 13), (16, 16)))
    assert found.packed_masks.tolist() == [[[255, 248]] * 3]


def test_instances__no_queries():
    found = instances(MaskLogits(torch.zeros(0, 4, 4), torch.zeros(0, 5)), plan_letterbox((9, 17), (16, 16)))
    assert found.packed_masks.shape == (0, 9, 3)
    assert found.classes.shape == found.scores.shape == (0,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["mask_logits", "class_logits"])
def test_instances__queries_that_are_not_finite_are_left_out_and_counted(where, bad):
    plan, prediction = plan_letterbox((20, 33), (32, 32)), random_prediction(1)
    sick = {"mask_logits": prediction.mask_logits.clone(), "class_logits": prediction.class_logits.clone()}
    sick[where][2].flatten()[1] = bad
    others = torch.arange(7) != 2
    with pytest.warns(RuntimeWarning, match=r"1 of 7 queries have NaN or infinite logits") as caught:
        found = instances(MaskLogits(**sick), plan)
    assert caught[0].filename == __file__
    healthy = MaskLogits(prediction.mask_logits[others], prediction.class_logits[others])
    expected = instances(healthy, plan)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.packed_masks, expected.packed_masks)


def test_instances__half_precision_under_autocast():
    prediction, plan = random_prediction(3), plan_letterbox((37, 50), (36, 48))
    half = MaskLogits(prediction.mask_logits.bfloat16(), prediction.class_logits.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        found = instances(half, plan)
    expected = instances(MaskLogits(half.mask_logits.float(), half.class_logits.float()), plan)
    assert torch.equal(found.packed_masks, expected.packed_masks)
    assert torch.equal(found.scores, expected.scores)


@pytest.mark.parametrize("floats", [1, 7 * 50 * 9, 1 << 27])
def test_instances__bands_without_bounds_as_on_accelerators(floats, monkeypatch):
    prediction, plan = random_prediction(7), plan_letterbox((37, 50), (36, 48))
    expected = instances(prediction, plan)
    monkeypatch.setattr(mask_tiles.MaskTiles, "is_on_host", False)
    monkeypatch.setattr(mask_tiles, "_ACCELERATOR_FLOATS", floats)
    monkeypatch.setattr("vfmseg.postprocess.instance._pack", _pack_by_arithmetic)
    found = instances(prediction, plan)
    assert torch.equal(found.packed_masks, expected.packed_masks)
    torch.testing.assert_close(found.scores, expected.scores)


@pytest.mark.gpu
def test_instances__on_a_gpu():
    prediction, plan = random_prediction(7), plan_letterbox((37, 50), (36, 48))
    found = instances(MaskLogits(prediction.mask_logits.cuda(), prediction.class_logits.cuda()), plan)
    expected = instances(prediction, plan)
    assert found.packed_masks.is_cuda
    assert torch.equal(found.packed_masks.cpu(), expected.packed_masks)
    torch.testing.assert_close(found.scores.cpu(), expected.scores)


def test_instances__wrong_shapes():
    batch = MaskLogits(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match=r"one image has mask logits \(Q, h, w\).*one by one"):
        instances(batch, plan_letterbox((4, 4), (4, 4)))
