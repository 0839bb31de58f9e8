"""Races of studies: who is paused, stopped and finished, with runs that only write down their scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from vfmseg.errors import StudyError
from vfmseg.runs.folder import write_json
from vfmseg.studies.folder import read_json
from vfmseg.studies.racing import race_trials
from vfmseg.studies.racing_contests import Rules, contests_of
from vfmseg.studies.runner import Tally, open_results
from vfmseg.studies.store import table
from vfmseg.studies.study_file import Study, study_of
from vfmseg.studies.trials import plan
from vfmseg.studies.worker import Job, Outcome

_STEPS = 16
LEVELS = {"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7}


def study_with(levels: dict[str, float] = LEVELS, seeds: int = 2, **changes: Any) -> Study:
    rates = {name: {"training.learning_rate": 1e-3 * (1 + i)} for i, name in enumerate(levels)}
    tree = {
        "base": "configs/scenes_linear_semantic.yaml",
        "keys": {"training.steps": _STEPS, "training.validate_every": 0.125},
        "axes": {"model": rates, "seed": list(range(seeds))},
        **changes,
    }
    return study_of(tree, name="race")


class Writer:
    """A lane on which a run is its scores: a model's level, a little more at each step, and a seed's own error."""

    def __init__(self, study: Study, levels: dict[str, float] = LEVELS, failing: str = "") -> None:
        self.levels, self.failing = levels, failing
        self.jobs: list[tuple[str, int | None]] = []

    def run(self, job: Job) -> Outcome:
        model, seed = job.described["levels"]["model"], int(job.described["levels"]["seed"])
        self.jobs.append((f"{model}{seed}", job.pause_at))
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        if model == self.failing:
            write_json(folder / "failure.json", {"error": "broken"})
            return Outcome("failed", 1.0, "broken")
        end = job.pause_at or _STEPS
        with open(folder / "metrics.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "train/loss", "val/miou"])
            for step in range(1, end + 1):
                score = self.levels[model] + 0.001 * step + 0.01 * (seed - 0.5)
                writer.writerow([step, 1.0, score if step % 2 == 0 else ""])
        if job.pause_at is not None:
            return Outcome("paused", 1.0, f"at step {job.pause_at}", saved_seconds=0.25)
        write_json(folder / "result.json", {"best/miou": 1.0, "val/miou": 1.0})
        return Outcome("done", 1.0, saved_seconds=0.25)

    def close(self) -> None:
        """Nothing runs."""


def race(study: Study, results: Path, lane: Writer, **options: Any) -> tuple[Tally, Any, list[str]]:
    said: list[str] = []
    open_results(study, results)
    tally, contests = race_trials(study, plan(study), results, [lane], say=said.append, **options)
    return tally, contests, said


def test_race__stops_models_for_all_their_seeds_and_finishes_the_others(tmp_path: Path) -> None:
    study = study_with()
    lane = Writer(study)
    tally, (contest,), said = race(study, tmp_path / "out", lane)
    everyone = [f"{model}{seed}" for model in "abcd" for seed in (0, 1)]
    assert lane.jobs[:8] == [(one, 2) for one in everyone]
    # a half of four is kept at the first rung, one of two at the second, and that one is paused no more
    assert lane.jobs[8:] == [
        ("c0", 4),
        ("c1", 4),
        ("d0", 4),
        ("d1", 4),
        ("d0", 8),
        ("d1", 8),
        ("d0", None),
        ("d1", None),
    ]
    assert contest.stopped_at == {"b": 2, "a": 2, "c": 4}
    assert contest.winners == ("d",)
    assert contest.cost_share == pytest.approx((2 + 2 + 4 + 16) / 64)
    assert len(tally.done) == 2
    assert sorted(tally.stopped.values()) == [2, 2, 2, 2, 4, 4]
    assert said[-1] == "race: may be the best: d; 38% of the steps of the full study"


def test_race__rows_say_where_a_trial_was_stopped(tmp_path: Path) -> None:
    study = study_with()
    race(study, tmp_path / "out", Writer(study))
    rows = table(study, plan(study), tmp_path / "out")
    assert [row["status"] for row in rows] == ["stopped at 2"] * 4 + ["stopped at 4"] * 2 + ["done"] * 2
    assert rows[0]["val/miou"] == pytest.approx(0.1 + 0.002 - 0.005)
    assert rows[0]["reason"] == "left the race: surely not among the models kept"
    written = read_json(tmp_path / "out" / "race.json")
    assert written is not None
    assert sorted(written["trials"]) == sorted(row["id"] for row in rows)
    (setting,) = written["settings"]
    assert setting["rungs"][0] == {"share": 0.125, "survivors": ["d", "c"], "out": ["b", "a"]}
    assert setting["winners"] == ["d"]


def test_race__typed_again_runs_nothing_and_says_the_same(tmp_path: Path) -> None:
    study = study_with()
    _, (first,), _ = race(study, tmp_path / "out", Writer(study))
    lane = Writer(study)
    tally, (again,), _ = race(study, tmp_path / "out", lane)
    assert lane.jobs == []
    assert (again.stopped_at, again.winners, again.cost_share) == (
        first.stopped_at,
        first.winners,
        first.cost_share,
    )
    assert len(tally.before) == 2
    assert len(tally.stopped) == 6


def test_race__stops_nobody_who_may_be_among_the_kept(tmp_path: Path) -> None:
    near = {"a": 0.5, "b": 0.501, "c": 0.502, "d": 0.503}
    study = study_with(near)
    tally, (contest,), said = race(study, tmp_path / "out", Writer(study, near))
    assert not tally.stopped
    assert len(tally.done) == 8
    assert set(contest.winners) == set("abcd")
    assert contest.cost_share == 1
    assert said.count("race, 0.125 of the steps: nobody can be stopped yet; in the race: a, b, c, d") == 1


def test_race__a_model_that_failed_is_not_judged(tmp_path: Path) -> None:
    study = study_with()
    tally, (contest,), _ = race(study, tmp_path / "out", Writer(study, failing="d"))
    assert set(tally.failed.values()) == {"broken"}
    assert contest.rungs[0]["out"] == ("a",)  # two of three are kept
    assert contest.winners == ("c",)


def test_race__ends_with_the_budget_and_goes_on(tmp_path: Path) -> None:
    study = study_with(budget={"trials": 5})
    lane = Writer(study)
    tally, (contest,), said = race(study, tmp_path / "out", lane)
    assert len(lane.jobs) == 5
    assert contest.rungs == []
    assert len(tally.waiting) == 8
    assert said[-1] == "the race is not over: type the same command again"
    after = study_with()
    tally, (contest,), _ = race(after, tmp_path / "out", lane)
    assert lane.jobs[5:8] == [("c1", 2), ("d0", 2), ("d1", 2)]
    assert contest.winners == ("d",)


def test_race__counts_a_trial_once_in_its_budget_and_all_its_parts_in_its_time(tmp_path: Path) -> None:
    study = study_with(budget={"trials": 8})
    lane = Writer(study)
    tally, (contest,), _ = race(study, tmp_path / "out", lane)
    assert contest.winners == ("d",)
    assert not tally.waiting
    assert tally.seconds == len(lane.jobs)
    assert tally.saved_seconds == 0.25 * len(lane.jobs)


def test_race__each_setting_has_its_own(tmp_path: Path) -> None:
    axes = {
        "model": {"a": {}, "b": {"training.learning_rate": 2e-3}},
        "tuning.method": ["full", "frozen"],
        "seed": [0, 1],
    }
    study = study_with(axes=axes)
    assert [(one.setting, list(one.runs)) for one in contests_of(study, plan(study))] == [
        ("full", ["a", "b"]),
        ("frozen", ["a", "b"]),
    ]


def test_race__refuses_what_it_cannot_judge(tmp_path: Path) -> None:
    single = study_with(seeds=1)
    with pytest.raises(StudyError, match=r"has one seed.*leave --race out"):
        race(single, tmp_path / "one", Writer(single))
    rates = {name: {"training.learning_rate": rate} for name, rate in (("a", 1e-3), ("b", 2e-3))}
    for seeds, counts in ((2, "1 or 2"), (3, "2 or 3")):
        skip = [{"when": {"model": "b", "tuning.method": "frozen", "seed": 0}, "reason": "no time"}]
        axes = {"model": rates, "tuning.method": ["full", "frozen"], "seed": list(range(seeds))}
        uneven = study_with(axes=axes, skip=skip)
        with pytest.raises(StudyError, match=rf"leaves models of frozen {counts} seeds.*leave --race out"):
            race(uneven, tmp_path / f"uneven {seeds}", Writer(uneven))
    late = study_with(keys={"training.steps": _STEPS, "training.validate_every": 1.0})
    with pytest.raises(StudyError, match=r"not validated before its end.*validate_every 0\.125"):
        race(late, tmp_path / "late", Writer(late), rules=Rules())
