"""Which trials of a study are still to run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.tiny import tiny_recipe
from vfmseg.errors import ResourceError, StudyError
from vfmseg.studies.lanes import Lane
from vfmseg.studies.runner import job_of, open_results, run_trials, say_damaged, what_is_left
from vfmseg.studies.study_file import Study, study_of
from vfmseg.studies.trials import plan
from vfmseg.studies.worker import Job, Outcome


class PlayedLane:
    """Ends every trial as the test says, and remembers them."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome, self.jobs = outcome, list[Job]()

    def run(self, job: Job) -> Outcome:
        self.jobs.append(job)
        return self.outcome

    def close(self) -> None:
        pass


def study(folder: Path, **changes: Any) -> Study:
    (folder / "base.yaml").write_text(yaml.safe_dump(tiny_recipe()))
    tree = {
        "base": str(folder / "base.yaml"),
        "prepare": {"first": {}},
        "axes": {"start": {"random": {}, "first": {"encoder.weights": "prepared:first"}}},
    }
    return study_of(tree | changes, name="tiny")


@pytest.mark.parametrize(
    ("targets", "kinds"),
    [({}, ["first", None]), ({"dusk": {"scenes": {"domains": ["dusk"]}}}, ["first", None, None])],
)
def test_left__a_preparation_that_equals_a_trial_comes_first(
    targets: dict[str, Any], kinds: list[str | None], tmp_path: Path
) -> None:
    one = study(tmp_path, targets=targets)
    trials = plan(one)
    assert trials[0].id == trials[1].id
    tally, todo = what_is_left(one, trials, tmp_path)
    assert not tally.before
    assert [trial.prepares for trial in todo] == kinds
    assert [bool(job_of(trial, one, tmp_path).targets) for trial in todo] == [
        False,
        *[bool(targets)] * (len(todo) - 1),
    ]


@pytest.mark.parametrize(
    ("status", "becomes"), [("elsewhere", "elsewhere"), ("stopped", "waiting"), ("failed", "failed")]
)
def test_run__nothing_starts_from_a_preparation_that_is_not_done(
    status: Any, becomes: str, tmp_path: Path
) -> None:
    one = study(tmp_path)
    trials = plan(one)
    lane = PlayedLane(Outcome(status, 0.0, "process 7 on box"))
    lanes: list[Lane] = [lane]
    tally = run_trials(one, trials, tmp_path, lanes, say=lambda line: None)
    assert [job.id for job in lane.jobs] == [trials[0].id]
    assert list(getattr(tally, becomes)) == [trials[0].id, trials[2].id]


def test_results__a_damaged_study_json_costs_no_trial(tmp_path: Path) -> None:
    one, results = study(tmp_path), tmp_path / "results"
    trial = results / "trials" / "0a"
    trial.mkdir(parents=True)
    (trial / "trial.json").write_text('{"id": "0a", "study": "tiny"}')
    (results / "study.json").write_text('{"name": "ti')
    with pytest.raises(StudyError, match=r"study.json is damaged .* Delete this file alone, and type"):
        open_results(one, results)
    (results / "study.json").unlink()
    with pytest.raises(StudyError, match="holds the results of the study 'tiny', not of 'other'"):
        open_results(dataclasses.replace(one, name="other"), results)
    open_results(one, results)
    assert (results / "study.json").is_file()


def test_results__at_a_file(tmp_path: Path) -> None:
    one = study(tmp_path)
    with pytest.raises(ResourceError, match=r"base.yaml.* could not be written: .* Choose another --out"):
        open_results(one, tmp_path / "base.yaml")


def test_run__nothing_starts_from_a_preparation_with_a_damaged_file(tmp_path: Path) -> None:
    one = study(tmp_path)
    trials = plan(one)
    finish(tmp_path, trials[0].id, "{")
    lane = PlayedLane(Outcome("done", 1.0))
    lanes: list[Lane] = [lane]
    tally = run_trials(one, trials, tmp_path, lanes, say=lambda line: None)
    assert not lane.jobs
    assert tally.failed == {trials[2].id: f"its preparation {trials[0].id} has a damaged file"}


def finish(results: Path, trial_id: str, text: str = '{"best/miou": 0.5}') -> Path:
    file = results / "trials" / trial_id / "result.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize("text", ["", '{"best/miou": 0.', "[]"])
def test_left__a_damaged_result_is_neither_done_nor_to_do_and_is_said(text: str, tmp_path: Path) -> None:
    one = study(tmp_path, prepare={}, axes={"seed": [0, 1, 2], "tuning.method": ["full"]})
    trials = plan(one)
    file = finish(tmp_path, trials[0].id, text)
    finish(tmp_path, trials[1].id)
    lane, said = PlayedLane(Outcome("done", 1.0)), list[str]()
    lanes: list[Lane] = [lane]
    tally = run_trials(one, trials, tmp_path, lanes, say=said.append)
    assert list(tally.damaged) == [trials[0].id]
    assert (tally.before, [job.id for job in lane.jobs]) == ([trials[1].id], [trials[2].id])
    assert said[0].startswith(f"{file} is damaged (")
    assert said[0].endswith(f"Delete the trial's folder {file.parent} to have it run again.")
    assert said[-1].startswith("[2/3] ")


def test_left__a_damaged_list_of_targets_is_said(tmp_path: Path) -> None:
    one = study(
        tmp_path,
        prepare={},
        axes={"seed": [0, 1], "tuning.method": ["full"]},
        targets={"dusk": {"split": "val"}},
    )
    trials = plan(one)
    asked = finish(tmp_path, trials[0].id).parent / "targets" / "asked.json"
    asked.parent.mkdir()
    asked.write_text("{")
    tally, todo = what_is_left(one, trials, tmp_path)
    assert f"{asked} is damaged" in tally.damaged[trials[0].id]
    assert [trial.id for trial in todo] == [trials[1].id]


def test_damaged__of_many_the_first_have_a_line(tmp_path: Path) -> None:
    said: list[str] = []
    say_damaged({str(n): f"{n} is damaged" for n in range(12)}, said.append)
    assert said[:2] == ["0 is damaged", "1 is damaged"]
    assert said[10:] == ["2 more trials have damaged files: the table names them"]
