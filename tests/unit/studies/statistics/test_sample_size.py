"""How many seeds or images are needed: textbook numbers, and tests simulated with them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.power import images_to_separate, seeds_to_separate, t_test_power


@pytest.mark.parametrize(
    ("effect", "of_groups", "of_pairs"),
    # Cohen 1988, power 0.80, two-sided 0.05: 26 for a large, 64 for a medium, 393 for a small effect of two groups
    [(0.8, 26, 15), (0.5, 64, 34), (0.2, 394, 199)],
)
def test_n__is_that_of_the_textbook(effect: float, of_groups: int, of_pairs: int) -> None:
    assert seeds_to_separate(effect, 1.0).n == of_groups
    assert images_to_separate(-effect * 3, 3.0).n == of_pairs


def test_n__is_the_smallest_that_reaches_the_power() -> None:
    for effect in (0.3, 1.0, 5.0):
        found = images_to_separate(effect, 1.0, power=0.9)
        assert found.power == pytest.approx(t_test_power(effect, found.n, paired=True))
        assert found.power >= 0.9
        assert found.n == 2 or t_test_power(effect, found.n - 1, paired=True) < 0.9


def test_power__is_known_where_the_wrong_sign_hardly_ever_comes_up() -> None:
    # the lower tail of the noncentral t distribution, which underflows here
    found = images_to_separate(0.3, 1.0, power=0.99, confidence=0.999)
    assert found.power == pytest.approx(0.99, abs=1e-3)
    assert found.n == pytest.approx(
        (3.29 + 2.33) ** 2 / 0.3**2, rel=0.03
    )  # normal quantiles; a little more for t


@pytest.mark.parametrize("paired", [True, False])
def test_simulated_tests__find_the_difference_in_80_percent(paired: bool) -> None:
    rng = np.random.default_rng(0)
    difference, sd = 1.0, 0.9
    if paired:
        found = images_to_separate(difference, sd)
        p = stats.ttest_1samp(rng.normal(difference, sd, size=(20_000, found.n)), 0, axis=1).pvalue
    else:
        found = seeds_to_separate(difference, sd)
        first, second = rng.normal(0, sd, size=(2, 20_000, found.n))
        p = stats.ttest_ind(first + difference, second, axis=1).pvalue
    assert found.power >= 0.8
    assert (p < 0.05).mean() == pytest.approx(found.power, abs=0.01)


def test_no_difference__no_number_shows_it() -> None:
    found = seeds_to_separate(0.0, 1.0)
    assert (found.n, found.power) == (None, None)
    assert found.reason == "The difference is 0: no number of repetitions shows it."
    assert (
        images_to_separate(1e-9, 1.0).reason
        == "The difference is 1.0e-09 standard deviations: over 10,000,000."
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seeds_to_separate(1.0, 0.0), "A standard deviation of 0.0 leaves nothing to be shown."),
        (lambda: images_to_separate(1.0, float("nan")), "A standard deviation of nan leaves nothing"),
        (lambda: seeds_to_separate(1.0, 1.0, power=80), "A power of 80 is not between 0 and 1."),
        (lambda: seeds_to_separate(1.0, 1.0, confidence=2), "A confidence of 2 is not between 0 and 1."),
    ],
)
def test_mistake__is_named(call, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        call()
