"""Results of a study as ``vfmseg benchmark`` leaves them, made up, for tests of what is said about them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.processes import Command

Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""Setting -> model -> score of each seed."""


def write_results(
    folder: Path,
    scores: Scores,
    *,
    seconds: Mapping[str, float] | None = None,
    failed: str = "",
    skipped: str = "",
    reference: str = "",
) -> Path:
    """Write a folder of results.

    Args:
        folder: Made here.
        scores: mIoU.
        seconds: Of a trial, by setting or by ``"setting model"``; 100 where neither is given.
        failed: Error of one more trial, of a model ``broken``; none where empty.
        skipped: Reason of one more that is left out; none where empty.
        reference: Setting; the first where empty.
    """
    folder.mkdir(parents=True)
    trials: list[dict[str, Any]] = []

    def add(model: str, setting: str, seed: int, skipped: str | None = None) -> Path:
        number = f"{len(trials):012x}"
        levels = {"model": model, "setting": setting, "seed": str(seed)}
        trials.append({"id": number, "levels": levels, "skipped": skipped, "prepares": None})
        return folder / "trials" / number

    for setting, of in scores.items():
        for model, by_seed in of.items():
            for seed, score in enumerate(by_seed):
                spent = (seconds or {}).get(f"{setting} {model}", (seconds or {}).get(setting, 100.0))
                result = {"task": "semantic", "seed": seed, "best/miou": score, "val/miou": score}
                result |= {"val/iou/sky": score, "val/iou/sea": score, "parameters_total": 1_000_000}
                trial = add(model, setting, seed)
                trial.mkdir(parents=True)
                write(trial / "result.json", result)
                write(trial / "cost.json", {"seconds": spent, "cpu_hours": spent / 3600, "attempts": 1})
                write(trial / "environment.json", {"host": "here", "torch": "2.6"})
                history = "step,time_s,train/loss,val/miou\n5,1,2.0,0.1\n10,2,1.0," + f"{score}\n"
                (trial / "metrics.csv").write_text(history)
    first = next(iter(scores), "default")
    if failed:
        trial = add("broken", first, 0)
        trial.mkdir(parents=True)
        write(trial / "failure.json", {"error": failed, "type": "Error", "host": "here"})
    if skipped:
        add("left", first, 0, skipped)
    axes = ["model", "setting", "seed"]
    about = {"name": "mine", "axes": axes, "ranked": "model"}
    write(folder / "study.json", {**about, "source": "mine.yaml"})
    plan = {**about, "reference": {"setting": reference or first}, "targets": {}, "trials": trials}
    write(folder / "plan.json", plan)
    return folder


def write(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")


def benchmark(*words: object, code: int = 0) -> Command:
    """Run ``vfmseg benchmark`` to its end, trials in a process that it starts, and return what it said.

    Args:
        words: of the command line.
        code: exit status that is expected.
    """
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=os.environ["VFMSEG_CACHE"]))
    command = Command(["benchmark", *words], folder)
    assert command.wait() == code, command.stderr
    return command
