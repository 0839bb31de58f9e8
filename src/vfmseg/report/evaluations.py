"""Turns what ``vfmseg validate --out`` wrote into one record of a model: its facts, targets and corruptions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vfmseg.errors import CheckpointError
from vfmseg.report.files import read_object, unreadable
from vfmseg.report.measures import MEASURES, Measure
from vfmseg.report.reliability import Reliability, read_reliability
from vfmseg.report.run_folder import RECIPE_FILE, RunRecord
from vfmseg.report.validation import ValidationRecord, read_validation
from vfmseg.runs.recipe_id import recipe_id

TARGETS, CORRUPTIONS, RESULT = "targets.json", "corruptions.json", "result.json"


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model that was scored; see ``vfmseg.runs.model_facts``."""

    checkpoint: str
    checkpoint_bytes: int | None
    step: int | None
    task: str
    encoder: str
    tuning: str
    decoder: str
    data: str | None
    """Trained on."""
    seed: int | None
    source: float | None
    """Headline score of the validation that the checkpoint was saved with, 0..1."""
    recipe_id: str
    parameters_total: int | None
    parameters_trainable: int | None
    classes: tuple[str, ...]

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two records of one model have in common, wherever its file lies."""
        trained = (self.recipe_id, self.seed, self.step, self.source)
        return trained if self.step is not None else (*trained, self.checkpoint)

    @property
    def measure(self) -> Measure:
        """The number that the model is judged by."""
        return MEASURES[self.task]


@dataclass(frozen=True, eq=False)
class TargetRecord:
    """How a model fares on one target."""

    score: float | None
    """Headline score in 0..1; None where there was nothing to score."""
    data: str
    split: str
    images: int
    scored: str
    """Over which classes, where not over all: ``"16 classes, without terrain, truck, train"``."""
    folder: Path
    """Of the target, where its pictures lie."""
    validation: ValidationRecord | None
    reliability: Reliability | None

    @property
    def what(self) -> tuple[str, str, int]:
        """What a target of the same name must share to be the same."""
        return (self.data, self.split, self.images)


@dataclass(frozen=True)
class CorruptionRecord:
    """How a model fares under corruptions of one data set."""

    clean: float | None
    scores: Mapping[str, Mapping[int, float | None]]
    """Kind -> severity -> headline score in 0..1."""
    what: tuple[str, str, int]
    """Data set, split and number of images."""


@dataclass(frozen=True, eq=False)
class EvaluationRecord:
    """What one folder says of one model."""

    folder: Path
    model: ModelFacts
    targets: Mapping[str, TargetRecord]
    corruptions: CorruptionRecord | None


def is_evaluation(folder: Path) -> bool:
    """Return whether ``vfmseg validate --out`` wrote into the folder, which is none of a run."""
    return not (folder / RECIPE_FILE).exists() and any(
        (folder / name).is_file() for name in (TARGETS, CORRUPTIONS, RESULT)
    )


def find_evaluations(run_folder: Path) -> list[Path]:
    """Return the evaluations that were written into a run folder, by name."""
    return sorted(folder for folder in run_folder.iterdir() if folder.is_dir() and is_evaluation(folder))


def read_evaluation(folder: Path) -> EvaluationRecord:
    """Read what was measured of a model.

    Raises:
        CheckpointError: a file cannot be read, says not which model it is of, or is of another model than the next.
    """
    targets, corruptions = read_object(folder / TARGETS), read_object(folder / CORRUPTIONS)
    alone = read_object(folder / RESULT) if targets is None and corruptions is None else None
    found: dict[str, TargetRecord] = {}
    models = {}
    if targets is not None:
        models[TARGETS] = _model(folder / TARGETS, targets)
        found = _targets(folder, targets, models[TARGETS].measure)
    if corruptions is not None:
        models[CORRUPTIONS] = _model(folder / CORRUPTIONS, corruptions)
    if alone is not None:
        models[RESULT] = _model(folder / RESULT, alone)
        found = {_name_alone(alone): _target(folder / RESULT, folder, alone, models[RESULT].measure)}
    names, facts = list(models), list(models.values())
    if facts[0].identity != facts[-1].identity:
        raise CheckpointError(
            f"{str(folder)!r} holds {names[0]} of {facts[0].checkpoint} and {names[-1]} of {facts[-1].checkpoint}, which "
            "are not one model. Validate again, each checkpoint with an --out of its own."
        )
    record = None if corruptions is None else _corruptions(folder / CORRUPTIONS, corruptions)
    return EvaluationRecord(folder, facts[0], found, record)


def record_of_run(run: RunRecord) -> EvaluationRecord:
    """Return what a run says of its best checkpoint: its facts, with the score of its own validation as source.

    Raises:
        CheckpointError: the run is not finished.
    """
    if run.result is None:
        raise CheckpointError(
            f"{str(run.folder)!r} cannot be compared: result.json is not there yet, so the run is not finished. If it "
            f"was stopped, go on with `vfmseg fit --out {shlex.quote(str(run.folder))} --resume`."
        )
    file = run.folder / "checkpoints" / "best" / "model.safetensors"
    model = ModelFacts(
        checkpoint=str(file),
        checkpoint_bytes=file.stat().st_size if file.is_file() else None,
        step=run.found("best_step"),
        task=run.task,
        encoder=str(run.setting("encoder.name")),
        tuning=str(run.setting("tuning.method")),
        decoder=str(run.setting("decoder.name")),
        data=run.setting("data.name"),
        seed=run.setting("seed"),
        source=run.found(f"best/{run.measure.key}"),
        recipe_id=recipe_id(run.recipe),
        parameters_total=run.found("parameters_total"),
        parameters_trainable=run.found("parameters_trainable"),
        classes=() if run.validation is None else run.validation.class_names,
    )
    return EvaluationRecord(run.folder, model, {}, None)


def _model(path: Path, content: Mapping[str, Any]) -> ModelFacts:
    facts = content.get("model")
    if not isinstance(facts, dict):
        raise CheckpointError(
            f"{str(path)!r} does not say which model it is of: it lacks 'model'. Write it anew with this version: "
            "`vfmseg validate CHECKPOINT --out DIR`."
        )
    wanted = [one.name for one in fields(ModelFacts)]
    if missing := [name for name in wanted if name not in facts]:
        raise unreadable(path, f"its model lacks {', '.join(map(repr, missing))}", needed=True)
    if facts["task"] not in MEASURES:
        raise unreadable(path, f"its task is {facts['task']!r}, which is none of {', '.join(MEASURES)}")
    known = {name: facts[name] for name in wanted}
    return ModelFacts(**{**known, "classes": tuple(facts["classes"])})


def _targets(folder: Path, content: Mapping[str, Any], measure: Measure) -> dict[str, TargetRecord]:
    path = folder / TARGETS
    rows = content.get("targets")
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise unreadable(path, "its targets are no object of objects", needed=True)
    return {name: _target(path, folder / name, row, measure) for name, row in rows.items()}


def _target(path: Path, folder: Path, row: Mapping[str, Any], measure: Measure) -> TargetRecord:
    key = f"val/{measure.key}"
    if missing := [name for name in (key, "data", "split", "images") if name not in row]:
        raise unreadable(path, f"a target lacks {', '.join(map(repr, missing))}", needed=True)
    if not _is_score(row[key]):
        raise unreadable(path, f"a target's {key} is {row[key]!r}, which is no number", needed=True)
    return TargetRecord(
        score=row[key],
        data=row["data"],
        split=row["split"],
        images=row["images"],
        scored=_scored(row),
        folder=folder,
        validation=read_validation(folder / "validation.json"),
        reliability=read_reliability(folder / "reliability.json"),
    )


def _is_score(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _scored(row: Mapping[str, Any]) -> str:
    if "scored_classes" not in row:
        return ""
    left_out = row.get("left_out_classes")
    return f"{row['scored_classes']} classes{f', without {left_out}' if left_out else ''}"


def _name_alone(row: Mapping[str, Any]) -> str:
    """Return a name for data that was scored without one."""
    split = row.get("split", "val")
    return str(row.get("data")) if split == "val" else f"{row.get('data')} {split}"


def _corruptions(path: Path, content: Mapping[str, Any]) -> CorruptionRecord:
    try:
        scores = {
            kind: {int(severity): score for severity, score in sorted(of_kind.items())}
            for kind, of_kind in content["corruptions"].items()
        }
        wrong = [score for of_kind in scores.values() for score in of_kind.values() if not _is_score(score)]
        if wrong or not _is_score(content["clean"]):
            raise ValueError(f"{[*wrong, content['clean']][0]!r} is no number")
        what = (content["data"], content["split"], content["images"])
        return CorruptionRecord(content["clean"], scores, what)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise unreadable(path, f"it is not of the form that `vfmseg validate` writes ({error!r})") from error
