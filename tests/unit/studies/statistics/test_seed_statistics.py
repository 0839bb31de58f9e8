"""Means, spread and intervals over seeds equal hand examples and scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.noise import seed_noise
from vfmseg.studies.statistics.ranks import compare_two
from vfmseg.studies.statistics.seeds import SeedTable, pooled_spread, seed_table, summarize_seeds


def table(*rows: list[float]) -> SeedTable:
    return SeedTable(
        models=tuple("abcdef"[: len(rows)]), seeds=tuple(range(len(rows[0]))), scores=np.array(rows)
    )


def test_summary__by_hand() -> None:
    found = seed_table([("a", 0, 70.0), ("b", 0, 60.0), ("a", 1, 72.0), ("a", 2, 74.0)])
    first, second = summarize_seeds(found)
    # mean 72, sd 2, t(0.975, 2 degrees of freedom) 4.3027
    assert (first.model, first.n, first.mean, first.sd) == ("a", 3, 72.0, 2.0)
    assert first.lower == pytest.approx(72 - 4.3027 * 2 / 3**0.5, abs=1e-3)
    assert first.upper == pytest.approx(72 + 4.3027 * 2 / 3**0.5, abs=1e-3)
    assert (second.n, second.mean, second.sd, second.lower, second.upper) == (1, 60.0, None, None, None)


def test_table__missing_cells_are_nan() -> None:
    found = seed_table([("a", 7, 1.0), ("b", 3, 2.0), ("b", 7, 4.0)])
    assert (found.models, found.seeds) == (("a", "b"), (7, 3))
    np.testing.assert_array_equal(found.scores, [[1.0, np.nan], [4.0, 2.0]])
    assert found.means.tolist() == [1.0, 3.0]
    assert found.counts.tolist() == [1, 2]


def test_summary__interval_is_scipys() -> None:
    scores = np.random.default_rng(0).normal(60, 1, 5)
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.9)
    (found,) = summarize_seeds(table(scores.tolist()), confidence=0.9)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))


def test_pooled_spread__by_hand() -> None:
    spread = pooled_spread(table([1.0, 2.0, 3.0], [5.0, 7.0, np.nan]))
    assert (spread.variance, spread.dof) == (pytest.approx((2 + 2) / 3), 3)


def test_compare_two__is_the_t_test_with_pooled_variance() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(1, 1, 3), rng.normal(0, 1, 5)
    expected = stats.ttest_ind(first, second)
    found = compare_two(seed_noise(table([*first, np.nan, np.nan], list(second))), "a", "b")
    low, high = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.lower, found.upper) == pytest.approx((low, high))


def test_compare_two__with_shared_seeds_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    of_seed = rng.normal(0, 5, 6)
    first, second = of_seed + rng.normal(1, 1, 6), of_seed + rng.normal(0, 1, 6)
    expected = stats.ttest_rel(first, second)
    found = compare_two(seed_noise(table(list(first), list(second)), shared_seeds=True), "a", "b")
    low, high = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.lower, found.upper) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seed_table([]), "There are no scores. Run the study first."),
        (
            lambda: seed_table([("a", 0, 1.0), ("a", 0, 2.0)]),
            "Model a, seed 0 is given twice. Keep one of the two runs.",
        ),
        (lambda: seed_table([("a", 0, float("inf"))]), "A score is infinite."),
        (lambda: table([np.nan, np.nan], [1.0, 2.0]), "There is no score of a."),
        (
            lambda: SeedTable(models=("a", "a"), seeds=(0,), scores=np.ones((2, 1))),
            "Model a occurs twice. Give each a name of its own.",
        ),
        (
            lambda: SeedTable(models=("a",), seeds=(0,), scores=np.ones((2, 1))),
            "A table of 1 models and 1 seeds has as many rows and columns",
        ),
        (lambda: summarize_seeds(table([1.0]), confidence=95), "A confidence of 95 is not between 0 and 1."),
        (lambda: pooled_spread(table([1.0], [2.0])), "No model has two seeds"),
        (
            lambda: pooled_spread(table([1.0, 2.0], [2.0, np.nan]), shared_seeds=True),
            r"no missing cell, not \[2, 1\] seeds",
        ),
        (
            lambda: seed_noise(table([1.0, 1.0], [2.0, 2.0])),
            "nothing was learned yet, or the seed has not reached the runs",
        ),
    ],
)
def test_mistake__is_named(call, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        call()
