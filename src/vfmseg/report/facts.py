"""Turns the record of a run into its title, its headline number, and the facts needed to repeat it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vfmseg.report.evaluation import Evaluation
from vfmseg.report.numbers import compact, duration, millions, percent
from vfmseg.report.run_folder import RunRecord

_VERSIONS = ("vfmseg", "torch", "timm", "transformers", "lightning", "python")


@dataclass(frozen=True)
class Fact:
    """One entry of the key facts."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """The number a run is judged by; shares in 0..1."""

    score: float
    """Of the last validation."""
    step: int | None
    best: float | None
    best_step: int | None
    baseline: float | None = None
    """Score of predicting the most frequent class everywhere, for tasks that have it."""
    majority_class: str = ""
    """That class, or empty where it is unknown."""
    masked: float | None = None
    """Score of the same validation with the attention masks that training still had then."""


def title(run: RunRecord) -> str:
    """Return what was trained: ``"dinov2-b × full × linear"``."""
    parts = ("encoder.name", "tuning.method", "decoder.name")
    words = [str(run.setting(part)) for part in parts if run.setting(part)]
    return " × ".join(words) or run.folder.name


def status(run: RunRecord) -> str:
    """Return ``"finished"``, or how far the run has come."""
    if run.result is not None:
        return "finished"
    planned = run.setting("training.steps")
    done = run.history.last_step if run.history else 0
    return f"unfinished: step {done:,}" + (f" of {planned:,}" if planned else "")


def headline(run: RunRecord, evaluation: Evaluation | None) -> Headline | None:
    """Return the last validation's number with what it compares to; None before the first validation.

    Args:
        run: The run.
        evaluation: Of the validation that validation.json holds, or None.
    """
    key = run.measure.key
    curve = run.history.columns.get(f"val/{key}", ()) if run.history else ()
    score, step = run.found(f"val/{key}"), run.found("steps")
    if score is None and curve:
        step, score = int(curve[-1][0]), curve[-1][1]
    if score is None and evaluation is not None and run.validation is not None:
        score, step = evaluation.score, run.validation.step
    if score is None:
        return None
    best, best_step = run.found(f"best/{key}"), run.found("best_step")
    if best is None and curve:
        highest = max(curve, key=lambda point: point[1])
        best_step, best = int(highest[0]), highest[1]
    baseline, majority = run.found("baseline/majority_miou"), ""
    if evaluation is not None and evaluation.baseline is not None:
        majority = evaluation.baseline.majority_class
        baseline = evaluation.baseline.score if baseline is None else baseline
    masked = dict(run.history.columns.get(f"val_masked/{key}", ())) if run.history else {}
    return Headline(
        score, step, best, best_step, baseline, majority, None if step is None else masked.get(step)
    )


def facts(run: RunRecord) -> list[Fact]:
    """Return what must be known to judge a run and to repeat it; what was not recorded is left out."""
    found = [*_of_recipe(run), *_of_result(run), *_of_machine(run)]
    return [fact for fact in found if fact.value]


def _of_recipe(run: RunRecord) -> Iterator[Fact]:
    size = run.setting("encoder.image_size")
    if isinstance(size, (list, tuple)):
        size = " × ".join(map(str, size))
    patch = run.setting("encoder.patch_size") or run.found("patch_size")
    weights = run.setting("encoder.weights")
    notes = [
        f"image {size}" if size else "",
        f"patch {patch}" if patch else "",
        f"weights {weights}" if weights not in (None, "pretrained") else "",
    ]
    yield Fact("Encoder", _words(run.setting("encoder.name")), ", ".join(filter(None, notes)))
    yield Fact("Tuning", _words(run.setting("tuning.method")))
    yield Fact("Decoder", _words(run.setting("decoder.name")))
    path = run.setting("data.path")
    yield Fact("Data", _words(run.setting("data.name")), Path(str(path)).name if path else "")
    batch = run.setting("training.effective_batch_size") or run.setting("training.batch_size")
    yield Fact("Images a step", _words(batch or run.setting("data.batch_size")))
    rate = run.setting("training.learning_rate")
    yield Fact("Learning rate", compact(float(rate)) if rate else "")


def _of_result(run: RunRecord) -> Iterator[Fact]:
    planned, best = run.setting("training.steps"), run.found("best_step")
    done = _first(run.found("steps"), run.history.last_step if run.history else None)
    of = f" of {planned:,}" if planned and planned != done else ""
    yield Fact("Steps", "" if done is None else f"{done:,}{of}", "" if best is None else f"best at {best:,}")
    seconds = _first(run.found("seconds"), run.history.last_time_s if run.history else None)
    yield Fact("Time", "" if seconds is None else duration(seconds))
    rate = _first(run.found("images_per_s"), run.history.last("images_per_s") if run.history else None)
    yield Fact("Training speed", "" if rate is None else f"{compact(rate)} images/s")
    memory = _first(run.found("peak_memory_gib"), run.history.last("memory_gib") if run.history else None)
    yield Fact("Peak memory", "" if memory is None else f"{memory:.3g}\u00a0GiB")
    trainable, total = run.found("parameters_trainable"), run.found("parameters_total")
    if trainable is not None and total:
        share = f"{percent(trainable / total)} of {millions(total)}"
        yield Fact("Trainable parameters", millions(trainable), share)
    yield Fact("Precision", _words(_first(run.found("precision"), run.setting("training.precision"))))
    yield Fact("Seed", _words(run.setting("seed")))


def _of_machine(run: RunRecord) -> Iterator[Fact]:
    machine = run.environment or {}
    count = run.found("num_devices")
    yield Fact("Device", _words(machine.get("device")), f"× {count}" if count and count > 1 else "")
    yield Fact("Commit", _words(machine.get("commit"))[:10])
    yield Fact("Started", _words(machine.get("started")).replace("T", " ")[:16])
    versions = [f"{name} {machine[name]}" for name in _VERSIONS if machine.get(name)]
    yield Fact("Versions", ", ".join(versions))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _words(value: Any) -> str:
    return "" if value is None else str(value)
