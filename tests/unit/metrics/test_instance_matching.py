import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support.processes import in_two_processes
from vfmseg.errors import LabelError
from vfmseg.metrics.average_precision import AveragePrecision, truth_of_masks, truth_of_targets
from vfmseg.metrics.instance_matching import RECORD, intersections, mask_areas
from vfmseg.types import Instances, InstanceTruth, Targets

NAMES = ("cat", "dog")


def packed(*rows):
    """Pack masks of one row each, such as "##..", into (S, 1, bytes)."""
    masks = np.array([[[pixel == "#" for pixel in row]] for row in rows], bool)
    return torch.from_numpy(np.packbits(masks, axis=-1))


def found(rows, classes, scores, width=4):
    masks = packed(*rows) if rows else torch.zeros((0, 1, -(-width // 8)), dtype=torch.uint8)
    classes, scores = torch.tensor(classes, dtype=torch.int64), torch.tensor(scores, dtype=torch.float32)
    return Instances(masks, classes, scores, (1, width))


def true(rows, classes, is_crowd=None, areas=None, width=4):
    instances = found(rows, classes, [0] * len(rows), width)
    return InstanceTruth(
        instances.packed_masks,
        instances.classes,
        None if is_crowd is None else torch.tensor(is_crowd, dtype=torch.bool),
        None if areas is None else torch.tensor(areas),
        (1, width),
    )


def counted(*images, published=False, num_classes=2):
    metric = AveragePrecision(num_classes, published=published)
    for image in images:
        metric.update(*image)
    return metric


@given(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 9)).flatmap(
        lambda n: st.tuples(hnp.arrays(np.uint8, (n[0], n[2])), hnp.arrays(np.uint8, (n[1], n[2])))
    )
)
@settings(max_examples=60)
def test_intersections__equal_counting_bits(pair):
    one, other = pair
    areas = [mask_areas(masks) for masks in pair]
    bits = [np.unpackbits(masks, axis=1).astype(np.int64) for masks in pair]
    for area, bit in zip(areas, bits, strict=True):
        np.testing.assert_array_equal(area, bit.sum(1))
    np.testing.assert_array_equal(intersections(one, areas[0], other, areas[1]), bits[0] @ bits[1].T)


def test_scores__found_missed_and_false_alarm():
    scores = counted(
        (found(["##..", "...#"], [0, 0], [0.9, 0.4]), true(["##..", "..#."], [0, 0])),
        (found([], [], []), true(["####"], [1])),
    ).scores(NAMES)
    np.testing.assert_allclose(scores.ap_per_class, [51 / 101, 0])  # recall 1/2 at precision 1
    assert scores.ap == scores.ap50 == scores.ap_small == pytest.approx(51 / 202)
    assert scores.ar1 == scores.ar100 == 0.25
    assert np.isnan(scores.ap_large)
    assert scores.absent_classes == ()
    assert scores.num_objects.tolist() == [[2, 2, 0, 0], [1, 1, 0, 0]]


def test_scores__half_of_the_mask_reaches_the_first_threshold_only():
    scores = counted((found(["#..."], [0], [0.9]), true(["##.."], [0]))).scores(NAMES)
    assert (scores.ap50, scores.ap75, scores.ap) == (1, 0, pytest.approx(0.1))
    assert scores.absent_classes == ("dog",)


def test_scores__best_score_chooses_first_and_an_object_is_found_once():
    masks = found(["##..", "##.."], [0, 0], [0.3, 0.8])
    scores = counted((masks, true(["##..", "..##"], [0, 0]))).scores(NAMES)
    assert scores.ap == pytest.approx(51 / 101)
    assert counted((masks, true(["##..", "##.."], [0, 0]))).scores(NAMES).ap == 1


def test_scores__the_same_mask_with_another_class_finds_nothing():
    scores = counted((found(["##.."], [1], [0.9]), true(["##.."], [0]))).scores(NAMES)
    assert scores.ap == 0


def test_scores__image_of_crowds_alone_is_neither_missed_nor_found():
    image = (found(["#...", ".#..", "..##"], [0, 0, 0], [0.9, 0.8, 0.7]), true(["###."], [0], [True]))
    metric = counted(image)
    assert metric.num_objects.sum() == 0
    metric.update(found(["##.."], [0], [0.5]), true(["##.."], [0]))
    assert metric.scores(NAMES).ap50 == pytest.approx(1)  # half of the third one is in the crowd: ignored
    assert metric.scores(NAMES).ap75 == pytest.approx(0.5)  # a false alarm at 0.75, ranked above


def test_scores__masks_on_images_without_objects_count_but_in_the_published_way():
    images = [(found(["##.."], [0], [0.9]), true([], [])), (found(["##.."], [0], [0.5]), true(["##.."], [0]))]
    assert counted(*images).scores(NAMES).ap == pytest.approx(0.5)
    assert counted(*images, published=True).scores(NAMES).ap == 1


def test_scores__area_of_the_annotation_decides_on_the_size_but_in_the_published_way():
    image = (found(["##.."], [0], [0.9]), true(["##.."], [0], areas=[5000.0]))
    assert counted(image).num_objects.tolist()[0] == [1, 0, 1, 0]
    assert counted(image).scores(NAMES).ap_medium == 1
    assert counted(image, published=True).num_objects.tolist()[0] == [1, 1, 0, 0]
    on_the_bound = (image[0], true(["##.."], [0], areas=[1024.0]))
    assert counted(on_the_bound).num_objects.tolist()[0] == [1, 1, 1, 0]


def test_scores__of_equal_scores_the_earlier_image_comes_first():
    hit = (found(["##.."], [0], [0.5]), true(["##.."], [0]))
    miss = (found([".#.."], [0], [0.5]), true(["#..."], [0]))
    assert counted(hit, miss).scores(NAMES).ap == pytest.approx(51 / 101)
    assert counted(miss, hit).scores(NAMES).ap == pytest.approx(51 / 202)


def test_update__keeps_no_masks():
    metric = counted(*[(found(["##.."], [0], [0.5]), true(["##.."], [0]))] * 3)
    assert metric.records().nbytes == 3 * RECORD.itemsize == 96


def test_merge__equals_one_after_the_other():
    hit = (found(["##.."], [0], [0.5]), true(["##.."], [0]))
    miss = (found([".#.."], [0], [0.5]), true(["#..."], [0]))
    whole, first = counted(hit, miss, hit), counted(hit)
    first.merge(counted(miss, hit))
    np.testing.assert_array_equal(first.records(), whole.records())
    assert torch.equal(first.num_objects, whole.num_objects)
    first.reset()
    assert len(first.records()) == first.num_objects.sum() == 0


def test_merge__other_rules():
    message = "Records of two average precisions can only be added over the same classes and with the same `published`."
    for other in (AveragePrecision(3), AveragePrecision(2, published=True)):
        with pytest.raises(LabelError, match=re.escape(message)):
            AveragePrecision(2).merge(other)


def test_row__flat_with_none_where_undefined():
    row = counted((found([], [], []), true(["##.."], [0]))).scores(NAMES).row("night")
    assert list(row) == [
        *("night/ap", "night/ap50", "night/ap75", "night/ap_small", "night/ap_medium", "night/ap_large"),
        *("night/ar1", "night/ar10", "night/ar100", "night/ar_small", "night/ar_medium", "night/ar_large"),
        *("night/ap/cat", "night/ap/dog"),
    ]
    assert row["night/ap"] == row["night/ap/cat"] == 0
    assert row["night/ap_large"] is None
    assert row["night/ap/dog"] is None
    assert all(value is None or type(value) is float for value in row.values())


def test_scores__nothing_to_find():
    message = (
        "No object was counted, so there is nothing to score: the labels hold no objects or only crowds, or no image "
        "was given."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        counted((found(["#..."], [0], [0.5]), true([], []))).scores(NAMES)


def test_scores__names_do_not_fit():
    metric = counted((found([], [], []), true(["##.."], [0])))
    with pytest.raises(LabelError, match="2 classes were counted, but 1 class names were given"):
        metric.scores(NAMES[:1])


def test_from_targets__masks_of_the_segments_that_have_pixels():
    targets = Targets(
        torch.tensor([[0, 0, 2, 255, 2, 3, 0, 0, 3]], dtype=torch.uint8),
        torch.tensor([1, 0, 0, 1]),
        torch.tensor([False, False, True, False]),
    )
    truth = truth_of_targets(targets)
    assert torch.equal(truth.packed_masks, packed("##....##.", "..#.#....", ".....#..#"))
    assert truth.classes.tolist() == [1, 0, 1]
    assert truth.is_crowd.tolist() == [False, True, False]
    assert truth.size == (1, 9)
    things = truth_of_targets(targets, is_thing=(True, False))
    assert torch.equal(things.packed_masks, packed("..#.#...."))
    assert (things.classes.tolist(), things.is_crowd.tolist()) == ([0], [True])


def test_from_targets__nothing_there():
    truth = truth_of_targets(Targets(torch.full((2, 9), 255).byte(), torch.zeros(0).long()))
    assert truth.packed_masks.shape == (0, 2, 2)
    assert truth.is_crowd is None


def test_from_targets__label_of_classes_and_numbers_without_a_segment():
    id_map = torch.tensor([[0, 3]], dtype=torch.uint8)
    with pytest.raises(LabelError, match="The label has no table of segments: average precision needs"):
        truth_of_targets(Targets(id_map))
    message = (
        "The label holds segment numbers 0..3, but its table has 2 segments: allowed are the numbers from 0 that the "
        "table has, and 255 (none)."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        truth_of_targets(Targets(id_map, torch.tensor([0, 1])))


def test_from_masks__packs_as_instances_do():
    masks = torch.zeros((2, 3, 10), dtype=torch.uint8)
    masks[1, 2, 8:] = 7
    truth = truth_of_masks(masks, torch.tensor([0, 1]))
    assert truth.packed_masks.shape == (2, 3, 2)
    assert truth.packed_masks[1, 2].tolist() == [0, 0b11000000]
    assert truth.size == (3, 10)


def refused(prediction, truth, message):
    metric = AveragePrecision(2)
    with pytest.raises(LabelError, match=re.escape(message)):
        metric.update(prediction, truth, name="x")
    assert len(metric.records()) == metric.num_objects.sum() == 0


def test_update__sizes_differ():
    message = (
        "The prediction of image 'x' has size (1, 4), its label (1, 5): scores are counted at the label's own size. "
        "Resize the prediction to it first."
    )
    refused(found(["#..."], [0], [0.5]), true(["#...."], [0], width=5), message)


def test_update__masks_that_do_not_fit_their_size():
    prediction = Instances(packed("#" * 9), torch.tensor([0]), torch.tensor([0.5]), (1, 4))
    message = (
        "The masks of the prediction of image 'x' are uint8 of shape (1, 1, 2); for size (1, 4) they must be uint8 of "
        "shape (masks, 1, 1), eight pixels to a byte."
    )
    refused(prediction, true(["#..."], [0]), message)


def test_update__pixels_beyond_the_edge():
    truth = InstanceTruth(packed("#####"), torch.tensor([0]), None, None, (1, 4))
    message = (
        "The masks of the label of image 'x' have pixels beyond the right edge: the last 4 bits of every row must be "
        "0. Pack them with numpy.packbits."
    )
    refused(found(["#..."], [0], [0.5]), truth, message)


def test_update__tables_that_do_not_fit():
    message = "The prediction of image 'x' has 1 masks, but 2 classes: give one class per mask."
    refused(found(["#..."], [0, 1], [0.5]), true([], []), message)
    message = (
        "The prediction of image 'x' has 1 masks and 2 scores, of which 0 are not numbers: every mask needs"
    )
    refused(found(["#..."], [0], [0.5, 0.4]), true([], []), message)
    message = (
        "The prediction of image 'x' has 1 masks and 1 scores, of which 1 are not numbers: every mask needs"
    )
    refused(found(["#..."], [0], [float("nan")]), true([], []), message)
    message = "The label of image 'x' has segments of class 2, which does not exist: the classes are 0..1."
    refused(found([], [], []), true(["#..."], [2]), message)


def test_average_precision__number_of_classes():
    with pytest.raises(LabelError, match=re.escape("0 classes cannot be scored: give 1 or more.")):
        AveragePrecision(0)


def test_all_reduce__alone_changes_nothing():
    metric = counted((found(["##.."], [0], [0.5]), true(["##.."], [0])))
    before = metric.records()
    metric.all_reduce()
    np.testing.assert_array_equal(metric.records(), before)


def image_of(index):
    """Images with ties between them, so that their order shows in the result; the last one predicts nothing."""
    if index == 4:
        return found([], [], []), true(["####"], [1])
    rows = ["##..", ".#.."][index % 2]
    return found([rows, "...#"], [0, 0], [0.5, 0.5]), true(["##..", "..##"], [0, 0])


def collect_in_one_of_two_processes(rank, folder):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    for num_images in (1, 5):
        metric = counted(*(image_of(index) for index in range(rank, num_images, 2)))
        metric.all_reduce()
        np.save(f"{folder}/{num_images}_{rank}.npy", metric.scores(NAMES).precision)
    torch.distributed.destroy_process_group()


def test_all_reduce__two_processes_score_like_one(tmp_path):
    in_two_processes(collect_in_one_of_two_processes, str(tmp_path))
    for num_images in (1, 5):
        whole = counted(*(image_of(index) for index in range(num_images))).scores(NAMES)
        for rank in (0, 1):
            np.testing.assert_array_equal(np.load(tmp_path / f"{num_images}_{rank}.npy"), whole.precision)
