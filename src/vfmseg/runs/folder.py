"""The run folder: what lies where, what may be overwritten, and what is known of the machine."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.models.writing import partial_of, whole_file, writing
from vfmseg.runs.version import vfmseg_version

RECIPE_FILE = "recipe.yaml"
TRAINING_IMAGES = "training_images.txt"
_WRITTEN = (
    RECIPE_FILE,
    "environment.json",
    "metrics.csv",
    "result.json",
    "validation.json",
    "image_counts.npz",
    "findings.json",
    TRAINING_IMAGES,
    "report.html",
    "report.md",
    "classes.csv",
    "confusion.csv",
)
_VERSIONS = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "lightning",
    "numpy",
    "opencv-python-headless",
)


def prepare(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure that a run can be written into the folder; what is in it stays, see :func:`begin`.

    Raises:
        RecipeError: it holds a run already and neither ``resume`` nor ``overwrite`` was asked for, or both were.
        CheckpointError: there is nothing to resume.
        ResourceError: it cannot be written.
    """
    if resume and overwrite:
        raise RecipeError(
            f"Say one of --resume (go on with the run in {folder}) and --overwrite (replace it), not both."
        )
    if resume:
        refuse_without_run(folder)
    if (folder / RECIPE_FILE).exists() and not (resume or overwrite):
        raise RecipeError(
            f"{folder} already holds a run. Go on with it (--resume), replace it (--overwrite), "
            "or write elsewhere (--out DIR)."
        )
    make_writable(folder)


def refuse_without_run(folder: Path) -> None:
    """Raise CheckpointError where there is no run that could be gone on with."""
    if not (folder / RECIPE_FILE).is_file():
        raise CheckpointError(
            f"There is nothing to resume in {folder}: it holds no {RECIPE_FILE}. Leave out --resume."
        )


def make_writable(folder: Path) -> None:
    """Make the folder where it is missing, and try to write into it before any work is done for it.

    Raises:
        ResourceError: it cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = partial_of(folder / "probe")
        try:
            probe.write_bytes(b"0" * 65536)
        finally:
            probe.unlink(missing_ok=True)


def begin(folder: Path, recipe: str, *, overwrite: bool) -> None:
    """Write ``recipe.yaml`` and ``environment.json``, once everything else that may be wrong has been found right.

    Args:
        folder: of the run, made by :func:`prepare`.
        recipe: the resolved recipe as YAML.
        overwrite: remove the run that is there.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with writing(folder):
        if overwrite:
            _clear(folder)
        (folder / "result.json").unlink(missing_ok=True)  # it would say that this run is finished
    write_text(folder / RECIPE_FILE, recipe)
    write_json(folder / "environment.json", environment(typed_command()))


def _clear(folder: Path) -> None:
    """Remove what a run writes, and nothing else that somebody may have put there."""
    import shutil

    for name in ("checkpoints", "predictions", "tensorboard"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in _WRITTEN:
        (folder / name).unlink(missing_ok=True)


def environment(command: str) -> dict[str, Any]:
    """Return what the figures of a run depend on beside its recipe: versions, machine, command, commit."""
    import torch

    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    found["vfmseg"] = vfmseg_version()
    for package in _VERSIONS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found["host"] = socket.gethostname()
    found["cpu_count"] = os.cpu_count()
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    found["command"] = command
    found["commit"] = _commit()
    found["started"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return found


def _commit() -> str | None:
    """Return the commit of the checkout vfmseg runs from, or None where it is not one."""
    checkout = Path(__file__).resolve().parents[3]
    if not (checkout / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def typed_command() -> str:
    """Return the command line as typed, the program by its name only."""
    import shlex

    return shlex.join(
        ["vfmseg" if Path(sys.argv[0]).name in ("vfmseg", "__main__.py") else sys.argv[0], *sys.argv[1:]]
    )


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
