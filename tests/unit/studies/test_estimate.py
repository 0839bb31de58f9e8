"""What trials would take, from arithmetic and from what finished ones took."""

import json
from pathlib import Path
from typing import Any

import pytest

from vfmseg.cli.program import main
from vfmseg.errors import StudyError
from vfmseg.runs.recipe_reader import recipe_yaml
from vfmseg.studies import estimate as module
from vfmseg.studies.estimate import device_tflops, estimate
from vfmseg.studies.study_file import Study, study_of
from vfmseg.studies.trials import Trial, plan

TREE: dict[str, Any] = {
    "base": "configs/scenes_linear_semantic.yaml",
    "axes": {"tuning.method": ["full", "lora", "frozen"], "training.steps": [1000, 4000]},
}


def planned(**changes: Any) -> tuple[Study, tuple[Trial, ...]]:
    study = study_of({**TREE, **changes}, name="mine")
    return study, plan(study)


def test_time__goes_by_steps_and_passes_over_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_SECONDS", 0)
    monkeypatch.setattr(module, "_STEP_SECONDS", 0)
    study, trials = planned()
    slow, fast = estimate(study, trials, None, tflops=1), estimate(study, trials, None, tflops=4)
    full, long_full, lora, _, frozen, _ = (slow[trial.id] for trial in trials)
    assert long_full.hours == pytest.approx(4 * full.hours)
    assert frozen.hours == pytest.approx(full.hours / 3, rel=0.05)  # the decoder learns
    assert full.hours / 2 < lora.hours < 0.8 * full.hours
    assert fast[trials[0].id].hours == pytest.approx(full.hours / 4)
    # ViT-Ti of 4 blocks at 96 x 160 by patches of 8: 240 tokens, about 0.5 G multiply-adds an image
    images = 1000 * 8
    assert full.hours * 3600 == pytest.approx(3 * images * 0.5e9 * 2 / (1e12 * 0.4), rel=0.3)
    assert full.memory_gib > lora.memory_gib > frozen.memory_gib


def test_time__is_that_of_finished_trials_where_there_are_some(tmp_path: Path) -> None:
    study, trials = planned()
    (tmp_path / "trials" / trials[0].id).mkdir(parents=True)
    (tmp_path / "trials" / trials[0].id / "result.json").write_text("{}")
    (tmp_path / "trials" / trials[0].id / "cost.json").write_text(json.dumps({"seconds": 3600.0}))
    found = estimate(study, trials, tmp_path)
    full, long_full, lora, *_ = (found[trial.id] for trial in trials)
    assert full.source == long_full.source == "trials like it"
    assert (full.hours, long_full.hours) == pytest.approx((1, 4))
    assert lora.source == "finished trials"
    assert lora.hours == pytest.approx(2 / 3, rel=0.1)


def test_time__is_that_of_trials_that_the_study_no_longer_has(tmp_path: Path) -> None:
    _, trials = planned(axes={"training.steps": [500]})
    folder = tmp_path / "trials" / trials[0].id
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"peak_memory_gib": 1.25}))
    (folder / "cost.json").write_text(json.dumps({"seconds": 1800.0}))
    assert trials[0].recipe is not None
    (folder / "recipe.yaml").write_text(recipe_yaml(trials[0].recipe))
    study, trials = planned()
    found = estimate(study, trials, tmp_path)
    assert (found[trials[0].id].hours, found[trials[0].id].memory_gib) == pytest.approx((1, 1.25))
    (folder / "cost.json").write_text("{")
    with pytest.raises(StudyError, match=r"cost\.json is damaged"):
        estimate(study, trials, tmp_path)


def test_time__leaves_out_trials_whose_recipe_this_version_does_not_know(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "of-before"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"seconds": 1800.0}')
    (folder / "recipe.yaml").write_text("training: {of_before: 1}")
    study, trials = planned()
    assert estimate(study, trials, tmp_path)[trials[0].id].source == "arithmetic"


def test_passes__of_a_part_that_learns() -> None:
    study, trials = planned(
        axes={"tuning": {"full": {}, "half": {"tuning.method": "partial", "tuning.num_blocks": 2}}}
    )
    full, half = estimate(study, trials, None, tflops=1e-3).values()
    assert full.hours > half.hours > 0.6 * full.hours


def test_rate__of_this_device() -> None:
    assert 1e-3 < device_tflops() < 1e4


def test_dry_run__lists_and_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "mine.yaml"
    skip = [{"when": {"tuning.method": "lora", "training.steps": 4000}, "reason": "dear"}]
    study.write_text(json.dumps({**TREE, "skip": skip}))
    words = ["benchmark", str(study), "--dry-run", "--tflops", "1", "--price_per_hour", "2"]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row.get("left_out") for row in rows] == [None, None, None, "dear", None, None]
    assert rows[0]["price"] == pytest.approx(2 * rows[0]["hours"], abs=0.01)
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "mine: 5 trials, 1 left out, about" in said
    assert "at 2 an hour" in said
    assert "the training steps and --tflops 1, right within" in said
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dry-run", "--tflops", "0"], "--tflops is 0; it must be above 0"),
        (["--dry-run", "--price_per_hour", "inf"], "--price_per_hour is inf; it must be above 0, and finite"),
        (["--price_per_hour", "2"], "--price_per_hour says how --dry-run counts or prints; add --dry-run"),
    ],
)
def test_options__without_meaning(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "quickstart", *words]) == 2
    assert said in capsys.readouterr().err
