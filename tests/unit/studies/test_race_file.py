"""What a race decided, read back from its file, and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vfmseg.errors import StudyError
from vfmseg.studies.race_file import race_promise, race_words, read_race

RACE: dict[str, Any] = {
    "shares": [0.125, 0.5],
    "eta": 2.0,
    "confidence": 0.95,
    "settings": [
        {
            "setting": "full",
            "rungs": [
                {"share": 0.125, "survivors": ["A", "B"], "out": ["C", "D"]},
                {"share": 0.5, "survivors": ["A", "B"], "out": []},
            ],
            "stopped_at": {"C": 10, "D": 10},
            "winners": ["A", "B"],
            "cost_share": 0.5625,
        },
        {"setting": "", "rungs": [], "stopped_at": {}, "winners": [], "cost_share": 1.0},
    ],
}


def test_race__is_read_and_told(tmp_path: Path) -> None:
    (tmp_path / "race.json").write_text(json.dumps(RACE))
    race = read_race(tmp_path)
    assert race is not None
    header, rows = race_words(race)
    share = "Share of the full study's steps"
    assert header == ["Setting", "Left at 12.5\u00a0%", "Left at 50\u00a0%", "May be the best", share]
    assert rows == [
        ["full", "C, D", "nobody", "A, B", "56.2\u00a0%"],
        ["validation", "–", "–", "–", "100\u00a0%"],
    ]
    assert "At each rung 1 in 2 of the models stays" in race_promise(race)
    assert "95\u00a0% confidence" in race_promise(race)


def test_race__of_many_models_names_the_first(tmp_path: Path) -> None:
    winners = [f"m{number}" for number in range(15)]
    settings = [{**RACE["settings"][1], "winners": winners}]
    (tmp_path / "race.json").write_text(json.dumps({**RACE, "settings": settings}))
    race = read_race(tmp_path)
    assert race is not None
    assert race_words(race)[1][0][3] == ", ".join([*winners[:12], "3 more"])


def test_no_race__is_none(tmp_path: Path) -> None:
    assert read_race(tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({**RACE, "settings": [{"setting": 3}]})])
def test_damaged_race__is_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "race.json").write_text(content)
    with pytest.raises(StudyError, match=r"race.json is damaged .*benchmark \.\.\. --race.* or delete it"):
        read_race(tmp_path)
