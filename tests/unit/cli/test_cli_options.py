"""Words of a command line in, recipe overrides out."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.cli.options import parse_overrides
from vfmseg.errors import RecipeError


def parsed(line: str) -> dict[str, Any]:
    found, notes = parse_overrides(shlex.split(line))
    assert notes == []
    return found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", {}),
        ("--training.steps 100", {"training.steps": 100}),
        ("--training.steps=100", {"training.steps": 100}),
        ("--training.steps 1 --training.steps 2", {"training.steps": 2}),
        ("--training.learning_rate 1e-4", {"training.learning_rate": 1e-4}),
        ("--training.learning_rate 2.5E-3", {"training.learning_rate": 2.5e-3}),
        ("--training.steps 4e4", {"training.steps": 40000.0}),
        ("--trainer.devices [0,3]", {"trainer.devices": [0, 3]}),
        ("--trainer.devices '[0, 3]'", {"trainer.devices": [0, 3]}),
        ("--trainer.devices -1", {"trainer.devices": -1}),
        ("--training.compile", {"training.compile": True}),
        ("--training.compile false", {"training.compile": False}),
        ("--training.compile --seed 1", {"training.compile": True, "seed": 1}),
        ("--model.freeze_encoder True", {"model.freeze_encoder": True}),
        ("--encoder.patch_size null", {"encoder.patch_size": None}),
        ("--encoder.patch_size ~", {"encoder.patch_size": None}),
        (
            "--encoder.overrides '{depth: 2, num_heads: 3}'",
            {"encoder.overrides": {"depth": 2, "num_heads": 3}},
        ),
        ("--init_from=", {"init_from": ""}),
        ("--data.path=a=b", {"data.path": "a=b"}),
        ("--data.path 'with space'", {"data.path": "with space"}),
    ],
)
def test_values__are_read_as_yaml(line: str, found: dict[str, Any]) -> None:
    assert parsed(line) == found


@pytest.mark.parametrize(
    "word",
    [
        "007",
        "1_000",
        "1.10",
        "0x10",
        "2026-05-01",
        "2026-13-01",
        "0b_",
        "12:30",
        "nan",
        "inf",
        "infinity",
        "[",
        "{a",
        "a: b: c",
        "-",
        "@x",
        "#1",
    ],
)
def test_values__that_may_be_names_stay_as_typed(word: str) -> None:
    found, _ = parse_overrides([f"--data.path={word}"])
    assert found == {"data.path": word}


@given(st.integers())
def test_values__whole_numbers(number: int) -> None:
    assert parse_overrides(["--a", str(number)])[0] == {"a": number}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_values__floats_as_python_writes_them(number: float) -> None:
    assert parse_overrides(["--a", repr(number)])[0] == {"a": number}


def test_lone_dash__before_a_value_is_a_slip_that_is_said() -> None:
    found, notes = parse_overrides(["--model.network.ckpt_path", "-", "beit3.pth", "--seed", "1"])
    assert found == {"model.network.ckpt_path": "beit3.pth", "seed": 1}
    assert notes == [
        "--model.network.ckpt_path: the lone '-' before 'beit3.pth' is taken as a slip and left out"
    ]


@pytest.mark.parametrize("line", ["--data.path -", "--data.path - --seed 1"])
def test_lone_dash__that_is_the_value_stays(line: str) -> None:
    assert parsed(line)["data.path"] == "-"


@pytest.mark.parametrize("words", [["stray"], ["--seed", "1", "stray"], ["--"], ["-x"]])
def test_stray_words__are_refused(words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_overrides(words)
    assert str(caught.value).startswith(f"Unexpected word {words[-1]!r}. Options look like --encoder.name")
