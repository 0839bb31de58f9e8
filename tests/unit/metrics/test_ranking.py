import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from vfmseg.metrics.ranking import auroc, average_precision, false_positive_rate

NUMBERS = (auroc, average_precision, false_positive_rate)
ROUNDING = 1e-12


def by_definition(scores, is_positive):
    """Return AUROC, average precision and FPR95 threshold by threshold."""
    points = [(0.0, 0.0)]
    area = precision_sum = 0.0
    rate = None
    positives, negatives = is_positive.sum(), (~is_positive).sum()
    for threshold in sorted(set(scores.tolist()), reverse=True):
        claimed = scores >= threshold
        found, false = (claimed & is_positive).sum(), (claimed & ~is_positive).sum()
        point = (found / positives, false / negatives)
        area += (point[1] - points[-1][1]) * (point[0] + points[-1][0]) / 2
        precision_sum += (point[0] - points[-1][0]) * found / (found + false)
        if rate is None and point[0] >= 0.95:
            rate = point[1]
        points.append(point)
    return area, precision_sum, rate


def counted(places, is_positive, size=None):
    size = size or int(places.max()) + 1
    return np.bincount(places[is_positive], minlength=size), np.bincount(places[~is_positive], minlength=size)


both_kinds = st.lists(st.tuples(st.integers(0, 39), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({positive for _, positive in pairs}) == 2
)


@given(both_kinds)
@settings(max_examples=40, deadline=None)
def test_numbers__of_values_are_those_of_their_definition(pairs):
    scores, is_positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
    found = [number(*counted(scores, is_positive), are_values=True) for number in NUMBERS]
    np.testing.assert_allclose([f.value for f in found], by_definition(scores, is_positive), atol=ROUNDING)
    assert all(f.lower == f.value == f.upper and f.error == 0 for f in found)


@given(both_kinds, st.sampled_from([1, 2, 5, 13, 40]))
@settings(max_examples=60, deadline=None)
def test_bounds__hold_the_number_of_scores_before_they_were_binned(pairs, width):
    scores, is_positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
    binned = counted(scores // width, is_positive)
    for number, exact, of_bins in zip(
        NUMBERS, by_definition(scores, is_positive), by_definition(scores // width, is_positive), strict=True
    ):
        found = number(*binned, are_values=False)
        assert found.value == pytest.approx(of_bins, abs=ROUNDING)
        assert found.lower - ROUNDING <= exact <= found.upper + ROUNDING
        assert found.lower <= found.value <= found.upper
        assert abs(found.value - exact) <= found.error + ROUNDING


# Lowest score first: three bins of positives and negatives, with the positives above the negatives of their bin, and
# one by one below them.
BINS = [1, 15, 4], [3, 10, 1]
BEST = [0, 1, 0, 15, 0, 4], [3, 0, 10, 0, 1, 0]
WORST = [1, 0, *[1] * 15, 0, *[1] * 4, 0], [0, 3, *[0] * 15, 10, *[0] * 4, 1]


@pytest.mark.parametrize("number", NUMBERS)
def test_bounds__are_the_numbers_of_the_best_and_the_worst_order(number):
    found = number(*map(np.array, BINS), are_values=False)
    best, worst = (number(*map(np.array, order), are_values=True).value for order in (BEST, WORST))
    low, high = sorted((best, worst))
    assert found.lower == pytest.approx(low, abs=1e-3)  # a sum of precisions is bounded by an integral
    assert found.lower <= low + ROUNDING
    assert found.upper == pytest.approx(high, abs=ROUNDING)


def test_numbers__equal_independent_implementations():
    generator = torch.Generator().manual_seed(0)
    is_positive = torch.rand(5000, generator=generator) < 0.3
    scores = (torch.rand(5000, generator=generator) + 0.2 * is_positive).clamp(0, 1.2) / 1.2
    scores = (scores * 500).round() / 500  # with ties
    _, places = np.unique(scores.numpy(), return_inverse=True)
    counts = counted(places, is_positive.numpy())
    area = auroc(*counts, are_values=True).value
    assert area == pytest.approx(float(binary_auroc(scores, is_positive.long())), abs=1e-6)
    wins = mannwhitneyu(scores[is_positive].double(), scores[~is_positive].double()).statistic
    assert area == pytest.approx(wins / int(is_positive.sum()) / int((~is_positive).sum()), abs=1e-12)
    precision = average_precision(*counts, are_values=True).value
    assert precision == pytest.approx(float(binary_average_precision(scores, is_positive.long())), abs=1e-6)


def test_false_positive_rate__threshold_that_finds_95_percent_exactly_is_enough():
    positives, negatives = np.array([1, 19]), np.array([1, 1])
    assert false_positive_rate(positives, negatives, are_values=True).value == 0.5
    assert false_positive_rate(np.array([2, 19]), negatives, are_values=True).value == 1.0


def test_numbers__of_one_kind_only():
    some, none = np.array([2, 3]), np.array([0, 0])
    for number in (auroc, false_positive_rate):
        assert np.isnan(number(some, none, are_values=True).value)
        assert np.isnan(number(none, some, are_values=False).upper)
    assert average_precision(some, none, are_values=False).value == 1
    assert average_precision(some, none, are_values=False).error == 0
    assert average_precision(none, some, are_values=True).row("k") == {"k": None, "k_bound": None}


def test_numbers__of_more_pixels_than_a_product_of_int64_holds():
    half = np.full(4, 2 * 10**9)
    assert auroc(half, half, are_values=True).value == pytest.approx(0.5, abs=1e-12)
    found = average_precision(half, half, are_values=False)
    assert found.value == pytest.approx(0.5, abs=1e-12)
    assert 0.3 < found.lower < 0.5 < found.upper < 0.8


def test_numbers__of_a_published_example():
    """The example of the package ood-metrics: labels 0 0 0 1 0 of rising scores; FPR where 95 % at least are found."""
    positives, negatives = np.array([0, 0, 0, 1, 0]), np.array([1, 1, 1, 0, 1])
    assert auroc(positives, negatives, are_values=True).value == 0.75
    assert false_positive_rate(positives, negatives, are_values=True).value == 0.25
