"""One trial in, its run folder out: fitted or gone on with, scored on the targets, with what it cost or why it failed."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vfmseg.errors import StudyError, VfmsegError
from vfmseg.studies.folder import (
    ASKED,
    COST,
    FAILURE,
    FEATURES,
    LOG,
    RESULT,
    SPEED,
    TARGETS,
    TRIAL,
    is_done,
    read_json,
)

if TYPE_CHECKING:
    from vfmseg.models.segmenter import Segmenter
    from vfmseg.runs.shared_features import SharedFeatures
    from vfmseg.studies.shared_features import FeaturePlace

Status = Literal["done", "paused", "failed", "stopped", "elsewhere"]
_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """What a process needs to know of a trial; it can be sent to another machine."""

    id: str
    folder: str
    recipe: dict[str, Any]
    """The resolved recipe as a tree, weights from a preparation as paths."""
    targets: dict[str, dict[str, Any]]
    """Name -> keys of the recipe's data, and `split`."""
    described: dict[str, Any]
    """Written beside the run as trial.json."""
    features: FeaturePlace | None = None
    """Where features of its frozen encoder are kept; None: nowhere."""
    pause_at: int | None = None
    """Optimiser step whose validation ends the job before its run is done; None: it goes to the end."""


@dataclass(frozen=True)
class Outcome:
    """How it went."""

    status: Status
    seconds: float
    message: str = ""
    """The error, or who else runs it."""
    saved_seconds: float = 0.0
    """What it would have taken more without features that were there."""


def run_job(job: Job) -> Outcome:
    """Run a trial, or what is left of it; what it prints goes to ``log.txt`` in its folder.

    A trial that fails leaves ``failure.json``: nothing is raised but by what stops the whole process.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with _locked(folder) as holder:
        if holder is not None:
            return Outcome("elsewhere", 0.0, holder)
        if damaged := _damaged(folder):
            return Outcome("failed", 0.0, damaged)
        if is_done(folder, job.targets):
            return Outcome("done", 0.0)
        # Imported here, as it is heavy: the driver that sends jobs needs none of it.
        from vfmseg.runs.folder import write_json
        from vfmseg.training.callbacks.stopping import PausedError

        write_json(folder / TRIAL, job.described)
        # a trial that is paused or stopped from here on did not fail
        (folder / FAILURE).unlink(missing_ok=True)
        with _logged(folder / LOG), _costed(folder), _features_counted(job, folder) as features:
            try:
                _fit_and_score(job, folder, features)
            except (KeyboardInterrupt, SystemExit) as stop:
                return Outcome("stopped", time.perf_counter() - started, f"stopped ({stop!r})")
            except PausedError as pause:
                return Outcome(
                    "paused", time.perf_counter() - started, f"at step {pause.step}", _saved_by(features)
                )
            except Exception as error:  # noqa: BLE001 - a row of the table, with its log, and not the end of the study
                if getattr(error, "signal_number", None) is not None:
                    return Outcome("stopped", time.perf_counter() - started, str(error))
                traceback.print_exc()
                message = str(error) if isinstance(error, VfmsegError) else f"{type(error).__name__}: {error}"
                kind = type(error).__name__
                write_json(folder / FAILURE, {"error": message, "type": kind, "host": socket.gethostname()})
                return Outcome("failed", time.perf_counter() - started, message)
    return Outcome("done", time.perf_counter() - started, saved_seconds=_saved_by(features))


def _saved_by(features: SharedFeatures | None) -> float:
    return 0.0 if features is None else features.count.saved_seconds


def _damaged(folder: Path) -> str:
    """Return which file that the trial adds to is damaged, before it has trained for nothing; empty where none is."""
    try:
        for name in (ASKED, COST, FEATURES):
            read_json(folder / name)
    except StudyError as damaged:
        return str(damaged)
    return ""


def begin_worker(environment: Mapping[str, str], parent: int | None) -> None:
    """Prepare a fresh process: its share of the machine, and its end should the driver be killed.

    Args:
        environment: variables to set before torch is loaded.
        parent: process id of the driver; None where somebody else looks after the process.
    """
    os.environ.update(environment)
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process soon after its parent is gone: two drivers must never run the same trial."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _fit_and_score(job: Job, folder: Path, features: SharedFeatures | None) -> None:
    from vfmseg.runs.assemble import open_split
    from vfmseg.runs.fit import fit
    from vfmseg.runs.folder import write_json
    from vfmseg.runs.recipe_reader import read_recipe
    from vfmseg.runs.target import target_of
    from vfmseg.runs.targets import recipe_of_target, validate_targets

    loaded = read_recipe(job.recipe)
    targets = [target_of(name, keys, split="val") for name, keys in job.targets.items()]
    if not (folder / RESULT).is_file():
        for target in targets:  # what is wrong with them is said before anything is trained
            open_split(recipe_of_target(loaded, target), target.split)
        resumes = (folder / "checkpoints" / "last").exists()
        # parts of a sharded model are on other devices
        measure = None if loaded.recipe.trainer.strategy == "fsdp" else functools.partial(_measure, folder)
        fit(
            loaded,
            out=folder,
            resume=resumes,
            overwrite=not resumes,
            pause_at=job.pause_at,
            features=features,
            finished=measure,
            say=_say,
        )
    if targets:
        last = folder / "checkpoints" / "last"
        validate_targets(last, targets, loaded, out=folder / TARGETS, features=features, say=_say)
        write_json(folder / ASKED, job.targets)


def _measure(folder: Path, segmenter: Segmenter, result: Mapping[str, Any]) -> None:
    from vfmseg.runs.folder import write_json
    from vfmseg.studies.speed import measure_speed

    found = measure_speed(segmenter, accelerator=result["accelerator"], precision=result["precision"])
    write_json(folder / SPEED, found)


def _say(message: str) -> None:
    print(message, flush=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[str | None]:
    """Hold the folder for this process; gives None, or who holds it."""
    with open(folder / "lock", "a+", encoding="utf-8") as file:
        try:
            # not flock: loader workers inherit that, and outlive for seconds the process that was killed
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            yield file.read().strip() or "another process"
            return
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield None


@contextlib.contextmanager
def _logged(file: Path) -> Iterator[None]:
    """Have all that this process and its children print go to ``file``, after what is there."""
    sys.stdout.flush(), sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with open(file, "ab", buffering=0) as log:
        os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        for number, copy in enumerate(kept, 1):
            os.dup2(copy, number)
            os.close(copy)


@contextlib.contextmanager
def _costed(folder: Path) -> Iterator[None]:
    """Add what happens inside to ``cost.json``, whether it succeeds or not."""
    from vfmseg.runs.folder import write_json
    from vfmseg.studies.meter import Meter

    meter = Meter()
    try:
        yield
    finally:
        write_json(folder / COST, dataclasses.asdict(meter.stop().added_to(read_json(folder / COST))))


@contextlib.contextmanager
def _features_counted(job: Job, folder: Path) -> Iterator[SharedFeatures | None]:
    """Give where features are kept, and add what came of it to ``features.json``; None where none are kept."""
    if job.features is None:
        yield None
        return
    from vfmseg.runs.folder import write_json
    from vfmseg.runs.shared_features import SharedFeatures
    from vfmseg.studies.shared_features import in_use

    place = job.features
    shared = SharedFeatures(Path(place.folder), Path(place.whole), place.most_gib, place.keeps_training)
    try:
        with in_use(place):
            yield shared
    finally:
        before = read_json(folder / FEATURES) or {}
        found = dataclasses.asdict(shared.count)
        summed = {key: round(before.get(key, 0) + value, 3) for key, value in found.items() if key != "ended"}
        write_json(folder / FEATURES, {**summed, "ended": shared.count.ended})
