"""Panoptic merging: the written-out algorithm on random masks, and the edges of its domain."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.postprocess import mask_tiles
from vfmseg.postprocess.panoptic import panoptic_map
from vfmseg.transforms.letterbox import plan_letterbox, to_image
from vfmseg.types import MaskLogits

IS_THING = (True, True, False, False)
NUM_CLASSES = len(IS_THING)
IDENTITY = plan_letterbox((4, 6), (4, 6))


def class_logits(*classes, score=0.9):
    """Give each query one class (K is no-object) with probability ``score``."""
    probabilities = torch.full((len(classes), NUM_CLASSES + 1), (1 - score) / NUM_CLASSES)
    probabilities[torch.arange(len(classes)), torch.tensor(classes)] = score
    return probabilities.log()


def columns(*spans, height=4, width=6, inside=5.0):
    """Give each query the mask of some columns."""
    masks = torch.full((len(spans), height, width), -5.0)
    for mask, (left, right) in zip(masks, spans, strict=True):
        mask[:, left:right] = inside
    return masks


def random_prediction(seed, num_queries=12, grid=(9, 12)):
    generator = torch.Generator().manual_seed(seed)
    masks = 4 * torch.randn(num_queries, 3, 4, generator=generator)
    masks = torch.nn.functional.interpolate(masks[None], grid, mode="bicubic")[0]
    classes = torch.randint(NUM_CLASSES + 1, (num_queries,), generator=generator)
    scores = 8 * torch.nn.functional.one_hot(classes, NUM_CLASSES + 1).float()
    return MaskLogits(masks, scores + torch.randn(num_queries, NUM_CLASSES + 1, generator=generator))


def written_out(prediction, plan, score_threshold, overlap_threshold, mask_threshold):
    """Follow the description step by step on whole maps; return segments, classes and scores."""
    best, classes = prediction.class_logits.softmax(-1).max(-1)
    kept = torch.nonzero((classes < NUM_CLASSES) & (best > score_threshold))[:, 0]
    segments = torch.full(plan.image_size, -1, dtype=torch.int32)
    if not len(kept):
        return segments, [], []
    probabilities = to_image(prediction.mask_logits, plan).sigmoid()[kept]
    owner = (best[kept, None, None] * probabilities).argmax(0)
    found, stuff = [], {}
    for number, query in enumerate(kept.tolist()):
        inside, won = probabilities[number] >= mask_threshold, owner == number
        final = inside & won
        if not (inside.any() and won.any() and final.any()):
            continue
        if won.sum().item() / inside.sum().item() < overlap_threshold:
            continue
        label = classes[query].item()
        segment = stuff.get(label, len(found))
        if segment == len(found):
            found.append((label, best[query].item()))
            if not IS_THING[label]:
                stuff[label] = segment
        segments[final] = segment
    return segments, [label for label, _ in found], [score for _, score in found]


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    tile_side=st.sampled_from([8, 16, 128]),
    thresholds=st.tuples(
        st.sampled_from([0.3, 0.6, 0.8]), st.sampled_from([0.0, 0.3, 0.8]), st.sampled_from([0.3, 0.5, 0.7])
    ),
)
def test_panoptic_map__is_the_written_out_algorithm(seed, size, crop, tile_side, thresholds):
    prediction, plan = random_prediction(seed), plan_letterbox(size, crop)
    score, overlap, mask = thresholds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_tiles, "TILE_SIDE", tile_side)
        found = panoptic_map(
            prediction, plan, IS_THING, score_threshold=score, overlap_threshold=overlap, mask_threshold=mask
        )
    segments, classes, scores = written_out(prediction, plan, *thresholds)
    assert torch.equal(found.segments, segments)
    assert found.segment_classes.tolist() == classes
    torch.testing.assert_close(found.segment_scores, torch.tensor(scores))


def test_panoptic_map__things_are_apart_and_stuff_is_one():
    prediction = MaskLogits(columns((0, 1), (1, 2), (2, 4), (4, 6)), class_logits(1, 1, 3, 3))
    found = panoptic_map(prediction, IDENTITY, IS_THING)
    assert found.segments[0].tolist() == [0, 1, 2, 2, 2, 2]
    assert found.segment_classes.tolist() == [1, 1, 3]
    assert found.segment_scores.tolist() == pytest.approx([0.9] * 3)
    assert (found.segments.dtype, found.segment_classes.dtype) == (torch.int32, torch.int64)


def test_panoptic_map__a_query_that_lost_its_mask_opens_nothing():
    masks, classes = columns((0, 4), (0, 2), (4, 6)), class_logits(2, 0, 1)
    masks[1] += 3  # the second query wins half of the first one's mask
    found = panoptic_map(MaskLogits(masks, classes), IDENTITY, IS_THING)
    assert found.segments[0].tolist() == [0, 0, -1, -1, 1, 1]
    assert found.segment_classes.tolist() == [0, 1]
    found = panoptic_map(MaskLogits(masks, classes), IDENTITY, IS_THING, overlap_threshold=0.5)
    assert found.segments[0].tolist() == [1, 1, 0, 0, 2, 2]


def test_panoptic_map__the_first_of_equals_wins():
    prediction = MaskLogits(columns((0, 6), (0, 6)), class_logits(2, 1))
    found = panoptic_map(prediction, IDENTITY, IS_THING)
    assert found.segment_classes.tolist() == [2]
    assert (found.segments == 0).all()


def test_panoptic_map__a_logit_of_zero_is_inside():
    prediction = MaskLogits(columns((0, 3), inside=0.0), class_logits(0))
    assert panoptic_map(prediction, IDENTITY, IS_THING).segments[0].tolist() == [0, 0, 0, -1, -1, -1]


@pytest.mark.parametrize(
    "prediction",
    [
        MaskLogits(columns((0, 3), (3, 6)), class_logits(NUM_CLASSES, NUM_CLASSES)),
        MaskLogits(columns((0, 3), (3, 6)), class_logits(0, 1, score=0.7)),
        MaskLogits(columns((0, 0), (0, 0)), class_logits(0, 1)),
        MaskLogits(torch.zeros(0, 4, 6), torch.zeros(0, NUM_CLASSES + 1)),
    ],
    ids=["no object", "below the score threshold", "empty masks", "no queries"],
)
def test_panoptic_map__nothing_kept(prediction):
    found = panoptic_map(prediction, IDENTITY, IS_THING)
    assert found.segments.shape == (4, 6)
    assert (found.segments == -1).all()
    assert (found.segments.dtype, found.segment_classes.dtype) == (torch.int32, torch.int64)
    assert found.segment_classes.shape == found.segment_scores.shape == (0,)


@pytest.mark.parametrize(("size", "crop"), [((1, 1), (32, 32)), ((1, 50), (32, 32)), ((50, 1), (32, 48))])
def test_panoptic_map__images_of_one_pixel(size, crop):
    prediction = MaskLogits(columns((0, 6), (0, 6), inside=3), class_logits(3, 0))
    found = panoptic_map(prediction, plan_letterbox(size, crop), IS_THING)
    assert found.segments.shape == size
    assert (found.segments == 0).all()
    assert found.segment_classes.tolist() == [3]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["mask_logits", "class_logits"])
def test_panoptic_map__queries_that_are_not_finite_are_left_out_and_counted(where, bad):
    healthy = MaskLogits(columns((0, 3), (3, 6)), class_logits(0, 1))
    sick = {"mask_logits": columns((0, 6)), "class_logits": class_logits(2)}
    sick[where].flatten()[1] = bad
    prediction = MaskLogits(
        torch.cat([sick["mask_logits"], healthy.mask_logits]),
        torch.cat([sick["class_logits"], healthy.class_logits]),
    )
    with pytest.warns(RuntimeWarning, match=r"1 of 3 queries have NaN or infinite logits") as caught:
        found = panoptic_map(prediction, IDENTITY, IS_THING)
    assert caught[0].filename == __file__
    expected = panoptic_map(healthy, IDENTITY, IS_THING)
    assert torch.equal(found.segments, expected.segments)
    assert torch.equal(found.segment_classes, expected.segment_classes)


def test_panoptic_map__a_class_ruled_out_by_minus_infinity_is_no_damage():
    logits = class_logits(0)
    logits[0, 1] = float("-inf")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = panoptic_map(MaskLogits(columns((0, 6)), logits), IDENTITY, IS_THING)
    assert found.segment_classes.tolist() == [0]


def test_panoptic_map__half_precision_under_autocast_and_gradients():
    prediction = random_prediction(3)
    half = MaskLogits(prediction.mask_logits.bfloat16(), prediction.class_logits.bfloat16().requires_grad_())
    full = MaskLogits(half.mask_logits.float(), half.class_logits.float())
    plan = plan_letterbox((37, 50), (36, 48))
    with torch.autocast("cpu", torch.bfloat16):
        found = panoptic_map(half, plan, IS_THING, overlap_threshold=0.3)
    expected = panoptic_map(full, plan, IS_THING, overlap_threshold=0.3)
    assert torch.equal(found.segments, expected.segments)
    assert torch.equal(found.segment_scores, expected.segment_scores)
    assert not found.segment_scores.requires_grad


def test_panoptic_map__input_stays_as_it_was():
    prediction = random_prediction(5)
    before = prediction.mask_logits.clone(), prediction.class_logits.clone()
    panoptic_map(prediction, plan_letterbox((9, 12), (9, 12)), IS_THING, score_threshold=0.0)
    assert torch.equal(prediction.mask_logits, before[0])
    assert torch.equal(prediction.class_logits, before[1])


@pytest.mark.parametrize("floats", [1, 12 * 50 * 7, 1 << 27])
def test_panoptic_map__bands_without_bounds_as_on_accelerators(floats, monkeypatch):
    prediction, plan = random_prediction(7), plan_letterbox((37, 50), (36, 48))
    expected = panoptic_map(prediction, plan, IS_THING, score_threshold=0.5, overlap_threshold=0.3)
    monkeypatch.setattr(mask_tiles.MaskTiles, "is_on_host", False)
    monkeypatch.setattr(mask_tiles, "_ACCELERATOR_FLOATS", floats)
    found = panoptic_map(prediction, plan, IS_THING, score_threshold=0.5, overlap_threshold=0.3)
    assert len(expected.segment_classes) > 1
    assert torch.equal(found.segments, expected.segments)
    assert torch.equal(found.segment_classes, expected.segment_classes)


@pytest.mark.gpu
def test_panoptic_map__on_a_gpu():
    prediction, plan = random_prediction(7), plan_letterbox((37, 50), (36, 48))
    moved = MaskLogits(prediction.mask_logits.cuda(), prediction.class_logits.cuda())
    found = panoptic_map(moved, plan, IS_THING, score_threshold=0.5, overlap_threshold=0.3)
    expected = panoptic_map(prediction, plan, IS_THING, score_threshold=0.5, overlap_threshold=0.3)
    assert found.segments.is_cuda
    assert torch.equal(found.segments.cpu(), expected.segments)
    torch.testing.assert_close(found.segment_scores.cpu(), expected.segment_scores)


def test_panoptic_map__wrong_shapes():
    prediction = random_prediction(0)
    batch = MaskLogits(prediction.mask_logits[None], prediction.class_logits[None])
    with pytest.raises(ValueError, match=r"one image has mask logits \(Q, h, w\).*one by one"):
        panoptic_map(batch, IDENTITY, IS_THING)
    with pytest.raises(ValueError, match=r"mask_threshold is 1.0, but must lie between 0 and 1"):
        panoptic_map(prediction, IDENTITY, IS_THING, mask_threshold=1.0)
    with pytest.raises(ValueError, match=r"is_thing has 2 classes, but there are logits of 5"):
        panoptic_map(prediction, IDENTITY, IS_THING[:2])


def test_panoptic_map__many_queries_never_stand_at_full_size(monkeypatch):
    """Two hundred kept queries at 512 x 1024 would take 420 MB in full; tiles take a sixteenth or less."""
    largest = 0
    asked = mask_tiles.MaskTiles.logits

    def watched(self, tile, queries):
        nonlocal largest
        logits = asked(self, tile, queries)
        largest = max(largest, logits.numel())
        return logits

    monkeypatch.setattr(mask_tiles.MaskTiles, "logits", watched)
    prediction = MaskLogits(torch.randn(200, 8, 16), class_logits(*np.arange(200) % NUM_CLASSES))
    panoptic_map(prediction, plan_letterbox((512, 1024), (128, 256)), IS_THING)
    assert 0 < largest <= 200 * mask_tiles.TILE_SIDE**2
