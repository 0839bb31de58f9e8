"""A recipe in, a finished run folder out."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only

from vfmseg.errors import CheckpointError, ResourceError
from vfmseg.metrics.mean_iou import majority_baseline
from vfmseg.models.checkpoint import CheckpointHeader, load_into, read_header, read_tensors, writing
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.summary import count_parameters
from vfmseg.runs.assemble import (
    Say,
    build_criterion,
    build_data,
    build_model,
    build_module,
    open_splits,
)
from vfmseg.runs.folder import RECIPE_FILE, environment, prepare, typed_command, write_json
from vfmseg.runs.machine import Machine, build_loggers, build_trainer, settle_machine
from vfmseg.runs.recipe import LoadedRecipe, Recipe, in_steps
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree, recipe_yaml
from vfmseg.tasks.semantic import HEADLINE
from vfmseg.training.callbacks.average import WeightAverage
from vfmseg.training.callbacks.checkpoints import RESUME_FILE, Checkpoints, restored_step
from vfmseg.training.callbacks.history import History, peak_memory_gib
from vfmseg.training.callbacks.pictures import Pictures
from vfmseg.training.callbacks.progress import Progress
from vfmseg.training.callbacks.stopping import EarlyStopping, SaveOnSignal
from vfmseg.training.module import SegmentationModule
from vfmseg.training.schedule import ema_decay
from vfmseg.types import LabelSpace


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    result: dict[str, Any]
    """The flat row of result.json."""


def say_on_stderr(message: str) -> None:
    """Print a message to the user, once however many processes there are."""
    if rank_zero_only.rank == 0:
        print(message, file=sys.stderr, flush=True)


def fit(
    recipe: str | Path | Mapping[str, Any] | Recipe | LoadedRecipe | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = say_on_stderr,
    **overrides: Any,
) -> Run:
    """Fine-tune a vision foundation model for segmentation.

    Args:
        recipe: a recipe file, mapping or object; with ``resume`` it may be left out, then the run's own is used.
        out: the run folder; by default ``runs/<recipe>_<encoder>``.
        resume: go on with the run in ``out`` from its last checkpoint, exactly as if it had not been stopped.
        overwrite: replace the run in ``out``.
        say: where messages go.
        **overrides: recipe values as nested mappings, such as ``training={"steps": 100}``.

    Raises:
        VfmsegError: whatever is wrong, before work is lost.
    """
    if recipe is None and (out is None or not (Path(out) / RECIPE_FILE).is_file()):
        raise CheckpointError(f"There is no run in {out} to resume. Give a run folder as `out`, or a recipe.")
    source = Path(str(out)) / RECIPE_FILE if recipe is None else recipe
    loaded = source if isinstance(source, LoadedRecipe) else read_recipe(source, overrides)
    if isinstance(source, LoadedRecipe) and overrides:
        loaded = dataclasses.replace(source, recipe=read_recipe(source.recipe, overrides).recipe)
    for note in loaded.notes:
        say(note)
    chosen = loaded.recipe
    folder = Path(out) if out is not None else default_folder(loaded)
    machine = settle_machine(chosen, say)
    if rank_zero_only.rank == 0:
        prepare(folder, resume=resume, overwrite=overwrite)
    resume_file = _resume_file(folder, chosen, say) if resume else None

    splits = open_splits(chosen, say)
    segmenter = build_model(chosen, splits.label_space.num_classes)
    if chosen.init_from and resume_file is None:
        start_from(segmenter, chosen, splits.label_space, say)
    for line in segmenter.encoder.weights_report.lines():
        say(f"encoder: {line}")
    parameters = count_parameters(segmenter)
    say(
        f"model: {chosen.encoder.name} ({chosen.tuning.method}) + {chosen.decoder.name}, "
        f"{parameters.total / 1e6:.2f}M parameters, {parameters.trainable / 1e6:.2f}M learn"
    )
    say(
        f"run: {folder}, {chosen.training.steps} steps of {chosen.data.batch_size} × {machine.num_devices} device(s) × "
        f"{machine.accumulate} accumulated = {chosen.training.effective_batch_size} images, {machine.precision} on "
        f"{machine.accelerator}"
    )
    criterion = build_criterion(chosen, splits.train, say)
    module = build_module(chosen, segmenter, criterion, splits.label_space.names)
    data = build_data(chosen, splits.train, splits.val)
    if rank_zero_only.rank == 0:
        with writing(folder):
            (folder / RECIPE_FILE).write_text(recipe_yaml(chosen), encoding="utf-8")
        write_json(folder / "environment.json", environment(typed_command()))
    callbacks = _Callbacks.build(chosen, machine, folder, splits.val, splits.label_space, segmenter)
    if chosen.training.compile:
        segmenter.compile()
    trainer = build_trainer(chosen, machine, callbacks=callbacks.all, loggers=build_loggers(chosen, folder))
    started = time.perf_counter()
    try:
        trainer.fit(module, datamodule=data, ckpt_path=str(resume_file) if resume_file else None)
        if module.validation is None or module.validation.step != trainer.global_step:
            trainer.validate(module, datamodule=data, verbose=False)
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"The GPU has too little memory for data.batch_size {chosen.data.batch_size}: {error}. Halve it (the "
            "effective batch stays the same), or set training.gradient_checkpointing true."
        ) from error
    if callbacks.stopping is not None and callbacks.stopping.reason:
        say(callbacks.stopping.reason)
    result = _result(chosen, machine, module, trainer, callbacks, segmenter, time.perf_counter() - started)
    if rank_zero_only.rank == 0:
        write_json(folder / "result.json", result)
    return Run(folder, result)


def default_folder(loaded: LoadedRecipe) -> Path:
    """Return ``runs/<recipe>_<encoder>``, with what a path cannot hold replaced."""
    encoder = loaded.recipe.encoder.name.replace("/", "-")
    name = loaded.name if encoder in loaded.name else f"{loaded.name}_{encoder}"
    return Path("runs") / name


def _resume_file(folder: Path, recipe: Recipe, say: Say) -> Path | None:
    """Return what to resume from, after saying what differs; None where the run has not saved yet."""
    if not (folder / RECIPE_FILE).is_file():
        raise CheckpointError(
            f"There is nothing to resume in {folder}: it holds no {RECIPE_FILE}. Leave out --resume."
        )
    before = recipe_tree(read_recipe(folder / RECIPE_FILE).recipe)
    for difference in _differences(before, recipe_tree(recipe)):
        say(f"resume: {difference}")
    resume_file = folder / "checkpoints" / "last" / RESUME_FILE
    if not resume_file.is_file():
        say(f"resume: {folder} has no checkpoint yet; starting from step 0")
        return None
    step = restored_step(resume_file)
    say(f"resume: going on from step {step} of {recipe.training.steps}")
    return resume_file


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, is now {new}")
    return found


def start_from(segmenter: Segmenter, recipe: Recipe, label_space: LabelSpace, say: Say) -> None:
    """Load the weights of ``recipe.init_from``; a class head of other classes is started anew, and said so.

    Raises:
        CheckpointError, WeightsError: no checkpoint there, or it does not fit.
    """
    header, tensors = read_header(recipe.init_from), read_tensors(recipe.init_from)
    layer = f"decoder.{segmenter.decoder.class_layer_name}."
    same = header.label_space.names == label_space.names
    if not (same and recipe.load_class_head):
        reason = "as load_class_head is false" if same else "as its classes are not the data's"
        say(f"init_from: the class head of {recipe.init_from} is not taken ({reason}); it starts anew")
        own = segmenter.state_dict()
        tensors = {key: own[key] if key.startswith(layer) else value for key, value in tensors.items()}
    load_into(segmenter, tensors, source=recipe.init_from)
    say(f"init_from: {len(tensors)} tensors of {recipe.init_from} (step {header.step})")


@dataclass
class _Callbacks:
    """The run's callbacks, in the order in which they must act at a validation."""

    all: list[pl.Callback]
    history: History
    checkpoints: Checkpoints
    stopping: EarlyStopping | None

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        machine: Machine,
        folder: Path,
        val: Any,
        label_space: LabelSpace,
        segmenter: Segmenter,
    ) -> _Callbacks:
        training = recipe.training
        average = WeightAverage(ema_decay(training.ema, training.steps)) if training.ema else None
        tree = recipe_tree(recipe)
        mean, std = (
            tuple(float(v) for v in b.flatten()) for b in (segmenter.encoder.mean, segmenter.encoder.std)
        )

        def describe(step: int, metrics: dict[str, float | None]) -> CheckpointHeader:
            return CheckpointHeader(tree, label_space, mean, std, step, metrics)

        history = History(
            folder / "metrics.csv",
            every=recipe.trainer.log_every_n_steps,
            images_per_step=training.effective_batch_size,
        )
        checkpoints = Checkpoints(
            folder / "checkpoints",
            every=in_steps(training.checkpoint_every, training.steps),
            headline=HEADLINE,
            describe=describe,
            average=average,
        )
        stopping = None
        if training.early_stopping:
            stopping = EarlyStopping(checkpoints, patience=in_steps(training.early_stopping, training.steps))
        pictures = Pictures(
            folder,
            val=val,
            label_space=label_space,
            overlays=training.overlays,
            extremes=6,
            average=average,
        )
        signals = SaveOnSignal(checkpoints, resume_with=f"vfmseg fit --out {folder} --resume")
        progress = Progress(history, headline=HEADLINE, shown=recipe.trainer.progress)
        order = [average, history, checkpoints, stopping, pictures, progress, signals]
        return cls([one for one in order if one is not None], history, checkpoints, stopping)


def _result(
    recipe: Recipe,
    machine: Machine,
    module: SegmentationModule,
    trainer: pl.Trainer,
    callbacks: _Callbacks,
    segmenter: Segmenter,
    seconds: float,
) -> dict[str, Any]:
    """Return the flat row that studies and reports read."""
    assert module.validation is not None
    scores = module.validation.scores
    parameters = count_parameters(segmenter)
    rates = [rate for row in callbacks.history.rows if (rate := row.get("images_per_s")) is not None]
    return {
        "encoder": recipe.encoder.name,
        "tuning": recipe.tuning.method,
        "decoder": recipe.decoder.name,
        "data": recipe.data.name,
        "seed": recipe.seed,
        "steps": trainer.global_step,
        "best_step": callbacks.checkpoints.best_step,
        "best/miou": callbacks.checkpoints.best,
        **scores.row("val"),
        "baseline/majority_miou": majority_baseline(scores.confusion),
        "seconds": round(callbacks.history.seconds_before + seconds, 3),
        "images_per_s": sorted(rates)[len(rates) // 2] if rates else None,
        "peak_memory_gib": round(peak_memory_gib(), 3),
        "parameters_total": parameters.total,
        "parameters_trainable": parameters.trainable,
        "image_size": str(dataclasses.asdict(recipe.encoder)["image_size"]),
        "patch_size": segmenter.encoder.patch_size,
        "precision": machine.precision,
        "accelerator": machine.accelerator,
        "num_devices": machine.num_devices,
    }
