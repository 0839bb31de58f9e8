"""What lies where in a folder of results: the study, and a run folder for every trial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from vfmseg.errors import StudyError

STUDY = "study.json"
TRIALS = "trials"
TRIAL = "trial.json"
RESULT = "result.json"
COST = "cost.json"
SPEED = "speed.json"
"""What inference on one image costs, measured after the fit where it ran."""
FEATURES = "features.json"
"""What a trial with a frozen encoder has read of features that were computed before, and what that has saved."""
FAILURE = "failure.json"
STOPPED = "stopped.json"
"""In a trial's folder: at which step a race stopped it, and its score there."""
RACE = "race.json"
"""What the rungs of a race decided, and what it cost."""
LOG = "log.txt"
TARGETS = "targets"
TARGETS_RESULT = f"{TARGETS}/targets.json"
ASKED = f"{TARGETS}/asked.json"
"""The targets as they were asked for when they were scored."""


def trial_folder(results: Path, trial_id: str) -> Path:
    """Return where a trial's run lies."""
    return results / TRIALS / trial_id


def is_done(folder: Path, targets: Mapping[str, Any]) -> bool:
    """Return whether a trial's result is there, and its scores on these targets."""
    return (folder / RESULT).is_file() and is_scored(folder, targets)


def is_scored(folder: Path, targets: Mapping[str, Any]) -> bool:
    """Return whether a trial's scores on these targets are there."""
    return not targets or read_json(folder / ASKED) == targets


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None where there is no file.

    Raises:
        StudyError: it is damaged.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        remedy = (
            "Delete this file alone, and type the `vfmseg benchmark` of this study again, which writes it anew."
            if path.name == STUDY
            else f"Delete the trial's folder {path.parent} to have it run again."
        )
        raise StudyError(f"{path} is damaged ({error}). {remedy}") from None
    return found
