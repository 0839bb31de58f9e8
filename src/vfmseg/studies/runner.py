"""Trials in, run folders out, on this machine: what is missing is run, what failed is a row, what is done stays done."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vfmseg.errors import StudyError
from vfmseg.runs.recipe_reader import recipe_tree
from vfmseg.studies.clock import Clock
from vfmseg.studies.folder import FAILURE, RESULT, TRIAL, TRIALS, is_scored, read_json, trial_folder
from vfmseg.studies.lanes import Lane
from vfmseg.studies.shared_features import FeaturePlan
from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import PREPARED, Trial
from vfmseg.studies.worker import Job, Outcome

Say = Callable[[str], None]
_CHECKPOINT = "checkpoints/best/model.safetensors"
_MOST_SAID = 10
"""Damaged trials that have a line each."""


@dataclass
class Tally:
    """What a run of the study came to."""

    done: list[str] = field(default_factory=list)
    """Ids of the trials finished now."""
    before: list[str] = field(default_factory=list)
    """Ids of those that were finished already."""
    failed: dict[str, str] = field(default_factory=dict)
    """Id -> what went wrong, earlier failures that were not tried again included."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Id of a trial that was finished -> which file of it is damaged, and how to have it run again."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Id -> which other process runs it."""
    waiting: list[str] = field(default_factory=list)
    """Ids of those that the budget, or a stop, left for later."""
    stopped: dict[str, int] = field(default_factory=dict)
    """Id -> the step at which a race stopped it."""
    seconds: float = 0.0
    """Of trials that ran now to their end, or to where a race paused them."""
    saved_seconds: float = 0.0
    """What these would have taken more now, had each computed all features of its frozen encoder itself."""


def open_results(study: Study, folder: Path) -> None:
    """Make the folder of results, or see that it is this study's.

    Raises:
        StudyError: it holds the results of another study, or something else.
        ResourceError: it cannot be written.
    """
    from vfmseg.runs.folder import make_writable, write_json
    from vfmseg.studies.folder import STUDY

    known = read_json(folder / STUDY)
    if known is None and (one := next((folder / TRIALS).glob(f"*/{TRIAL}"), None)) is not None:
        known = {"name": (read_json(one) or {}).get("study")}  # study.json was deleted, as it was damaged
    if known is None and folder.is_dir() and any(folder.iterdir()):
        raise StudyError(f"{folder} is not empty and holds no study. Write elsewhere: --out DIR.")
    if known is not None and known["name"] != study.name:
        raise StudyError(
            f"{folder} holds the results of the study {known['name']!r}, not of {study.name!r}. Write elsewhere "
            f"(--out DIR), or give the study the name {known['name']!r} if it is the same with changes."
        )
    make_writable(folder)
    about = {"name": study.name, "source": study.source, "axes": list(study.axes), "ranked": study.ranked}
    if known != about:  # tasks of one array that begin at once leave it alone
        write_json(folder / STUDY, about)


def job_of(trial: Trial, study: Study, results: Path) -> Job:
    """Return what a worker needs of a trial; weights from a preparation become the path of its checkpoint."""
    assert trial.recipe is not None
    tree = recipe_tree(trial.recipe)
    if trial.needs is not None:
        path = str((trial_folder(results, trial.needs) / _CHECKPOINT).resolve())
        for section, key in ((tree["encoder"], "weights"), (tree, "init_from")):
            if section[key] == PREPARED + trial.needs:
                section[key] = path
    targets = targets_of(trial, study)
    described = {
        "id": trial.id,
        "study": study.name,
        "levels": dict(trial.levels),
        "prepares": trial.prepares,
        "needs": trial.needs,
    }
    return Job(trial.id, str(trial_folder(results, trial.id).resolve()), tree, targets, described)


def targets_of(trial: Trial, study: Study) -> dict[str, dict[str, Any]]:
    """Return what a trial is scored on beside its own data: nothing, where it is a preparation."""
    return {} if trial.prepares is not None else {name: dict(keys) for name, keys in study.targets.items()}


def what_is_left(
    study: Study, trials: Sequence[Trial], results: Path, *, retry: bool = False
) -> tuple[Tally, list[Trial]]:
    """Return what is done, damaged or failed already, and the trials still to run; those left out are none of it.

    Results are read, not only looked for: of 10,000 trials that takes a tenth of a second more.

    Args:
        study: for its targets.
        trials: as planned.
        results: folder made by :func:`open_results`.
        retry: those that failed are still to run.
    """
    tally = Tally()
    wanted: dict[tuple[str, bool], Trial] = {}
    for trial in trials:
        if not trial.is_left_out:
            # Equal recipes run once, preparations before what needs them; a trial that is one is still to be scored.
            wanted.setdefault((trial.id, trial.prepares is None and bool(study.targets)), trial)
    todo: list[Trial] = []
    for trial in wanted.values():
        folder = trial_folder(results, trial.id)
        try:
            is_finished = read_json(folder / RESULT) is not None and is_scored(
                folder, targets_of(trial, study)
            )
        except StudyError as damaged:  # of one trial among thousands
            tally.damaged[trial.id] = str(damaged)
            continue
        if is_finished:
            tally.before.append(trial.id)
        elif not retry and (folder / FAILURE).is_file():
            tally.failed[trial.id] = "failed before; --retry runs it again"
        else:
            todo.append(trial)
    return tally, todo


def say_damaged(damaged: Mapping[str, str], say: Say) -> None:
    """Say which files are damaged, and how to have their trials run again: a line each, of few trials.

    Args:
        damaged: trial id -> what is said of it.
        say: where lines go.
    """
    for reason in list(damaged.values())[:_MOST_SAID]:
        say(reason)
    if len(damaged) > _MOST_SAID:
        say(f"{len(damaged) - _MOST_SAID} more trials have damaged files: the table names them")


def run_trials(
    study: Study,
    trials: Sequence[Trial],
    results: Path,
    lanes: Sequence[Lane],
    *,
    retry: bool = False,
    say: Say,
) -> Tally:
    """Run every trial that is not done, preparations first, on as many lanes as there are.

    Args:
        study: for its targets and its budget.
        trials: as planned; those left out are passed over.
        results: folder made by :func:`open_results`.
        lanes: where trials run; closed at the end.
        retry: run those again that failed before.
        say: where a line for every trial goes.
    """
    tally, todo = what_is_left(study, trials, results, retry=retry)
    total = len(tally.before) + len(tally.damaged) + len(tally.failed) + len(todo)
    say_damaged(tally.damaged, say)
    if tally.before:
        say(f"{len(tally.before)} of {total} trials are done already")
    if tally.failed:
        say(f"{len(tally.failed)} trials failed before and are left: --retry runs them again")
    clock = Clock(total, len(tally.before), len(todo), len(lanes), study, say)
    features = FeaturePlan(todo, results, study.budget.features_gib)
    try:
        for stage in (
            [trial for trial in todo if trial.prepares is not None],
            [trial for trial in todo if trial.prepares is None],
        ):
            run_stage(stage, study, results, lanes, tally, clock, features)
    finally:
        for lane in lanes:
            lane.close()
    return tally


def run_stage(
    stage: Sequence[Trial],
    study: Study,
    results: Path,
    lanes: Sequence[Lane],
    tally: Tally,
    clock: Clock,
    features: FeaturePlan,
    *,
    pause_at: Mapping[str, int] | None = None,
) -> None:
    """Run trials that do not wait for each other, and note in the tally how they went.

    Args:
        stage: to run.
        study: for its targets.
        results: folder made by :func:`open_results`.
        lanes: where trials run; not closed, but by an exception.
        tally: what went before is looked up there.
        clock: says how it goes, and when nothing more may begin.
        features: says where trials keep those of their frozen encoders.
        pause_at: trial id -> optimiser step whose validation pauses it; it is then in no list of the tally.
    """
    pauses = pause_at or {}
    todo: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in stage:
        todo.put(trial)
    guard = threading.Lock()

    def work(lane: Lane) -> None:
        while True:
            with guard:
                if todo.empty():
                    return
                trial = todo.get()
                if clock.is_over(trial):
                    tally.waiting.append(trial.id)
                    continue
                clock.begin(trial)
            if trial.needs in tally.failed:
                outcome = Outcome("failed", 0.0, f"its preparation {trial.needs} failed")
            elif trial.needs in tally.damaged:
                outcome = Outcome("failed", 0.0, f"its preparation {trial.needs} has a damaged file")
            elif trial.needs in tally.elsewhere:
                outcome = Outcome(
                    "elsewhere", 0.0, f"{tally.elsewhere[trial.needs]}, its preparation {trial.needs}"
                )
            elif trial.needs in tally.waiting:
                outcome = Outcome("stopped", 0.0, f"its preparation {trial.needs} is not done")
            else:
                job = dataclasses.replace(
                    job_of(trial, study, results),
                    features=features.place_of(trial),
                    pause_at=pauses.get(trial.id),
                )
                outcome = lane.run(job)
            with guard:
                _note(trial, outcome, tally)
                if outcome.status not in ("paused", "stopped"):
                    features.leave(trial)
                clock.end(trial, outcome)

    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        try:
            for done in [pool.submit(work, lane) for lane in lanes]:
                done.result()
        except BaseException:
            clock.stop()
            for lane in lanes:
                lane.close()
            raise


def _note(trial: Trial, outcome: Outcome, tally: Tally) -> None:
    if outcome.status in ("done", "paused"):
        tally.seconds += outcome.seconds
        tally.saved_seconds += outcome.saved_seconds
    if outcome.status == "done":
        tally.done.append(trial.id)
    elif outcome.status == "failed":
        tally.failed[trial.id] = outcome.message
    elif outcome.status == "elsewhere":
        tally.elsewhere[trial.id] = outcome.message
    elif outcome.status == "stopped":
        tally.waiting.append(trial.id)
