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
from vfmseg.report.reliability import Reliability, parse_reliability, read_reliability
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
    seen: str
    """How, where not as by default: ``"test-time augmentation flip, windows at a stride of 341"``."""
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
    seen: str
    """As of :class:`TargetRecord`."""
    reliability: Mapping[tuple[str, int], Reliability]
    """Kind and severity -> how far confidence can be believed; ``("", 0)`` is without corruption. Empty where it was not
    asked."""


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
    targets, corruptions, alone = (read_object(folder / name) for name in (TARGETS, CORRUPTIONS, RESULT))
    found: dict[str, TargetRecord] = {}
    models = {}
    if targets is not None:
        models[TARGETS] = _model(folder / TARGETS, targets)
        found = _targets(folder, targets, models[TARGETS].measure)
    if corruptions is not None:
        models[CORRUPTIONS] = _model(folder / CORRUPTIONS, corruptions)
    if alone is not None:
        models[RESULT] = _model(folder / RESULT, alone)
        if (name := _name_alone(alone)) in found:
            raise CheckpointError(
                f"{str(folder)!r} holds {RESULT} of {name}, and a target of that name in {TARGETS}. Validate again, with "
                "and without targets with an --out of its own, or name the target differently."
            )
        found[name] = _target(folder / RESULT, folder, alone, models[RESULT].measure)
    names, facts = list(models), list(models.values())
    for name, other in models.items():
        if facts[0].identity != other.identity:
            raise CheckpointError(
                f"{str(folder)!r} holds {names[0]} of {facts[0].checkpoint} and {name} of {other.checkpoint}, which "
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
        data=_data(row),
        split=row["split"],
        images=row["images"],
        scored=_scored(row),
        seen=_seen(row),
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


def _data(row: Mapping[str, Any]) -> str:
    """Return the name of the data; halved labels are other data."""
    return f"{row['data']}, halved" if row.get("test_halved") else str(row["data"])


def _seen(row: Mapping[str, Any]) -> str:
    """Return how images were seen, empty where as by default."""
    said = {
        "augment": "test-time augmentation {}",
        "window_stride": "windows at a stride of {}",
        "test_size": "images scaled to fit {}",
    }
    return ", ".join(text.format(row[key]) for key, text in said.items() if row.get(key) is not None)


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
        what = (_data(content), content["split"], content["images"])
        judged = _judged(content.get("reliability"))
        return CorruptionRecord(content["clean"], scores, what, _seen(content), judged)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise unreadable(path, f"it is not of the form that `vfmseg validate` writes ({error!r})") from error


def _judged(content: Mapping[str, Any] | None) -> dict[tuple[str, int], Reliability]:
    if content is None:
        return {}
    found = {("", 0): parse_reliability(content["clean"])}
    for kind, of_kind in content["corruptions"].items():
        found |= {(kind, int(severity)): parse_reliability(one) for severity, one in of_kind.items()}
    return found
