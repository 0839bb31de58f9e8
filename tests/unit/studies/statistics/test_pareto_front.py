"""The front by hand, by comparing all pairs, and with noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.pareto import pareto_front


def test_front__by_hand() -> None:
    found = pareto_front(["s", "m", "l", "xl"], [60, 70, 69, 75], [[1, 5], [2, 5], [2, 6], [9, 9]])
    assert found.models == ("xl", "m", "s")
    assert found.dominated_by == {"l": ("m",)}
    assert found.unknown == ()


def test_front__of_errors() -> None:
    found = pareto_front(["a", "b", "c"], [0.3, 0.2, 0.4], [1, 2, 3], higher_is_better=False)
    assert found.models == ("b", "a")
    assert found.dominated_by == {"c": ("b", "a")}


def test_front__equal_models_are_on_it_together() -> None:
    found = pareto_front(["a", "b", "c"], [1, 1, 1], [2, 2, 3])
    assert found.models == ("a", "b")
    assert found.dominated_by == {"c": ("a", "b")}


def test_front__a_missing_number_is_neither_on_it_nor_beaten_nor_beats() -> None:
    found = pareto_front(["a", "b", "c"], [9, np.nan, 1], [np.nan, 1, 2])
    assert found.models == ("c",)
    assert found.dominated_by == {}
    assert found.unknown == ("a", "b")


def test_front__with_noise_keeps_what_chance_may_have_beaten() -> None:
    quality, costs = [70, 69, 60], [1, 2, 3]
    is_better = np.zeros((3, 3), dtype=bool)
    is_better[0, 2] = is_better[1, 2] = True
    found = pareto_front(["a", "b", "c"], quality, costs, is_better=is_better)
    assert found.models == ("a", "b")
    assert found.dominated_by == {"c": ("a", "b")}
    assert pareto_front(["a", "b", "c"], quality, costs).models == ("a",)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=8), st.randoms())
def test_front__is_what_comparing_all_pairs_gives(rows: list[tuple[int, int, int]], random) -> None:
    names = [f"m{j}" for j in range(len(rows))]

    def beats(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1] and one[2] <= other[2]

    expected = {name for name, row in zip(names, rows, strict=True) if not any(beats(o, row) for o in rows)}
    table = np.array(rows)
    found = pareto_front(names, table[:, 0], table[:, 1:])
    assert set(found.models) == expected
    assert set(found.dominated_by) == set(names) - expected
    assert all(found.dominated_by.values())
    order = random.sample(range(len(rows)), len(rows))
    again = pareto_front([names[j] for j in order], table[order, 0], table[order, 1:])
    assert set(again.models) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pareto_front(["a", "a"], [1, 2], [1, 2]), "Model a occurs twice."),
        (lambda: pareto_front(["a", "b"], [1], [1, 2]), "2 models need as many qualities and rows of costs"),
        (
            lambda: pareto_front(["a", "b"], [1, 2], [1, 2], is_better=np.zeros((1, 1), dtype=bool)),
            "is_better of 2 models is 2 x 2",
        ),
    ],
)
def test_mistake__is_named(call, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        call()
