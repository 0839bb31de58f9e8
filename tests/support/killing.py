"""Fits in processes of their own, to be stopped in the middle."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.processes import Command
from vfmseg.training.callbacks.history import read_rows


def fit_until(recipe: Path, folder: Path, step: int) -> Command:
    """Return a fit that runs, and has come to an optimiser step."""
    run = Command(["fit", "-c", recipe, "--out", folder, "--no_report"], folder.with_name("said"))

    def is_there() -> bool:
        rows = read_rows(folder / "metrics.csv")
        return bool(rows) and (rows[-1].get("step") or 0) >= step

    run.wait_for(is_there)
    return run


def kill_at(recipe: Path, folder: Path, step: int) -> None:
    """Kill a fit, and its loader workers, at an optimiser step or soon after."""
    run = fit_until(recipe, folder, step)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not (folder / "result.json").exists()
