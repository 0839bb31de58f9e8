"""A checkpoint and data in, scores out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from vfmseg.data.class_match import ClassMatch
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.metrics.reliability import Reliability
from vfmseg.models.checkpoint import CheckpointHeader, find_model_file, read_header
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.assemble import (
    Say,
    build_criterion,
    build_data,
    build_module,
    open_split,
)
from vfmseg.runs.fit import say_on_stderr
from vfmseg.runs.folder import RECIPE_FILE, make_writable, write_json
from vfmseg.runs.machine import Machine, build_trainer, process_given_back, settle_machine
from vfmseg.runs.model_facts import model_facts
from vfmseg.runs.recipe import LoadedRecipe, Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree
from vfmseg.runs.reliability import (
    AskedReliability,
    ReliabilityQuestion,
    ask_reliability,
    warning_of,
    write_reliability,
)
from vfmseg.runs.restore import model_recipe, recipe_of, restore
from vfmseg.runs.resume import differences
from vfmseg.runs.start_weights import build_published, is_published
from vfmseg.runs.windows_recipe import said_of_view, view_row
from vfmseg.tasks.base import Scores
from vfmseg.tasks.matched import MatchedSemanticTask
from vfmseg.tasks.reliability import JudgedScores
from vfmseg.tasks.semantic import SemanticTask
from vfmseg.training.callbacks.pictures import ExtremePictures
from vfmseg.training.callbacks.stopping import signals_given_back
from vfmseg.training.corrupted import Corrupted, Corruption
from vfmseg.transforms.averaged_views import AveragedViews, refuse_other_tasks
from vfmseg.transforms.sliding_window import View
from vfmseg.types import LabelSpace


@dataclass(frozen=True)
class ValidationRun:
    """What a validation found."""

    scores: Scores
    baseline: dict[str, float]
    """What a trivial prediction would score, by name."""
    seconds: float
    unscored: list[str]
    """Images without anything labelled."""
    result: dict[str, Any]
    """Flat row, as in result.json."""
    reliability: Reliability | None = None
    """How far confidence can be believed; None where it was not asked."""


@process_given_back()
@signals_given_back()
def validate(
    checkpoint: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe | LoadedRecipe | None = None,
    *,
    out: str | Path | None = None,
    split: str = "val",
    reliability: ReliabilityQuestion | None = None,
    augment: AveragedViews | None = None,
    say: Say = say_on_stderr,
    **overrides: Any,
) -> ValidationRun:
    """Score a checkpoint on data, every image at its original size.

    Args:
        checkpoint: a run folder (its best checkpoint), a checkpoint folder, a model file, a file of the published
            EoMT or benchmark (tue-mps), or a folder or file of transformers' EoMT.
        recipe: whose data is used; by default the checkpoint's own recipe. The model is always the checkpoint's; only
            for a published file it is the recipe's.
        out: where to write ``result.json`` and ``validation.json``; nothing is written without it.
        split: of the data.
        reliability: also judge, in the same pass, how far confidence can be believed; ``reliability.json`` is written.
        augment: test-time augmentation: the variants of each image whose class scores are averaged; task semantic.
        say: where messages go.
        **overrides: recipe values as nested mappings, such as ``data={"path": "elsewhere"}``.

    Raises:
        CheckpointError: no checkpoint, or its classes are not the data's.
        ResourceError: ``out`` cannot be written.
        VfmsegError: whatever else is wrong.
    """
    prepared = prepare(
        checkpoint,
        recipe,
        out=out,
        split=split,
        say=say,
        reliability=reliability,
        augment=augment,
        **overrides,
    )
    return score(prepared, out=out, say=say)


@dataclass(frozen=True)
class Prepared:
    """A model and data that have been found to fit."""

    file: Path
    """Of the checkpoint."""
    header: CheckpointHeader | None
    """None for a published file."""
    chosen: Recipe
    """Whose data and machine are used."""
    own: Recipe
    """What the model is of."""
    machine: Machine
    val: SegmentationDataset
    split: str
    segmenter: Segmenter
    match: ClassMatch | None = None
    """Where the data's classes are not the model's: which of them mean the same."""
    reliability: AskedReliability | None = None
    """What is asked about confidence."""
    augment: AveragedViews | None = None
    """Test-time augmentation."""


def prepare(
    checkpoint: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe | LoadedRecipe | None = None,
    *,
    out: str | Path | None,
    split: str,
    say: Say,
    match: ClassMatch | None = None,
    reliability: ReliabilityQuestion | None = None,
    augment: AveragedViews | None = None,
    **overrides: Any,
) -> Prepared:
    """Open data and load a model for :func:`score`, all that can go wrong first; see :func:`validate`."""
    if out is not None:
        refuse_run_folder(Path(out))
    file = find_model_file(checkpoint)
    header = None if is_published(file) else read_header(file)
    if isinstance(recipe, LoadedRecipe):
        loaded = read_recipe(recipe.recipe, overrides, notes=recipe.notes) if overrides else recipe
    elif recipe is None:
        loaded = recipe_of(file, overrides)
    else:
        loaded = read_recipe(recipe, overrides)
    for note in loaded.notes:
        say(note)
    # a share of the images is for looking on while training; a validation sees all
    trainer_recipe = dataclasses.replace(loaded.recipe.trainer, limit_val_batches=1.0)
    chosen = dataclasses.replace(loaded.recipe, trainer=trainer_recipe)
    own = chosen if header is None else model_recipe(header, file)
    refuse_other_task(own, chosen, file)
    if augment is not None:
        refuse_other_tasks(own.task)
        say(f"validate: test-time augmentation {augment.text}: {len(augment.variants)} views an image")
    for line in (*_unused(chosen, own), *said_of_view(chosen.windows, chosen.data)):
        say(f"validate: {line}")
    machine = settle_machine(chosen, say, trains=False)
    if out is not None and rank_zero_only.rank == 0:
        make_writable(Path(out))
    val = open_split(chosen, split)
    if header is not None and match is None:
        refuse_other_classes(header.label_space, val.label_space, file)
    asked = None if reliability is None else ask_reliability(reliability, own, val)
    step = "published" if header is None else f"step {header.step}"
    say(f"validate: {file} ({step}) on {len(val)} images of {chosen.data.name} ({split})")
    classes = val.label_space if match is None else match.model
    segmenter = restore(file) if header is not None else build_published(own, classes, file, say)
    return Prepared(file, header, chosen, own, machine, val, split, segmenter, match, asked, augment)


def refuse_run_folder(out: Path) -> None:
    """Raise RecipeError where scores would be written over those of a run."""
    if (out / RECIPE_FILE).exists():
        raise RecipeError(
            f"{out} holds a run, whose results would be overwritten. Write elsewhere (--out DIR)."
        )


def refuse_other_task(own: Recipe, chosen: Recipe, file: Path) -> None:
    """Raise RecipeError where data would be read for another task than the model's."""
    if own.task != chosen.task:
        raise RecipeError(
            f"{file} was trained for task {own.task}, but the recipe's task is {chosen.task}. Give a recipe (-c) of task "
            f"{own.task}, or leave it out: a checkpoint knows its own."
        )


def score(
    prepared: Prepared,
    *,
    corruption: Corruption | None = None,
    out: str | Path | None = None,
    say: Say = say_on_stderr,
) -> ValidationRun:
    """Score a prepared model, under a corruption where one is given; write ``out`` as :func:`validate` does."""
    header, chosen, own, val = prepared.header, prepared.chosen, prepared.own, prepared.val
    match = prepared.match
    label_space = val.label_space if match is None else match.model
    criterion = build_criterion(own, val, lambda _: None)
    seen = dataclasses.replace(own, windows=chosen.windows, data=chosen.data)
    module = build_module(seen, prepared.segmenter, criterion, label_space)
    if match is not None:
        matched = MatchedSemanticTask(match)
        matched.view = View(chosen.windows.stride, chosen.data.test_size)
        module.task = matched
    if prepared.augment is not None:
        assert isinstance(module.task, SemanticTask)  # others were refused
        module.task.view = dataclasses.replace(module.task.view, augment=prepared.augment)
    asked = prepared.reliability
    if asked is not None:
        assert isinstance(module.task, SemanticTask)  # others were refused
        module.task = asked.task(module.task, match)
    data = build_data(chosen, None, val if asked is None or asked.marked is None else asked.marked)
    if corruption is not None:
        data.val = Corrupted(data.val, corruption, chosen.seed)
    drawn = [] if out is None else [ExtremePictures(Path(out), val=data.val, label_space=label_space)]
    trainer = build_trainer(chosen, prepared.machine, callbacks=drawn, loggers=[])
    trainer.validate(module, datamodule=data, verbose=False)
    found = module.validation
    assert found is not None
    baseline = module.task.baseline(found.scores)
    result = {
        "checkpoint": str(prepared.file),
        "task": own.task,
        "step": None if header is None else header.step,
        "data": chosen.data.name,
        "split": prepared.split,
        "images": len(val),
        **view_row(chosen.windows, chosen.data),
        **({} if prepared.augment is None else {"augment": prepared.augment.text}),
        **found.scores.row("val"),
        **baseline,
        **({} if match is None else _matched_row(match)),
        "seconds": round(found.seconds, 3),
    }
    reliability = found.scores.reliability if isinstance(found.scores, JudgedScores) else None
    if reliability is not None and (warning := warning_of(reliability)):
        say(f"validate: {warning}")
    if out is not None and rank_zero_only.rank == 0:
        write_json(Path(out) / "result.json", {**result, "model": model_facts(prepared)})
        write_reliability(Path(out), reliability)
    return ValidationRun(found.scores, baseline, found.seconds, found.unscored, result, reliability)


def _matched_row(match: ClassMatch) -> dict[str, Any]:
    return {
        "scored_classes": len(match.shared),
        "left_out_classes": ", ".join(match.left_out),
        "ignored_classes": ", ".join(match.ignored),
    }


def _unused(chosen: Recipe, own: Recipe) -> list[str]:
    """Return what a recipe says of the model that is not so, as the model is always the checkpoint's."""
    found = differences(recipe_tree(own), recipe_tree(chosen))
    return [
        f"the model is the checkpoint's, so {key} is {is_so}, not {asked}"
        for key, is_so, asked in found
        if key.startswith(("encoder.", "decoder.")) and key != "encoder.weights"
    ]


def refuse_other_classes(model: LabelSpace, data: LabelSpace, file: Path) -> None:
    """Raise CheckpointError unless the model's classes are the data's, in the same order."""
    if model.names == data.names:
        return
    missing = [name for name in data.names if name not in model.names]
    extra = [name for name in model.names if name not in data.names]
    order = "" if missing or extra else " The names are the same, but in another order."
    raise CheckpointError(
        f"{file} knows {model.num_classes} classes, the data has {data.num_classes}.{order}\n"
        f"  in the data only: {', '.join(missing) or 'none'}\n"
        f"  in the checkpoint only: {', '.join(extra) or 'none'}\n"
        "For the task semantic, validate --target NAME=PATH maps classes by name. Else map the data's labels to the "
        "checkpoint's classes (names and label_map in data.yaml), or fine-tune on this data first: vfmseg fit "
        "--init_from CHECKPOINT."
    )
