"""Which trials of a study are still to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.tiny import tiny_recipe
from vfmseg.studies.lanes import Lane
from vfmseg.studies.runner import job_of, run_trials, what_is_left
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
