"""A run that is killed during or after a validation and resumed leaves the files of one that was not, best and report."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import vfmseg
from support.processes import Command
from support.tiny import tiny_recipe
from vfmseg.training.callbacks.history import read_rows
from vfmseg.training.callbacks.pictures import Pictures
from vfmseg.training.module import SegmentationModule


def _kill_itself(owner: type, name: str, is_time: Callable[..., bool]) -> None:
    """Have a method kill the process instead of beginning, if it is time."""
    original = getattr(owner, name)

    def dies(*words: Any, **named: Any) -> Any:
        if is_time(*words):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*words, **named)

    setattr(owner, name, dies)


_VALIDATION = (SegmentationModule, "on_validation_epoch_end")
_KILLS: dict[str, tuple[type, str, Callable[..., bool]]] = {
    "during a validation on the way": (*_VALIDATION, lambda module: module.global_step == 2),
    "during the last validation": (*_VALIDATION, lambda module: module.global_step == 4),
    "before the pictures": (
        Pictures,
        "on_validation_end",
        lambda pictures, trainer, module: trainer.global_step == 4,
    ),
}


def _will_be(killed: str) -> None:
    _kill_itself(*_KILLS[killed])


_OF_THE_CLOCK = ("time_s", "images_per_s", "data_wait_share", "memory_gib", "val/seconds")


def _recipe(validate_every: int) -> dict[str, Any]:
    return tiny_recipe(training={"validate_every": validate_every, "ema": 0.2})


def _run(recipe: dict[str, Any], folder: Path, **settings: Any) -> Path:
    return vfmseg.fit(recipe, out=folder, say=lambda message: None, **settings).folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {every: _run(_recipe(every), tmp_path_factory.mktemp("whole") / "run") for every in (2, 3)}


def _left(folder: Path) -> dict[str, object]:
    """Return what a run has left behind, without what the clock decides."""
    found: dict[str, object] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in ("environment.json", "metrics.csv", "result.json", "trainer.ckpt")
    }
    found["metrics"] = [
        {key: value for key, value in row.items() if key not in _OF_THE_CLOCK}
        for row in read_rows(folder / "metrics.csv")
    ]
    result = json.loads((folder / "result.json").read_text())
    clock = ("seconds", "images_per_s", "peak_memory_gib")
    found["result"] = {key: value for key, value in result.items() if key not in clock}
    return found


@pytest.mark.parametrize(
    ("killed", "validate_every"),
    [
        ("during a validation on the way", 2),
        ("during the last validation", 3),  # which comes after the training
        ("before the pictures", 2),
    ],
)
def test_resume__after_kill_around_a_validation_leaves_the_same_files(
    killed: str, validate_every: int, uninterrupted: dict[int, Path], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(_recipe(validate_every), sort_keys=False))
    folder = tmp_path / "run"
    words = ["fit", "-c", str(tmp_path / "tiny.yaml"), "--out", str(folder), "--no_report"]
    run = Command(words, tmp_path / "said", first=functools.partial(_will_be, killed))
    assert run.wait() == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    _run(_recipe(validate_every), folder, resume=True)
    left, meant = _left(folder), _left(uninterrupted[validate_every])
    assert left.keys() == meant.keys()
    assert [name for name in meant if left[name] != meant[name]] == []
