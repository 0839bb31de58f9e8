"""What a trial leaves in its folder however it ends, and who may run it."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vfmseg.runs.folder import write_json
from vfmseg.runs.shared_features import SharedFeatures
from vfmseg.studies import worker
from vfmseg.studies.folder import read_json
from vfmseg.studies.shared_features import FeaturePlace
from vfmseg.studies.worker import Job, Outcome, run_job
from vfmseg.training.callbacks.stopping import PausedError, StoppedBySignalError

HOLDS = """
import os, sys, time
from pathlib import Path
from vfmseg.studies.worker import _locked
with _locked(Path(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(60)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def job_in(folder: Path) -> Job:
    return Job("one", str(folder), {}, {}, {"id": "one"})


def outcome_of(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> Outcome:
    """Run a job whose training ends at once, with this error."""

    def end(*given: Any) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(worker, "_fit_and_score", end)
    return run_job(job_in(folder))


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "done"), (PausedError("x", 3), "paused"), (StoppedBySignalError("x", 15), "stopped")],
)
def test_job__that_failed_before_and_does_not_now_is_no_failure(
    error: Exception | None, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "failure.json", {"error": "of before"})
    assert outcome_of(tmp_path, monkeypatch, error).status == status
    assert not (tmp_path / "failure.json").exists()


def test_job__that_fails_says_why_and_adds_what_it_has_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt in (1, 2):
        found = outcome_of(tmp_path, monkeypatch, ValueError("broken"))
        assert (found.status, found.message) == ("failed", "ValueError: broken")
        assert (read_json(tmp_path / "failure.json") or {})["error"] == "ValueError: broken"
        assert (read_json(tmp_path / "cost.json") or {})["attempts"] == attempt


@pytest.mark.parametrize("name", ["cost.json", "features.json", "targets/asked.json"])
def test_job__with_a_damaged_file_fails_before_it_trains(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / name).write_text("{")
    found = outcome_of(tmp_path, monkeypatch, AssertionError("trained"))
    assert found.status == "failed"
    assert f"{tmp_path / name} is damaged" in found.message


def test_lock__ends_with_its_process_and_not_with_what_that_has_forked(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, process_group=0
    )
    assert holder.stdout is not None
    try:
        pid = int(holder.stdout.readline())
        assert run_job(job_in(tmp_path)).message.startswith(f"process {pid} on ")
        holder.kill()
        holder.wait()
        with worker._locked(tmp_path) as other:
            assert other is None
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.stdout.close()


def test_job__says_what_features_have_saved_it_now_and_writes_down_the_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saves(job: Job, folder: Path, features: SharedFeatures) -> None:
        features.count.read, features.count.saved_seconds, features.count.ended = 2, 1.5, "enough"

    monkeypatch.setattr(worker, "_fit_and_score", saves)
    place = FeaturePlace(
        str(tmp_path / "features" / "one"), str(tmp_path / "features"), 1.0, keeps_training=True
    )
    for attempt in (1, 2):
        found = run_job(dataclasses.replace(job_in(tmp_path / "trial"), features=place))
        assert (found.status, found.saved_seconds) == ("done", 1.5)
        written = read_json(tmp_path / "trial" / "features.json") or {}
        assert (written["read"], written["saved_seconds"]) == (2 * attempt, 1.5 * attempt)
        assert written["ended"] == "enough"
