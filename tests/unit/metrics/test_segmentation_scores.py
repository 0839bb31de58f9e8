import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vfmseg.errors import LabelError
from vfmseg.metrics.scores import ImageScore, image_score, majority_baseline, scores

# rows: truth; "c" is in the truth but never predicted, "d" predicted but never true, "e" in neither
CONFUSION = [[6, 2, 0, 0, 0], [1, 5, 0, 2, 0], [0, 4, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
NAMES = ("a", "b", "c", "d", "e")


def test_scores__by_hand():
    result = scores(CONFUSION, NAMES)
    np.testing.assert_allclose(result.iou, [6 / 9, 5 / 14, 0, 0, np.nan])
    np.testing.assert_allclose(result.precision, [6 / 7, 5 / 11, np.nan, 0, np.nan])
    np.testing.assert_allclose(result.recall, [6 / 8, 5 / 8, 0, np.nan, np.nan])
    np.testing.assert_allclose(result.f1, [12 / 15, 10 / 19, 0, 0, np.nan])
    assert result.absent_classes == ("e",)
    assert result.miou == pytest.approx((6 / 9 + 5 / 14) / 4)
    assert result.pixel_accuracy == pytest.approx(11 / 20)
    assert result.mean_class_accuracy == pytest.approx((6 / 8 + 5 / 8) / 3)
    assert result.mean_precision == pytest.approx((6 / 7 + 5 / 11) / 3)
    assert result.mean_f1 == pytest.approx((12 / 15 + 10 / 19) / 4)
    assert result.frequency_weighted_iou == pytest.approx(8 / 20 * 6 / 9 + 8 / 20 * 5 / 14)
    assert result.num_pixels == 20


def test_scores__absent_classes_as_zero():
    result = scores(CONFUSION, NAMES, absent="zero")
    assert result.absent_classes == ("e",)
    assert result.miou == pytest.approx((6 / 9 + 5 / 14) / 5)
    assert result.mean_class_accuracy == pytest.approx((6 / 8 + 5 / 8) / 5)
    assert result.mean_precision == pytest.approx((6 / 7 + 5 / 11) / 5)
    assert result.mean_f1 == pytest.approx((12 / 15 + 10 / 19) / 5)


def test_row__flat_with_none_for_absent_classes():
    row = scores(CONFUSION, NAMES).row("night")
    assert list(row) == [
        "night/miou",
        "night/pixel_accuracy",
        "night/mean_class_accuracy",
        "night/precision",
        "night/f1",
        "night/frequency_weighted_iou",
        *(f"night/iou/{name}" for name in NAMES),
    ]
    assert row["night/iou/e"] is None
    assert row["night/iou/a"] == pytest.approx(6 / 9)
    assert all(value is None or type(value) is float for value in row.values())
    assert "val/miou" in scores(CONFUSION, NAMES).row()


@given(hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 50)), st.permutations(range(4)))
@settings(max_examples=60, deadline=None)
def test_scores__order_of_the_classes_does_not_matter(confusion, order):
    confusion[0, 0] += 1
    result = scores(confusion, "abcd")
    permuted = scores(confusion[np.ix_(order, order)], [("abcd")[i] for i in order])
    np.testing.assert_array_equal(permuted.iou, result.iou[list(order)])
    for mean in ("miou", "mean_f1", "mean_precision", "mean_class_accuracy", "frequency_weighted_iou"):
        assert getattr(permuted, mean) == pytest.approx(getattr(result, mean))
        assert 0 <= getattr(result, mean) <= 1


def test_scores__perfect_prediction_is_one():
    result = scores(np.diag([5, 1, 0]), ["a", "b", "c"])
    assert result.miou == result.mean_f1 == result.pixel_accuracy == result.frequency_weighted_iou == 1
    assert result.absent_classes == ("c",)


def test_scores__one_name_short():
    message = (
        "The confusion matrix counts 5 classes, but 4 class names were given. Give one name per class, in "
        "the order of the ids."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        scores(CONFUSION, NAMES[:4])


def test_scores__two_classes_of_one_name():
    message = (
        "Two classes are called 'b': scores are reported by name, so every class needs its own. Rename one "
        "in the data set's class list."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        scores(CONFUSION, ("a", "b", "c", "b", "e"))


def test_scores__nothing_counted():
    message = (
        "No labelled pixel was counted, so there is nothing to score: the label maps hold only 255 (ignore), "
        "or no image was given. `vfmseg check-data` shows which ids the label maps hold."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        scores(np.zeros((2, 2)), "ab")


def test_scores__not_a_matrix():
    message = "A confusion matrix has one row and one column per class; got an array of shape (2, 3)."
    with pytest.raises(LabelError, match=re.escape(message)):
        scores(np.zeros((2, 3)), "ab")


def test_image_score__mean_over_the_classes_of_this_image():
    score = image_score(CONFUSION)
    assert score == ImageScore(pytest.approx((6 / 9 + 5 / 14) / 4), pytest.approx(11 / 20))


def test_image_score__image_without_labelled_pixels():
    message = "The image has no labelled pixel, so it has no score: its label map holds only 255 (ignore)."
    with pytest.raises(LabelError, match=re.escape(message)):
        image_score(np.zeros((3, 3)))


def test_majority_baseline__equals_scoring_that_prediction():
    truth = np.array([30, 50, 0, 20])
    confusion = np.zeros((4, 4))
    confusion[:, 1] = truth
    names = "abcd"
    assert majority_baseline(truth) == pytest.approx(scores(confusion, names).miou) == 0.5 / 3
    assert majority_baseline(truth, absent="zero") == pytest.approx(
        scores(confusion, names, absent="zero").miou
    )
    assert majority_baseline(confusion) == majority_baseline(truth)


def test_majority_baseline__nothing_counted():
    message = "No labelled pixel was counted, so there is no most frequent class to predict."
    with pytest.raises(LabelError, match=re.escape(message)):
        majority_baseline([0, 0])
