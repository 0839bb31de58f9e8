"""What there is, as a table for people and as JSON for programs."""

from __future__ import annotations

import json

import pytest

from vfmseg.cli.list_verb import KINDS
from vfmseg.cli.program import main


@pytest.mark.parametrize("kind", KINDS)
def test_list__table_and_json_hold_the_same_rows(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(["list", kind]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    lines = [
        line for line in lines if line[:2] != "  "
    ]  # what does not fit into a column stands below, indented
    assert len(lines) == len(rows) > 0
    assert header.split()[0] == next(iter(rows[0])) == "name"
    for row, line in zip(rows, lines, strict=True):
        assert line.lstrip().startswith(str(row["name"]))
        assert row.keys() == rows[0].keys()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("encoders", "dinov2-b"),
        ("tunings", "frozen"),
        ("decoders", "mask2former"),
        ("datasets", "ade20k"),
        ("recipes", "configs/scenes_linear_semantic.yaml"),
    ],
)
def test_list__names_are_words_a_recipe_takes(
    kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", kind, "--json"]) == 0
    assert name in [row["name"] for row in json.loads(capsys.readouterr().out)]


def test_list__datasets_fit_a_terminal_and_leave_nothing_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(["list", "datasets"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 160
    said = " ".join(printed.split())
    assert all(str(value) in said for row in rows for value in row.values())


def test_list__datasets_say_which_tasks_they_serve(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets", "--json"]) == 0
    tasks = {row["name"]: row["tasks"] for row in json.loads(capsys.readouterr().out)}
    every = "semantic, panoptic, instance"
    assert tasks == {
        "ade20k": every,
        "pascal_voc": "semantic",
        "cityscapes": every,
        "gta5": "semantic",
        "coco": "panoptic, instance",
        **dict.fromkeys(
            ["bdd100k", "mapillary", "mapillary_v2", "mapillary_own", "mapillary_v2_own", "acdc"], "semantic"
        ),
        **dict.fromkeys(["synthia", "urbansyn", "cityscapes_c"], "semantic"),
        "folder": every,
        "scenes": every,
    }


def test_list__licences_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("encoders", "datasets"):
        assert main(["list", kind, "--json"]) == 0
        assert all(row["licence"] for row in json.loads(capsys.readouterr().out))


def test_list__unknown_kind_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "backbones"]) == 2
    message = capsys.readouterr().err
    assert "invalid choice: 'backbones'" in message
    assert all(kind in message for kind in KINDS)
