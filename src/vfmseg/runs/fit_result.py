"""A finished run in, the flat row of its result.json out."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightning.pytorch as pl

from vfmseg.models.summary import count_parameters
from vfmseg.runs.machine import Machine
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.windows_recipe import view_row
from vfmseg.training.callbacks.checkpoints import Checkpoints
from vfmseg.training.callbacks.history import History
from vfmseg.training.callbacks.memory import peak_memory_gib
from vfmseg.training.module import SegmentationModule


def result_row(
    recipe: Recipe,
    machine: Machine,
    module: SegmentationModule,
    trainer: pl.Trainer,
    history: History,
    checkpoints: Checkpoints,
    seconds: float,
) -> dict[str, Any]:
    """Return the flat row that studies and reports read: what was trained, how it ended, what it cost.

    Args:
        recipe: of the run.
        machine: that it ran on.
        module: validated at the run's end.
        trainer: at the run's end.
        history: of all its steps.
        checkpoints: the best of them.
        seconds: since the run, or what was resumed of it, began.
    """
    assert module.validation is not None
    scores = module.validation.scores
    parameters = count_parameters(module.segmenter)
    rates = [rate for row in history.rows if (rate := row.get("images_per_s")) is not None]
    return {
        "task": recipe.task,
        "encoder": recipe.encoder.name,
        "tuning": recipe.tuning.method,
        "decoder": recipe.decoder.name,
        "data": recipe.data.name,
        "seed": recipe.seed,
        "steps": trainer.global_step,
        "best_step": checkpoints.best_step,
        module.task.headline.replace("val/", "best/"): checkpoints.best,
        **view_row(recipe.windows, recipe.data),
        **scores.row("val"),
        **module.task.baseline(scores),
        "seconds": round(history.seconds_before + seconds, 3),
        "images_per_s": sorted(rates)[len(rates) // 2] if rates else None,
        "peak_memory_gib": round(peak_memory_gib(), 3),
        "parameters_total": parameters.total,
        "parameters_trainable": parameters.trainable,
        "image_size": str(dataclasses.asdict(recipe.encoder)["image_size"]),
        "patch_size": module.segmenter.encoder.patch_size,
        "precision": machine.precision,
        "accelerator": machine.accelerator,
        "num_devices": machine.num_devices,
    }
