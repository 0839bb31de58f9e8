"""Runs of two methods, one of them with two seeds, validated and compared on one page, through the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main

_QUIET = {"say": lambda message: None}
_SCENES = {"scenes": {"image_size": [64, 80], "train": 8, "val": 2, "domains": ["day"], "seed": 1}}
_RUNS = {
    "full": {},
    "lora_0": {"tuning": {"method": "lora", "rank": 2}},
    "lora_1": {"tuning": {"method": "lora", "rank": 2}, "seed": 1},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    for name, changes in _RUNS.items():
        recipe = tiny_recipe(**{"data": _SCENES, "training": {"steps": 2}, **changes})
        vfmseg.fit(recipe, out=folder / "runs" / name, **_QUIET)
        words = ["validate", str(folder / "runs" / name), "--out", str(folder / name)]
        targets = [f"{domain}={{scenes: {{domains: [{domain}]}}}}" for domain in ("dusk", "fog")]
        assert main([*words, "--target", targets[0], "--target", targets[1]]) == 0
        if name == "full":
            assert main([*words, "--corruptions", "fog:1"]) == 0
    return folder


def test_report__several_validations_are_compared(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = runs / "page.html"
    assert main(["report", *(str(runs / name) for name in _RUNS), "--out", str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    html = page.read_text(encoding="utf-8")
    assert (
        html.count("data:image/jpeg") == 2 * 2
    )  # of two methods on two targets, the worse of two images each
    assert "2 seeds (0, 1)" in html
    table = [line for line in (runs / "page.md").read_text("utf-8").splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in table[0].strip("|").split("|")] == [
        *("method", "trainable", "total", "checkpoint", "source", "dusk", "fog", "mean", "worst", "gap")
    ]
    full, lora = table[2:4]
    assert full.startswith("| full (vit_tiny_patch16_224 × full × linear) |")
    assert lora.startswith("| lora (vit_tiny_patch16_224 × lora × linear, 2 seeds) |")
    assert "±" in lora
    assert "±" not in full


def test_report__a_model_is_of_the_size_it_was_trained_with(runs: Path) -> None:
    for name in _RUNS:
        model = json.loads((runs / name / "targets.json").read_text())["model"]
        trained = json.loads((runs / "runs" / name / "result.json").read_text())
        assert model["parameters_trainable"] == trained["parameters_trainable"]
        assert model["parameters_total"] == trained["parameters_total"]
        assert model["source"] == trained["best/miou"]


def test_report__a_run_with_its_validation(runs: Path) -> None:
    run = runs / "runs" / "full"
    assert main(["report", str(run), str(runs / "full")]) == 0
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "Domains × methods" in html
    assert "Worst images by domain" in html
    assert main(["report", str(run)]) == 0
    assert "Domains × methods" not in (run / "report.html").read_text(encoding="utf-8")


def test_report__folders_that_cannot_be_compared(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(runs / "full"), str(runs / "full")]) == 2
    assert "is named twice. Name each folder once." in capsys.readouterr().err
    assert main(["report", str(runs / "full"), str(runs)]) == 2
    assert "is no run folder: recipe.yaml is missing" in capsys.readouterr().err
