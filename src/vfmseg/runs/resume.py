"""A run folder and a recipe in, what the run goes on from out; and what may not change on the way."""

from __future__ import annotations

import pickle
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.models.checkpoint import read_header
from vfmseg.runs.assemble import Say
from vfmseg.runs.folder import RECIPE_FILE, refuse_without_run
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree
from vfmseg.training.callbacks.checkpoints import RESUME_FILE, restored_step
from vfmseg.training.module import SegmentationModule
from vfmseg.types import LabelSpace

_FIXED = ("encoder.", "tuning.", "decoder.", "training.layer_decay")
"""How the keys begin that decide which weights, and groups of weights, a checkpoint holds."""


def find_resume_file(folder: Path, recipe: Recipe, say: Say) -> Path | None:
    """Return what to resume from, after saying what differs; None where the run has not saved yet."""
    refuse_without_run(folder)
    before = recipe_tree(read_recipe(folder / RECIPE_FILE).recipe)
    changed = differences(before, recipe_tree(recipe))
    for key, old, new in changed:
        say(f"resume: {key} was {old}, is now {new}")
    resume_file = folder / "checkpoints" / "last" / RESUME_FILE
    if not resume_file.is_file():
        say(f"resume: {folder} has no checkpoint yet; starting from step 0")
        return None
    fixed = [
        f"{key} was {old}, is now {new}"
        for key, old, new in changed
        if key.startswith(_FIXED) and key != "encoder.weights"
    ]
    if fixed:
        raise RecipeError(
            f"{folder} cannot go on with another model: {'; '.join(fixed)}. Leave that as it was, or start a new run "
            f"from its weights: --init_from {shlex.quote(str(folder))} --out ELSEWHERE, without --resume."
        )
    step = _checked_step(resume_file, folder)
    say(f"resume: going on from step {step} of {recipe.training.steps}")
    return resume_file


def _checked_step(resume_file: Path, folder: Path) -> int:
    """Return the step to go on from, after every byte was checked: torch reads damaged numbers without a word."""
    try:
        with zipfile.ZipFile(resume_file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        return restored_step(resume_file)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{resume_file} is no whole resume file: damaged, cut short or of another kind ({reason}). Remove it to "
            "start this run from step 0 with --resume, or start a new run from its weights: --init_from "
            f"{shlex.quote(str(folder))} --out ELSEWHERE, without --resume."
        ) from None


def refuse_other_data(folder: Path, label_space: LabelSpace) -> None:
    """Raise CheckpointError where the data of a resumed run has other classes than it began with, or they are lost."""
    try:
        before = read_header(folder / "checkpoints" / "last").label_space.names
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} To go on, copy the model file of checkpoints/best there: only its classes are read, and it is "
            "written anew."
        ) from None
    if before != label_space.names:
        raise CheckpointError(
            f"{folder} was started on data with the classes {', '.join(before)}; now they are "
            f"{', '.join(label_space.names)}. Give the data it was started on, or start a new run from its weights: "
            f"--init_from {shlex.quote(str(folder))} --out ELSEWHERE, without --resume."
        )


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, value before, value now) of all that differs between two nested recipes."""
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append((f"{prefix}{key}", old, new))
    return found


class OwnRates(pl.Callback):
    """Has a resumed run learn at its recipe's rates, over which Lightning restores those it was started with."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Change what differs and nothing else: a run resumed as it was stays bit-equal."""
        assert isinstance(pl_module, SegmentationModule)
        meant = pl_module.configure_optimizers()["optimizer"].param_groups
        scheduler = trainer.lr_scheduler_configs[0].scheduler
        for place, (group, own) in enumerate(zip(trainer.optimizers[0].param_groups, meant, strict=True)):
            group["weight_decay"] = own["weight_decay"]
            if group["initial_lr"] != own["initial_lr"]:
                group["lr"] = own["initial_lr"] * (
                    group["lr"] / group["initial_lr"] if group["initial_lr"] else 0.0
                )
                group["initial_lr"] = scheduler.base_lrs[place] = own["initial_lr"]
