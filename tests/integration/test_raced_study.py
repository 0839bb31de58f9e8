"""Races of real runs: a paused trial goes on as if it had not been paused, and what a race finishes is the study's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import vfmseg
from support.studies import benchmark
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.models.checkpoint import read_tensors
from vfmseg.training.callbacks.history import read_rows
from vfmseg.training.callbacks.stopping import PausedError


def _recipe(**changes: Any) -> dict[str, Any]:
    training = {"steps": 12, "validate_every": 3, "checkpoint_every": 12, "overlays": 0, **changes}
    return tiny_recipe(training=training)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.2, "validate_every": 5}])
def test_pause__a_run_goes_on_as_if_there_had_been_none(changes: dict[str, Any], tmp_path: Path) -> None:
    whole = vfmseg.fit(_recipe(**changes), out=tmp_path / "whole", say=lambda message: None)
    paused = tmp_path / "paused"
    with pytest.raises(PausedError, match=r"Paused after the validation of step .*--resume") as stop:
        vfmseg.fit(_recipe(**changes), out=paused, pause_at=4, say=lambda message: None)
    assert stop.value.step == (5 if changes else 6)
    assert not (paused / "result.json").exists()
    with pytest.raises(PausedError):
        vfmseg.fit(out=paused, resume=True, pause_at=8, say=lambda message: None)
    # the last step is no pause
    vfmseg.fit(out=paused, resume=True, pause_at=12, say=lambda message: None)
    for name in ("last", "best"):
        expected = read_tensors(whole.folder / "checkpoints" / name)
        found = read_tensors(paused / "checkpoints" / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    scores = [
        [(row["step"], row["val/miou"]) for row in read_rows(folder / "metrics.csv") if "val/miou" in row]
        for folder in (whole.folder, paused)
    ]
    assert scores[0] == scores[1]


def test_benchmark__a_race_finishes_what_the_study_would(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(_recipe()))
    rates = {"learns": 3e-3, "barely": 1e-7}
    tree = {
        "name": "tiny",
        "base": str(tmp_path / "base.yaml"),
        "axes": {
            "model": {name: {"training.learning_rate": rate} for name, rate in rates.items()},
            "seed": [0, 1],
        },
    }
    study = tmp_path / "tiny.yaml"
    study.write_text(yaml.safe_dump(tree))
    benchmark(study, "--out", tmp_path / "whole")
    said = benchmark(study, "--out", tmp_path / "race", "--race")
    assert "paused at step 3" in said.stderr
    assert "of the steps of the full study" in said.stderr
    race = json.loads((tmp_path / "race" / "race.json").read_text())
    winners = race["settings"][0]["winners"]
    assert winners
    told = json.loads((tmp_path / "race" / "ranking.json").read_text())["race"]
    assert told == race
    assert '<section id="race">' in (tmp_path / "race" / "report.html").read_text()
    with open(tmp_path / "race" / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["status"].partition(" at ")[0] for row in rows} <= {"done", "stopped"}
    finished = [row["id"] for row in rows if row["status"] == "done"]
    assert len(finished) >= 2
    for trial in finished:
        expected, found = (
            read_tensors(tmp_path / out / "trials" / trial / "checkpoints" / "last")
            for out in ("whole", "race")
        )
        assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("words", [["--slurm"], ["--trial", "0123456789ab"]])
def test_benchmark__refuses_a_race_whose_trials_run_apart(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "paper", "--race", *words]) == 2
    assert f"--race decides while trials run, which {words[0]} leaves to others" in capsys.readouterr().err
