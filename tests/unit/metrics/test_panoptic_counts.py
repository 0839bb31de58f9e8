import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support.processes import in_two_processes
from vfmseg.errors import LabelError
from vfmseg.metrics.panoptic_quality import (
    PanopticQuality,
    Quality,
    image_quality,
    panoptic_scores,
    shared_pixels,
)
from vfmseg.types import LabelSpace, PanopticMap, Targets

IS_THING = (True, True, False, False)
NAMES = ("cat", "dog", "sky", "road")


def true_map(id_map, classes, is_crowd=None):
    return Targets(
        torch.as_tensor(id_map, dtype=torch.uint8),
        torch.tensor(classes, dtype=torch.int64),
        None if is_crowd is None else torch.tensor(is_crowd, dtype=torch.bool),
    )


def predicted_map(segments, classes):
    segments = torch.as_tensor(segments, dtype=torch.int32)
    return PanopticMap(segments, torch.tensor(classes, dtype=torch.int64), torch.ones(len(classes)))


def counts_of(prediction, targets, published=False):
    """Return {class: (IoU sum, TP, FP, FN)} of the classes that have any."""
    counts = PanopticQuality(IS_THING, published=published).update(prediction, targets)
    return {label: tuple(row) for label, row in enumerate(counts.T.tolist()) if any(row)}


def counted_by_hand(prediction, targets):
    """Compare every pair of segments as two sets of pixels."""
    counts = np.zeros((4, len(IS_THING)))
    id_map, segments = targets.id_map.numpy(), prediction.segments.numpy()
    void = id_map == 255
    true = [(id_map == n, c) for n, c in enumerate(targets.segment_classes.tolist()) if (id_map == n).any()]
    crowd = [
        targets.segment_is_crowd[n].item() for n in range(len(targets.segment_classes)) if (id_map == n).any()
    ]
    found = [
        (segments == n, c) for n, c in enumerate(prediction.segment_classes.tolist()) if (segments == n).any()
    ]
    partners = set()
    for i, (mask, label) in enumerate(true):
        if crowd[i]:
            continue
        for j, (other, other_label) in enumerate(found):
            iou = (mask & other).sum() / (mask | (other & ~void)).sum()
            if label == other_label and iou > 0.5:
                counts[:2, label] += iou, 1
                partners.add(j)
                break
        else:
            counts[3, label] += 1
    for j, (other, label) in enumerate(found):
        forgiven = void
        for i, (mask, other_label) in enumerate(true):
            if crowd[i] and label == other_label:
                forgiven = void | mask  # the last one
        if j not in partners and (other & forgiven).sum() / other.sum() <= 0.5:
            counts[2, label] += 1
    return counts


@st.composite
def scenes(draw):
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    classes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    crowd = draw(st.lists(st.booleans(), min_size=len(classes), max_size=len(classes)))
    id_map = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(len(classes)), 255])))
    found = draw(st.lists(st.integers(0, 3), max_size=5))
    segments = draw(hnp.arrays(np.int32, shape, elements=st.integers(-1, len(found) - 1)))
    if draw(st.booleans()):  # follow the truth, so that something matches
        found, segments = (
            classes,
            np.where(segments < 0, -1, np.where(id_map == 255, 0, id_map.astype(np.int32))),
        )
    return predicted_map(segments, found), true_map(id_map, classes, crowd)


@given(scenes())
@settings(max_examples=150)
def test_update__equals_comparing_sets_of_pixels(scene):
    np.testing.assert_allclose(
        PanopticQuality(IS_THING).update(*scene).numpy(), counted_by_hand(*scene), rtol=0, atol=1e-12
    )


@given(scenes())
@settings(max_examples=60)
def test_scores__the_truth_against_itself_is_perfect(scene):
    targets = scene[1]
    crowd = targets.segment_is_crowd
    for label in range(len(IS_THING)):  # a second crowd of a class would not be forgiven, see below
        crowd[(targets.segment_classes == label).nonzero().flatten()[1:]] = False
    segments = targets.id_map.int()
    segments[segments == 255] = -1
    metric = PanopticQuality(IS_THING)
    own = metric.update(predicted_map(segments, targets.segment_classes.tolist()), targets)
    assert own[2:].sum() == 0
    assert torch.equal(own[0], own[1])
    if own.any():
        scores = metric.scores(NAMES)
        assert scores.overall == Quality(1, 1, 1, len(NAMES) - len(scores.absent_classes))


@given(st.lists(scenes(), min_size=1, max_size=4), st.integers(0, 4), st.booleans())
@settings(max_examples=30)
def test_merge__any_split_equals_the_whole(images, cut, published):
    whole, first, second = (PanopticQuality(IS_THING, published=published) for _ in range(3))
    for i, image in enumerate(images):
        whole.update(*image)
        (first if i < cut else second).update(*image)
    first.merge(second)
    torch.testing.assert_close(first.state, whole.state, rtol=0, atol=1e-12)


def test_update__match_miss_and_false_alarm():
    prediction = predicted_map([[0, 0, 0, 1], [0, -1, 1, 1]], [0, 2])
    targets = true_map([[0, 0, 0, 0], [0, 0, 1, 1]], [0, 1])
    assert counts_of(prediction, targets) == {0: (4 / 6, 1, 0, 0), 1: (0, 0, 0, 1), 2: (0, 0, 1, 0)}


def test_update__iou_of_exactly_one_half_is_no_match():
    prediction = predicted_map([[0, -1]], [0])
    assert counts_of(prediction, true_map([[0, 0]], [0])) == {0: (0, 0, 1, 1)}


def test_update__nothing_there_and_nothing_predicted():
    nothing = predicted_map(np.full((2, 3), -1), [])
    assert counts_of(nothing, true_map(np.full((2, 3), 255), [])) == {}
    assert counts_of(nothing, true_map(np.zeros((2, 3)), [1])) == {1: (0, 0, 0, 1)}


def test_update__image_without_pixels():
    assert counts_of(predicted_map(np.zeros((0, 4)), [1]), true_map(np.zeros((0, 4)), [1])) == {}


def test_update__crowd_alone_is_neither_missed_nor_matched_and_forgives_its_class_only():
    targets = true_map([[0, 0, 0, 0]], [1], [True])
    assert counts_of(predicted_map(np.full((1, 4), -1), []), targets) == {}
    assert counts_of(predicted_map([[0, 0, 0, 0]], [1]), targets) == {}
    assert counts_of(predicted_map([[0, 0, 0, 0]], [0]), targets) == {0: (0, 0, 1, 0)}


def test_update__of_two_crowds_of_a_class_the_last_one_forgives():
    targets = true_map([[0, 0, 1, 1]], [1, 1], [True, True])
    assert counts_of(predicted_map([[0, 0, 1, 1]], [1, 1]), targets) == {1: (0, 0, 1, 0)}


def test_update__void_is_taken_out_of_the_union_and_forgives_from_more_than_half():
    targets = true_map([[0, 255, 255, 255]], [0])
    assert counts_of(predicted_map([[0, 0, 0, 0]], [0]), targets) == {0: (1, 1, 0, 0)}
    assert counts_of(predicted_map([[1, 0, 0, 0]], [1, 0]), targets) == {0: (1, 1, 0, 0)}
    assert counts_of(predicted_map([[-1, 0, 0, 0]], [1]), targets) == {0: (0, 0, 0, 1)}
    assert counts_of(predicted_map([[0, 0, -1, -1]], [1]), targets) == {0: (0, 0, 0, 1), 1: (0, 0, 1, 0)}


def test_update__published_reads_the_crowd_flag_of_stuff_off_the_first_segment():
    prediction = predicted_map([[0, 0, 1, 1]], [0, 2])
    targets = true_map([[0, 0, 1, 1]], [1, 2], [True, False])
    assert counts_of(prediction, targets) == {0: (0, 0, 1, 0), 2: (1, 1, 0, 0)}
    assert counts_of(prediction, targets, published=True) == {0: (0, 0, 1, 0)}
    stuff_crowd = true_map([[0, 0, 1, 1]], [1, 2], [False, True])
    assert counts_of(prediction, stuff_crowd) == {0: (0, 0, 1, 0), 1: (0, 0, 0, 1)}
    assert counts_of(prediction, stuff_crowd, published=True)[2] == (1, 1, 0, 0)


def test_update__published_joins_the_true_stuff_of_a_class():
    prediction = predicted_map([[0, 0, 0, 0]], [3])
    targets = true_map([[0, 0, 1, 1]], [3, 3])
    assert counts_of(prediction, targets) == {3: (0, 0, 1, 2)}
    assert counts_of(prediction, targets, published=True) == {3: (1, 1, 0, 0)}


def test_update__segments_without_a_pixel_do_not_exist_whatever_their_class():
    targets = true_map([[1, 1]], [-7, 0], [True, False])
    assert counts_of(predicted_map([[1, 1]], [99, 0]), targets) == {0: (1, 1, 0, 0)}


def test_update__more_segments_than_a_byte_counts():
    classes = torch.arange(300) % 4
    id_map = torch.arange(300, dtype=torch.int32)[None].repeat(2, 1)
    segments = id_map.clone()
    id_map[id_map == 255] = 299
    targets = Targets(id_map, classes)
    prediction = PanopticMap(segments, classes, torch.ones(300))
    own = PanopticQuality(IS_THING).update(prediction, targets)
    assert own[1].sum() == 298  # 299 has IoU 1/2, and there is no true segment 255
    assert own[2].tolist() == [0, 0, 0, 2]
    assert own[3].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_shared_pixels__whole_number_types_agree(dtype):
    id_map = torch.tensor([[0, 1, 255]], dtype=dtype)
    segments = torch.tensor([[0, 0, 1]], dtype=dtype)
    expected = [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert shared_pixels(id_map, segments, 2, 2).tolist() == expected


@pytest.mark.gpu
def test_update__cuda_equals_cpu():
    generator = torch.Generator().manual_seed(0)
    id_map = torch.randint(0, 6, (30, 40), generator=generator, dtype=torch.uint8)
    segments = torch.where(torch.rand(30, 40, generator=generator) < 0.7, id_map.int(), -1)
    targets = Targets(id_map, torch.tensor([0, 1, 2, 3, 0, 1]))
    prediction = PanopticMap(segments.cuda(), torch.tensor([0, 1, 2, 3, 0, 1]).cuda(), torch.ones(6).cuda())
    metric = PanopticQuality(IS_THING, "cuda")
    own = metric.update(prediction, targets)
    assert own.device.type == "cpu"
    expected = PanopticQuality(IS_THING).update(
        PanopticMap(segments, targets.segment_classes, torch.ones(6)), targets
    )
    assert torch.equal(own, expected)


def test_update__sizes_differ():
    message = (
        "The prediction of image 'x' has size (2, 3), its label (3, 2): scores are counted at the label's own "
        "size. Resize the prediction to it first."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        PanopticQuality(IS_THING).update(
            predicted_map(np.zeros((2, 3)), [0]), true_map(np.zeros((3, 2)), [0]), name="x"
        )


def test_update__label_of_classes():
    message = (
        "The label of image 'x' has no table of segments: panoptic quality needs to know the instances, and a map "
        "of classes does not tell them apart."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        PanopticQuality(IS_THING).update(
            predicted_map([[0]], [0]), Targets(torch.zeros(1, 1).byte()), name="x"
        )


@pytest.mark.parametrize("number", [2, 254])
def test_update__true_number_without_a_segment(number):
    message = (
        f"The label of image 'x' holds the segment number {number}; allowed are 0..1 and 255 (unlabelled)."
    )
    metric = PanopticQuality(IS_THING)
    with pytest.raises(LabelError, match=re.escape(message)):
        metric.update(predicted_map([[0, 0]], [0]), true_map([[0, number]], [0, 1]), name="x")
    assert not metric.state.any()


@pytest.mark.parametrize("number", [-1, 256])
def test_update__true_number_beyond_a_byte(number):
    targets = Targets(torch.tensor([[0, number]], dtype=torch.int32), torch.tensor([0]))
    message = f"The label holds the segment number {number}; allowed are 0..0 and 255 (unlabelled)."
    with pytest.raises(LabelError, match=re.escape(message)):
        PanopticQuality(IS_THING).update(predicted_map([[0, 0]], [0]), targets)


@pytest.mark.parametrize("number", [-2, 1])
def test_update__predicted_number_without_a_segment(number):
    message = f"The prediction of image 'x' holds the segment number {number}; allowed are 0..0 and -1 (no segment)."
    with pytest.raises(LabelError, match=re.escape(message)):
        PanopticQuality(IS_THING).update(predicted_map([[0, number]], [0]), true_map([[0, 0]], [0]), name="x")


def test_update__number_but_an_empty_table():
    message = (
        "The prediction holds the segment number 0; allowed are -1 (no segment) alone, as its table of segments "
        "is empty."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        PanopticQuality(IS_THING).update(predicted_map([[0]], []), true_map([[0]], [0]))


def test_update__scores_instead_of_numbers():
    message = "The prediction holds torch.float32 values; the numbers of segments are whole."
    prediction = PanopticMap(torch.rand(1, 1), torch.tensor([0]), torch.ones(1))
    with pytest.raises(LabelError, match=re.escape(message)):
        PanopticQuality(IS_THING).update(prediction, true_map([[0]], [0]))


def test_update__class_that_does_not_exist():
    message = (
        "The prediction of image 'x' has segments of class 4, 9, which does not exist: the classes are 0..3. "
        "The prediction was made for another label space than the one being scored."
    )
    metric = PanopticQuality(IS_THING)
    with pytest.raises(LabelError, match=re.escape(message)):
        metric.update(predicted_map([[0, 1]], [9, 4]), true_map([[0, 0]], [0]), name="x")
    with pytest.raises(LabelError, match=re.escape("The label has segments of class -1, which")):
        metric.update(predicted_map([[0, 0]], [0]), true_map([[0, 0]], [-1]))
    assert not metric.state.any()


def test_merge__other_rules():
    message = (
        "Counts of two panoptic qualities can only be added over the same classes, with the same things and stuff, "
        "and with the same `published`."
    )
    for other in (PanopticQuality(IS_THING, published=True), PanopticQuality((True, False))):
        with pytest.raises(LabelError, match=re.escape(message)):
            PanopticQuality(IS_THING).merge(other)


def test_panoptic_quality__takes_a_label_space():
    space = LabelSpace(("cat", "sky"), ((0, 0, 0), (1, 1, 1)), (True, False))
    metric = PanopticQuality(space)
    assert (metric.is_thing, metric.num_classes) == ((True, False), 2)
    metric.update(predicted_map([[0]], [0]), true_map([[0]], [0]))
    metric.reset()
    assert not metric.state.any()


COUNTS = np.array([[1.6, 0, 0, 0], [2, 0, 0, 0], [1, 1, 0, 0], [0, 3, 0, 0]])


def test_scores__by_hand():
    scores = panoptic_scores(COUNTS, NAMES, IS_THING)
    np.testing.assert_allclose(scores.pq, [1.6 / 2.5, 0, np.nan, np.nan])
    np.testing.assert_allclose(scores.sq, [0.8, 0, np.nan, np.nan])
    np.testing.assert_allclose(scores.rq, [2 / 2.5, 0, np.nan, np.nan])
    assert scores.absent_classes == ("sky", "road")
    assert scores.overall == scores.things == Quality(pytest.approx(0.32), pytest.approx(0.4), 0.4, 2)
    assert np.isnan(scores.stuff.pq)
    assert scores.stuff.num_classes == 0
    as_zero = panoptic_scores(COUNTS, NAMES, IS_THING, absent="zero")
    assert as_zero.overall == Quality(pytest.approx(0.16), pytest.approx(0.2), pytest.approx(0.2), 4)
    assert as_zero.stuff == Quality(0, 0, 0, 2)


def test_row__flat_with_none_for_absent_classes():
    row = panoptic_scores(COUNTS, NAMES, IS_THING).row("night")
    assert list(row) == [
        *("night/pq", "night/sq", "night/rq"),
        *("night/pq_things", "night/sq_things", "night/rq_things"),
        *("night/pq_stuff", "night/sq_stuff", "night/rq_stuff"),
        *(f"night/pq/{name}" for name in NAMES),
    ]
    assert row["night/pq_stuff"] is None
    assert row["night/pq/sky"] is None
    assert row["night/pq/cat"] == pytest.approx(0.64)
    assert all(value is None or type(value) is float for value in row.values())
    assert "val/pq" in panoptic_scores(COUNTS, NAMES, IS_THING).row()


def test_scores__nothing_counted():
    message = (
        "No segment was counted, so there is nothing to score: the label maps hold only 255 (no segment) or crowds "
        "and nothing was predicted, or no image was given."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        PanopticQuality(IS_THING).scores(NAMES)


def test_scores__names_do_not_fit():
    message = "4 classes were counted, but 3 class names were given. Give one name per class, in the order of the ids."
    with pytest.raises(LabelError, match=re.escape(message)):
        panoptic_scores(COUNTS, NAMES[:3], IS_THING)
    message = (
        "Two classes are called 'cat': scores are reported by name, so every class needs its own. Rename one in "
        "the data set's class list."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        panoptic_scores(COUNTS, ("cat", "dog", "cat", "road"), IS_THING)


def test_image_quality__mean_over_the_classes_of_this_image():
    assert image_quality(COUNTS) == Quality(pytest.approx(0.32), pytest.approx(0.4), 0.4, 2)


def test_image_quality__nothing_to_count():
    message = (
        "The image has no segment to count, so it has no score: its label map holds only 255 (no segment) or "
        "crowds, and nothing was predicted that they do not forgive."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        image_quality(np.zeros((4, 2)))


def test_all_reduce__alone_changes_nothing():
    metric = PanopticQuality(IS_THING)
    metric.update(predicted_map([[0]], [0]), true_map([[0]], [0]))
    before = metric.state.clone()
    metric.all_reduce()
    assert torch.equal(metric.state, before)


def images_of(rank):
    prediction = predicted_map([[0, 0, 1, -1]], [0, rank + 2])
    return prediction, true_map([[0, 0, 1, 1]], [0, 2])


def count_in_one_of_two_processes(rank, folder):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    metric = PanopticQuality(IS_THING)
    metric.update(*images_of(rank))
    metric.all_reduce()
    torch.save(metric.state, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_all_reduce__two_processes_hold_the_sum(tmp_path):
    in_two_processes(count_in_one_of_two_processes, str(tmp_path))
    whole = PanopticQuality(IS_THING)
    for rank in (0, 1):
        whole.update(*images_of(rank))
    for rank in (0, 1):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt", weights_only=True), whole.state)
