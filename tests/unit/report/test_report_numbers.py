import math

import pytest

from vfmseg.report.numbers import compact, duration, millions, percent, points


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.713, "71.3\u00a0%"), (0.5, "50\u00a0%"), (0.0, "0\u00a0%"), (None, "–"), (math.nan, "–")],
)
def test_percent__as_many_digits_as_needed(share, text):
    assert percent(share) == text


def test_percent__fixed_digits():
    assert percent(0.5, 1) == "50.0\u00a0%"
    assert points(0.5) == "50.0"
    assert points(None) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1e-4, "1e-4"),
        (-2.5e-5, "-2.5e-5"),
        (0.01234, "0.0123"),
        (3.14159, "3.14"),
        (512, "512"),
        (2000, "2,000"),
        (20000, "20k"),
        (1.5e6, "1.5M"),
        (999_600, "1M"),
        (3e9, "3G"),
    ],
)
def test_compact__three_digits(value, text):
    assert compact(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(22_056_576, "22.1\u00a0M"), (1.1e9, "1.1\u00a0G"), (4500, "4.5\u00a0k"), (12, "12")]
)
def test_millions__with_unit(count, text):
    assert millions(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.345, "2.35\u00a0s"),
        (75, "1\u00a0min 15\u00a0s"),
        (59.6 * 60 + 23, "59\u00a0min 59\u00a0s"),
        (4370, "1\u00a0h 13\u00a0min"),
        (100_000, "1\u00a0d 3\u00a0h"),
    ],
)
def test_duration__two_units(seconds, text):
    assert duration(seconds) == text
