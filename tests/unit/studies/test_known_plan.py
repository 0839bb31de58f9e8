"""A plan is made once; it is made anew when anything that it was made from has changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.tiny import tiny_recipe
from vfmseg.errors import StudyError
from vfmseg.studies import known_plan
from vfmseg.studies.folder import STUDY
from vfmseg.studies.known_plan import fingerprint, planned
from vfmseg.studies.plan_file import PLAN, read_plan, write_plan
from vfmseg.studies.study_file import Study, study_of, with_overrides


def study(folder: Path, **changes: Any) -> Study:
    (folder / "base.yaml").write_text(json.dumps(tiny_recipe()))
    tree: dict[str, Any] = {
        "base": str(folder / "base.yaml"),
        "prepare": {"first": {"keys": {"training.steps": 2}}},
        "axes": {
            "start": {"random": {}, "first": {"encoder.weights": "prepared:first"}},
            "length": {"short": {}, "long": {"training.steps": 8}},
        },
        "skip": [{"when": {"length": "long", "start": "first"}, "reason": "not asked"}],
    }
    return study_of(tree | changes, name="tiny")


def test_plan__is_read_back_with_the_same_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = study(tmp_path)
    trials, made_from = planned(made, tmp_path)
    assert made_from
    write_plan(made, trials, tmp_path, fingerprint=made_from)
    with monkeypatch.context() as patch:
        patch.setattr(known_plan, "plan", lambda study: pytest.fail("planned anew"))
        again, to_write = planned(made, tmp_path)
    assert to_write is None
    assert again == trials
    assert [trial.recipe for trial in again] == [trial.recipe for trial in trials]
    assert [trial.is_left_out for trial in again] == [False, False, False, False, True]


def test_image_groups__are_written_and_change_no_trial(tmp_path: Path) -> None:
    trials, made_from = planned(study(tmp_path), tmp_path)
    write_plan(study(tmp_path), trials, tmp_path, fingerprint=made_from or "")
    grouped = study(tmp_path, image_groups="^([a-z]+)_")
    again, to_write = planned(grouped, tmp_path)
    assert [trial.id for trial in again] == [trial.id for trial in trials]
    write_plan(grouped, again, tmp_path, fingerprint=to_write or "")
    (tmp_path / STUDY).write_text('{"name": "tiny"}')
    assert read_plan(tmp_path).image_groups == "^([a-z]+)_"


def test_plan__is_made_anew_after_any_change(tmp_path: Path) -> None:
    made = study(tmp_path)
    trials, made_from = planned(made, tmp_path)
    write_plan(made, trials, tmp_path, fingerprint=made_from or "")
    assert planned(with_overrides(made, {"training.steps": 3}), tmp_path)[1]
    assert planned(study(tmp_path, keys={"training.steps": 3}), tmp_path)[1]
    assert planned(study(tmp_path, budget={"trials": 3}), tmp_path)[1]
    (tmp_path / "base.yaml").write_text(json.dumps(tiny_recipe(training={"steps": 5})))
    assert planned(made, tmp_path)[1] not in (None, made_from)
    (tmp_path / PLAN).write_text('{"name": "ti')
    assert planned(made, tmp_path)[1]
    assert (
        fingerprint(study_of({"base": "gone.yaml", "axes": {"seed": [0, 1], "task": ["semantic"]}}, name="x"))
        == ""
    )


def test_recipe__that_is_another_one_now(tmp_path: Path) -> None:
    made = study(tmp_path)
    trials, made_from = planned(made, tmp_path)
    write_plan(made, trials, tmp_path, fingerprint=made_from or "")
    again, _ = planned(made, tmp_path)
    (tmp_path / "base.yaml").write_text(json.dumps(tiny_recipe(training={"steps": 5})))
    with pytest.raises(
        StudyError, match=rf"Trial {again[1].id} of plan.json is \w+ now: .* Delete plan.json"
    ):
        assert again[1].recipe
