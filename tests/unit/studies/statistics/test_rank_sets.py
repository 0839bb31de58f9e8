"""Ranks, rank sets, groups and winners: Tukey's intervals, hand examples, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.images import counts_of_scores
from vfmseg.studies.statistics.noise import ScoreNoise, image_noise, seed_noise
from vfmseg.studies.statistics.ranks import _largest_sets, compare_two, rank_models
from vfmseg.studies.statistics.seeds import SeedTable


def noise_of(scores: np.ndarray, *, draws: int = 500) -> ScoreNoise:
    models = tuple(f"m{j}" for j in range(len(scores)))
    return seed_noise(
        SeedTable(models=models, seeds=tuple(range(scores.shape[1])), scores=scores), draws=draws
    )


def scores_around(means: list[float], seeds: int = 3, sd: float = 1.0) -> np.ndarray:
    """Return scores with just these means and just this standard deviation."""
    spread = np.arange(seeds) - (seeds - 1) / 2
    return np.array(means)[:, None] + sd * spread / spread.std(ddof=1)


def test_all_pairs__are_tukeys_intervals() -> None:
    scores = np.random.default_rng(0).normal(size=(6, 4)) + np.arange(6)[:, None] / 2
    expected = stats.tukey_hsd(*scores)
    interval = expected.confidence_interval()
    found = rank_models(noise_of(scores, draws=100_000))
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(found.lower[off], interval.low[off], atol=0.03)
    np.testing.assert_allclose(found.upper[off], interval.high[off], atol=0.03)
    np.testing.assert_allclose(found.adjusted_p, expected.pvalue, atol=0.005)


def test_ranking__by_hand() -> None:
    # Tukey's critical difference of 3 models with 3 seeds: 4.339 sd / sqrt(3) = 2.505
    found = rank_models(noise_of(scores_around([60.0, 62.0, 65.0]), draws=20_000))
    assert found.source == "seeds"
    assert found.ranks.tolist() == [3, 2, 1]
    assert found.best_ranks.tolist() == [2, 2, 1]
    assert found.worst_ranks.tolist() == [3, 3, 1]
    assert found.groups == (("m2",), ("m1", "m0"))
    assert found.possible_winners == ("m2",)
    assert found.differences[2].tolist() == pytest.approx([5, 3, 0])
    assert found.upper[0, 1] - found.differences[0, 1] == pytest.approx(2.505, abs=0.05)


def test_ranking__of_errors_is_turned_round() -> None:
    scores = scores_around([60.0, 61.5, 65.0])
    found = rank_models(noise_of(scores), higher_is_better=False)
    assert found.ranks.tolist() == [1, 2, 3]
    assert found.is_better[0, 2]
    assert not found.is_better[2, 0]
    assert found.possible_winners == ("m0", "m1")
    assert found.groups == (("m0", "m1"), ("m2",))


def test_ranks__equal_scores_share_one() -> None:
    found = rank_models(noise_of(scores_around([5.0, 5.0, 1.0, 5.0])))
    assert found.ranks.tolist() == [1, 1, 4, 1]


def test_groups__overlap_where_neighbours_are_alike_and_ends_are_not() -> None:
    found = rank_models(noise_of(scores_around([0.0, 2.0, 4.0])))
    assert found.groups == (("m2", "m1"), ("m1", "m0"))


def test_groups__are_all_largest_ones() -> None:
    alike = np.eye(5, dtype=bool)
    for j, k in [(0, 1), (1, 2), (2, 3), (3, 0), (3, 4)]:  # a ring of four, and one that hangs on it
        alike[j, k] = alike[k, j] = True
    assert _largest_sets(alike, np.arange(5)) == [[0, 1], [0, 3], [1, 2], [2, 3], [3, 4]]


def test_stepdown__finds_what_one_step_finds_and_more() -> None:
    rng = np.random.default_rng(5)
    more = 0
    for _ in range(20):
        noise = noise_of(rng.normal(size=(8, 3)) + np.arange(8)[:, None], draws=2_000)
        one, many = rank_models(noise), rank_models(noise, stepdown=True)
        assert (many.is_better >= one.is_better).all()
        assert not (many.is_better & many.is_better.T).any()
        np.testing.assert_array_equal(many.lower, one.lower)
        more += int(many.is_better.sum() - one.is_better.sum())
    assert more > 0


def test_images__paired_models_are_told_apart_where_unpaired_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.normal(0.6, 0.2, 50)
    scores = np.stack([hardness + rng.normal(0.02 * j, 0.01, 50) for j in range(3)])
    found = rank_models(image_noise(counts_of_scores(("a", "b", "c"), scores), draws=1_000))
    assert found.source == "images"
    assert found.best_ranks.tolist() == found.worst_ranks.tolist() == [3, 2, 1]
    alone = stats.ttest_ind(scores[0], scores[2])
    assert alone.pvalue > 0.05


def test_images__models_that_are_the_same_cannot_be_told_apart() -> None:
    scores = np.random.default_rng(0).random(30)
    found = rank_models(image_noise(counts_of_scores(("a", "b"), [scores, scores]), draws=200))
    assert found.groups == (("a", "b"),)
    assert found.possible_winners == ("a", "b")
    assert found.adjusted_p.tolist() == [[1, 1], [1, 1]]


def test_images__a_constant_difference_is_sure() -> None:
    scores = np.random.default_rng(0).random(30)
    found = rank_models(image_noise(counts_of_scores(("a", "b"), [scores, scores + 0.5]), draws=200))
    assert found.possible_winners == ("b",)
    assert found.ranks.tolist() == found.best_ranks.tolist() == [2, 1]


SCORES = st.integers(2, 7).flatmap(
    lambda models: st.lists(
        st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=models, max_size=models
    )
)


@settings(max_examples=40, deadline=None)
@given(SCORES, st.randoms(use_true_random=False), st.booleans())
def test_ranking__what_always_holds(rows: list[list[int]], random, stepdown: bool) -> None:
    scores = np.array(rows, dtype=float)
    scores[0, 0] += 0.5  # some spread
    found = rank_models(noise_of(scores), stepdown=stepdown)
    count = len(scores)
    assert (found.best_ranks <= found.ranks).all()
    assert (found.ranks <= found.worst_ranks).all()
    assert (found.best_ranks >= 1).all()
    assert (found.worst_ranks <= count).all()
    winners = [found.models.index(model) for model in found.possible_winners]
    assert set(np.flatnonzero(found.ranks == 1)) <= set(winners)
    if not stepdown:
        assert (found.best_ranks[winners] == 1).all()
    assert {model for group in found.groups for model in group} == set(found.models)
    np.testing.assert_allclose(found.lower, -found.upper.T)
    np.testing.assert_allclose(found.adjusted_p, found.adjusted_p.T)

    order = random.sample(range(count), count)
    models = tuple(f"m{j}" for j in order)
    table = SeedTable(models=models, seeds=(0, 1, 2), scores=scores[order])
    permuted = rank_models(seed_noise(table, draws=500), stepdown=stepdown)
    np.testing.assert_array_equal(permuted.ranks, found.ranks[order])
    np.testing.assert_array_equal(permuted.best_ranks, found.best_ranks[order])
    np.testing.assert_array_equal(permuted.worst_ranks, found.worst_ranks[order])
    np.testing.assert_allclose(permuted.lower, found.lower[np.ix_(order, order)])
    assert set(permuted.possible_winners) == set(found.possible_winners)
    assert {frozenset(group) for group in permuted.groups} == {frozenset(group) for group in found.groups}


def test_order_of_rows__changes_nothing_with_missing_seeds() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 3))
    scores[1, 1:] = np.nan
    found = rank_models(noise_of(scores))
    order = [2, 0, 3, 1]
    table = SeedTable(models=tuple(f"m{j}" for j in order), seeds=(0, 1, 2), scores=scores[order])
    np.testing.assert_allclose(
        rank_models(seed_noise(table, draws=500)).upper, found.upper[np.ix_(order, order)]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda noise: rank_models(noise, confidence=1.0), "A confidence of 1.0 is not between 0 and 1."),
        (lambda noise: compare_two(noise, "m0", "m9"), "There is no model m9. Did you mean m1, m0?"),
        (lambda noise: compare_two(noise, "m0", "m0"), "m0 cannot be compared with itself."),
        (lambda noise: rank_models(noise_of(np.ones((1, 2)) * [1, 2])), "1 model cannot be ranked."),
    ],
)
def test_mistake__is_named(call, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        call(noise_of(scores_around([1.0, 2.0])))
