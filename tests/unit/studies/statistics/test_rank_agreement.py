"""Coefficients equal scipy's, p values equal counting all orders, and what has no meaning says so."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.agreement import agreement, agreement_bounds, plausible_agreement
from vfmseg.studies.statistics.correlation import correlate, kendall_tau, spearman_rho, weighted_tau
from vfmseg.studies.statistics.noise import ScoreNoise, seed_noise
from vfmseg.studies.statistics.seeds import SeedTable

OURS = {"kendall": kendall_tau, "weighted": weighted_tau, "spearman": spearman_rho}
SCIPYS = {"kendall": stats.kendalltau, "weighted": stats.weightedtau, "spearman": stats.spearmanr}
PAIRS = (
    st.integers(3, 9)
    .flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 6), min_size=n, max_size=n)] * 2))
    .filter(lambda pair: len(set(pair[0])) > 1 and len(set(pair[1])) > 1)
)


def noise_of(means: list[float], *, sd: float, models: str = "abcdefgh") -> ScoreNoise:
    scores = np.array(means)[:, None] + sd * np.array([-1.0, 0.0, 1.0])
    return seed_noise(
        SeedTable(models=tuple(models[: len(means)]), seeds=(0, 1, 2), scores=scores), draws=2_000
    )


def test_kendall__by_hand() -> None:
    # of the pairs of 1 2 3 and 1 3 2, two agree and one does not
    assert kendall_tau(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(1 / 3)


def test_weighted__an_exchange_at_the_top_counts_more() -> None:
    scores = np.array([4.0, 3, 2, 1])
    top, bottom = np.array([3.0, 4, 2, 1]), np.array([4.0, 3, 1, 2])
    assert kendall_tau(scores, top) == kendall_tau(scores, bottom)
    assert weighted_tau(scores, top) < weighted_tau(scores, bottom)
    # weights 1/r + 1/s: all pairs 3 x 25/12, the exchanged one 3/2
    assert weighted_tau(scores, top) == pytest.approx(1 - 2 * 1.5 / 6.25)


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=60, deadline=None)
@given(pair=PAIRS)
def test_coefficient__is_scipys_also_with_ties(name: str, pair: tuple[list[int], list[int]]) -> None:
    x, y = np.array(pair, dtype=float)
    found = float(OURS[name](x, y))
    assert found == pytest.approx(SCIPYS[name](x, y).statistic, abs=1e-12)
    assert -1 <= found <= 1


@settings(max_examples=40, deadline=None)
@given(pair=PAIRS, random=st.randoms(use_true_random=False))
def test_coefficient__does_not_depend_on_the_order_of_models(pair, random) -> None:
    x, y = np.array(pair, dtype=float)
    order = random.sample(range(len(x)), len(x))
    for name in ("kendall", "spearman"):
        assert OURS[name](x[order], y[order]) == pytest.approx(float(OURS[name](x, y)))
        assert OURS[name](y, x) == pytest.approx(float(OURS[name](x, y)))
        assert OURS[name](x, -y) == pytest.approx(-float(OURS[name](x, y)))


@pytest.mark.parametrize("name", OURS)
def test_correlate__many_rows_are_each_row(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfmseg.studies.statistics.correlation._CHUNK_VALUES", 100)
    x, y = np.random.default_rng(0).integers(0, 5, size=(2, 20, 6)).astype(float)
    expected = [float(OURS[name](a, b)) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(correlate(x, y, name), expected)


@pytest.mark.parametrize("name", OURS)
def test_p__is_the_share_of_all_orders(name: str) -> None:
    x, y = np.array([5.0, 3, 3, 1, 2]), np.array([4.0, 5, 2, 1, 1])
    value = abs(SCIPYS[name](x, y).statistic)
    as_far = [
        abs(SCIPYS[name](x, y[list(order)]).statistic) >= value - 1e-9
        for order in itertools.permutations(range(5))
    ]
    found = agreement(x, y, coefficient=name)
    assert found.is_exact
    assert found.p == pytest.approx(np.mean(as_far))


def test_p__of_kendall_is_scipys_exact_one() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 7))
    assert agreement(x, y).p == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue)


def test_p__of_more_models_is_near_the_exact_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    found = agreement(x, y, draws=10_000)
    assert not found.is_exact
    assert found.p == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue, abs=0.005)


def test_other_models__interval_holds_the_value_and_narrows_with_models() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (8, 40):
        x = rng.normal(size=count)
        found = agreement(x, x + rng.normal(size=count), draws=1_000)
        assert found.other_models.lower < found.value < found.other_models.upper
        widths.append(found.other_models.upper - found.other_models.lower)
    assert widths[1] < widths[0] / 1.5


def test_other_models__same_order_stays_the_same() -> None:
    found = agreement(range(8), range(8), draws=500)
    assert [found.value, found.other_models.lower, found.other_models.upper] == pytest.approx([1, 1, 1])
    assert found.p == pytest.approx(2 / 40_320)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([], [], "0 models have no order to compare: 3 or more are needed."),
        ([1, 2], [2, 1], "2 models have no order to compare: 3 or more are needed."),
        ([1, 1, 1], [1, 2, 3], "All models have the same score in the first setting."),
        ([1, 2, 3], [4, 4, 4], "All models have the same score in the second setting."),
    ],
)
def test_agreement__without_meaning_says_why(first: list[float], second: list[float], reason: str) -> None:
    found = agreement(first, second)
    assert (found.value, found.p, found.other_models, found.reason) == (None, None, None, reason)


def test_agreement__of_few_models_has_no_interval() -> None:
    found = agreement([1, 2, 3, 4], [1, 2, 4, 3])
    assert found.value == pytest.approx(2 / 3)
    assert found.other_models is None
    assert found.reason == "4 models are too few to be resampled: 5 or more are needed."


def test_plausible__narrow_where_noise_is_small_wide_where_it_is_large() -> None:
    means = [1.0, 2, 3, 4, 5]
    still = plausible_agreement(noise_of(means, sd=0.01), noise_of(means, sd=0.01))
    assert [still.lower, still.upper] == pytest.approx([1, 1])
    shaken = plausible_agreement(noise_of(means, sd=2.0), noise_of(means, sd=2.0))
    assert shaken.lower < 0.4 < shaken.upper


def test_plausible__equal_noise_of_two_settings_is_not_the_same_noise() -> None:
    """Both settings draw with the same random seed; models that are all equal must still agree by chance only."""
    found = plausible_agreement(noise_of([0.0] * 6, sd=1.0), noise_of([0.0] * 6, sd=1.0))
    assert found.lower < -0.4
    assert found.upper < 0.95


def test_bounds__by_hand() -> None:
    # a is surely below b and c in both settings; b and c are not told apart: 2 of 3 pairs agree, 1 is open
    first, second = noise_of([0.0, 10.0, 10.1], sd=1.0), noise_of([0.0, 12.0, 11.0], sd=1.0)
    found = agreement_bounds(first, second)
    assert (found.lower, found.upper) == pytest.approx((1 / 3, 1))
    surely = agreement_bounds(noise_of([0.0, 5, 10], sd=0.1), noise_of([5.0, 0, 10], sd=0.1))
    assert (surely.lower, surely.upper) == pytest.approx((1 / 3, 1 / 3))


def test_settings__models_are_matched_by_name() -> None:
    first = noise_of([1.0, 2, 3], sd=0.01, models="abc")
    second = noise_of([3.0, 2, 1], sd=0.01, models="cba")
    assert agreement_bounds(first, second).lower == 1
    assert plausible_agreement(first, second).lower == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: agreement([1, 2, 3], [1, 2]), "Two settings need one score each of the same models"),
        (lambda: agreement([1, 2, np.nan], [1, 2, 3]), "A model has no score in one of the settings."),
        (lambda: agreement([1, 2, 3], [1, 2, 3], confidence=0), "A confidence of 0 is not between 0 and 1."),
        (
            lambda: agreement_bounds(noise_of([1.0, 2], sd=1), noise_of([1.0, 2, 3], sd=1)),
            "c is in one setting alone.",
        ),
        (
            lambda: plausible_agreement(noise_of([1.0, 2], sd=1), noise_of([1.0, 2], sd=1)),
            "2 models have no order to compare",
        ),
    ],
)
def test_mistake__is_named(call, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        call()
