"""A recipe in, a finished run folder out."""

from __future__ import annotations

import dataclasses
import functools
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only

from vfmseg.data.mixture import MixedDataset
from vfmseg.errors import CheckpointError, ResourceError
from vfmseg.models.checkpoint import CheckpointHeader
from vfmseg.models.frozen_weights import hash_of_frozen
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.summary import count_parameters
from vfmseg.runs.assemble import (
    Say,
    Splits,
    build_criterion,
    build_data,
    build_model,
    build_module,
    open_splits,
)
from vfmseg.runs.fit_result import result_row
from vfmseg.runs.folder import RECIPE_FILE, TRAINING_IMAGES, begin, prepare, write_json, write_text
from vfmseg.runs.machine import (
    build_loggers,
    build_trainer,
    close_loggers,
    process_given_back,
    refuse_empty_validation,
    settle_machine,
)
from vfmseg.runs.recipe import LoadedRecipe, Recipe, in_steps
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree, recipe_yaml
from vfmseg.runs.resume import OwnRates, find_resume_file, refuse_other_data
from vfmseg.runs.schedule_notes import long_warmup, returning_masks
from vfmseg.runs.shared_features import SharedFeatures, features_shared
from vfmseg.runs.start_weights import start_from
from vfmseg.training.callbacks.average import WeightAverage
from vfmseg.training.callbacks.checkpoints import Checkpoints, restored_step
from vfmseg.training.callbacks.history import History
from vfmseg.training.callbacks.pictures import EXTREMES, Pictures
from vfmseg.training.callbacks.progress import Progress
from vfmseg.training.callbacks.stopping import EarlyStopping, Pause, SaveOnSignal, signals_given_back
from vfmseg.training.module import SegmentationModule
from vfmseg.training.schedule import ema_decay


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


@process_given_back()
@signals_given_back()
def fit(
    recipe: str | Path | Mapping[str, Any] | Recipe | LoadedRecipe | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    pause_at: int | None = None,
    features: SharedFeatures | None = None,
    finished: Callable[[Segmenter, Mapping[str, Any]], None] | None = None,
    say: Say = say_on_stderr,
    **overrides: Any,
) -> Run:
    """Fine-tune a vision foundation model for segmentation.

    Args:
        recipe: a recipe file, mapping or object; with ``resume`` it may be left out, then the run's own is used.
        out: the run folder; by default ``runs/<recipe>_<encoder>``.
        resume: go on with the run in ``out`` from its last checkpoint, exactly as if it had not been stopped.
        overwrite: replace the run in ``out``.
        pause_at: stop with the first validation at or after this optimiser step, to be resumed: nothing of the schedule
            changes, and there is no result yet. The last step is no pause.
        features: where tokens of a frozen encoder are kept and found; no number changes.
        finished: called with the trained segmenter and the row of result.json before that is written; not where the run
            was finished already.
        say: where messages go.
        **overrides: recipe values as nested mappings, such as ``training={"steps": 100}``.

    Raises:
        PausedError: it has come to ``pause_at``.
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
    resume_file = find_resume_file(folder, chosen, say) if resume else None
    written = folder / "result.json"
    if resume_file and written.is_file() and restored_step(resume_file) >= chosen.training.steps:
        say(f"resume: {folder} is finished; more training.steps would extend it")
        return Run(folder, json.loads(written.read_text(encoding="utf-8")))

    splits = open_splits(chosen, say)
    refuse_empty_validation(chosen, machine, len(splits.val))
    if resume_file is not None:
        refuse_other_data(folder, splits.label_space)
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
    module = build_module(chosen, segmenter, criterion, splits.label_space)
    notes = [module.masks.unfinished(chosen.training.steps), long_warmup(module.optimizer_settings)]
    if resume_file is not None:
        before, blocks = read_recipe(folder / RECIPE_FILE).recipe, len(module.masks.starts)
        notes.append(returning_masks(before, chosen, blocks, restored_step(resume_file)))
    for note in filter(None, notes):
        say(note)
    data = build_data(chosen, splits.train, splits.val)
    loggers = build_loggers(chosen, folder)
    if rank_zero_only.rank == 0:
        begin(folder, recipe_yaml(chosen), overwrite=overwrite)
        write_json(folder / "findings.json", _left_out(splits))
        if isinstance(splits.train, MixedDataset):
            write_text(folder / TRAINING_IMAGES, splits.train.listing)
    callbacks = _Callbacks.build(chosen, folder, data.val, module, pause_at)
    if chosen.training.compile:
        segmenter.compile()
    trainer = build_trainer(chosen, machine, callbacks=[*callbacks.all, OwnRates()], loggers=loggers)
    started = time.perf_counter()
    try:
        with features_shared(segmenter, chosen, machine, features, say):
            trainer.fit(module, datamodule=data, ckpt_path=str(resume_file) if resume_file else None)
            if module.validation is None or module.validation.step != trainer.global_step:
                trainer.validate(module, datamodule=data, verbose=False)
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"The GPU has too little memory for data.batch_size {chosen.data.batch_size}: {error}. Halve it (the "
            "effective batch stays the same), or set training.gradient_checkpointing true."
        ) from error
    finally:
        close_loggers(loggers, exit_code=int(trainer.interrupted))
    if callbacks.stopping is not None and callbacks.stopping.reason:
        say(callbacks.stopping.reason)
    if unfinished := module.masks.unfinished(trainer.global_step):
        say(unfinished)
    result = result_row(
        chosen,
        machine,
        module,
        trainer,
        callbacks.history,
        callbacks.checkpoints,
        time.perf_counter() - started,
    )
    if rank_zero_only.rank == 0:
        if finished is not None:
            finished(segmenter, result)
        write_json(folder / "result.json", result)
    return Run(folder, result)


def default_folder(loaded: LoadedRecipe) -> Path:
    """Return ``runs/<recipe>_<encoder>``, with what a path cannot hold replaced."""
    encoder = loaded.recipe.encoder.name.replace("/", "-")
    name = loaded.name if encoder in loaded.name else f"{loaded.name}_{encoder}"
    return Path("runs") / name


def _left_out(splits: Splits) -> list[dict[str, Any]]:
    """Return what the report must say of files that were left out as asked; see ``report.run_folder.Finding``."""
    return [
        {
            "level": "warning",
            "text": f"{len(split.skipped)} {name} files left out, as asked",
            "items": [f"{one.name}: {one.reason}" for one in split.skipped],
        }
        for name, split in (("training", splits.train), ("validation", splits.val))
        if split.skipped
    ]


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
        folder: Path,
        val: Any,
        module: SegmentationModule,
        pause_at: int | None,
    ) -> _Callbacks:
        training, label_space, headline = recipe.training, module.label_space, module.task.headline
        average = WeightAverage(ema_decay(training.ema, training.steps)) if training.ema else None
        tree = recipe_tree(recipe)
        mean, std = (
            tuple(float(v) for v in b.flatten())
            for b in (module.segmenter.encoder.mean, module.segmenter.encoder.std)
        )

        @functools.cache  # at the first checkpoint: a resumed run has its weights by then
        def encoder_hash() -> str | None:
            # What was drawn, or came with init_from, cannot be had again from where the recipe says weights are.
            found_again = recipe.encoder.weights != "random" and not recipe.init_from
            return hash_of_frozen(module.segmenter) if found_again else None

        def describe(step: int, metrics: dict[str, float | None]) -> CheckpointHeader:
            return CheckpointHeader(tree, label_space, mean, std, step, metrics, encoder_hash())

        history = History(
            folder / "metrics.csv",
            every=recipe.trainer.log_every_n_steps,
            images_per_step=training.effective_batch_size,
        )
        checkpoints = Checkpoints(
            folder / "checkpoints",
            every=in_steps(training.checkpoint_every, training.steps),
            headline=headline,
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
            extremes=EXTREMES,
            average=average,
        )
        resume_with = f"vfmseg fit --out {shlex.quote(str(folder))} --resume"
        signals = SaveOnSignal(checkpoints, resume_with=resume_with)
        pause = None if pause_at is None else Pause(pause_at, resume_with=resume_with)
        progress = Progress(history, headline=headline, shown=recipe.trainer.progress)
        order = [average, history, checkpoints, stopping, pictures, progress, signals, pause]
        return cls([one for one in order if one is not None], history, checkpoints, stopping)
