"""Trials in, what each would take out: from finished trials like it, or else from arithmetic and a rate.

Work is counted in multiply-adds of inference on one image, times the images of the run, times what a step costs beside a
forward pass: backward passes through activations and through weights cost about as much again each, where they are
needed. On top comes a little for the start and for every step, which is most of what small trials take; reading images
and validations are not in it, unless finished trials tell.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vfmseg.errors import RecipeError
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.tuning_recipe import PartialRecipe
from vfmseg.studies.costs import cost_of
from vfmseg.studies.folder import RESULT, TRIALS, is_done, read_json, trial_folder
from vfmseg.studies.model_size import ModelSize, ModelSizes, shape_key
from vfmseg.studies.runner import targets_of
from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import Trial

_ALL_LEARN = 3.0
"""Passes of a training step, in forward passes: forward, and backward through activations and through weights."""
_LITTLE_LEARNS = 2.0
"""Of an encoder that is frozen but for what a tuning adds: only the gradients of activations are needed."""
_EFFICIENCY = 0.4
"""Share of the rate of a large product that training reaches; what we saw lies between 0.2 and 0.5."""
_START_SECONDS, _STEP_SECONDS = 8.0, 0.02
"""What a trial and a micro-batch take however small the model is."""
_PROGRAM_GIB = 0.9
"""What the program holds beside a model that is trained on the CPU, as it counts there; what we saw is 0.9 to 1.0."""
_OPTIMISER_BYTES = 12
"""A learning parameter's gradient and AdamW's two moments, float32."""
_TOKEN_BYTES = 40
"""What a block keeps of a token and channel for its backward pass, in bfloat16 autocast."""
_MOST_READ = 100
"""Finished trials that are no longer of the study whose recipes are read."""

Source = Literal["trials like it", "finished trials", "arithmetic"]


@dataclass(frozen=True)
class Estimate:
    """What a trial would take."""

    hours: float
    memory_gib: float
    """Of the device: weights, what learns of them, and activations; on a CPU also the program. From trials like it,
    their peak."""
    source: Source
    """``trials like it``: the time of finished ones of equal model, batch and data, by steps; ``finished trials``:
    arithmetic, and the rate that others have reached; ``arithmetic``: and the device's rate."""


@dataclass(frozen=True)
class _Finished:
    recipe: Recipe
    seconds: float
    memory_gib: float | None


def estimate(
    study: Study, trials: Sequence[Trial], results: Path | None, *, tflops: float | None = None
) -> dict[str, Estimate]:
    """Estimate every trial that has a recipe.

    Args:
        study: for its targets, which decide what is finished.
        trials: as planned.
        results: folder with finished trials, which give the rate; None without.
        tflops: 10^12 floating-point operations a second of the device; None: from finished trials, or measured.

    Returns:
        Trial id -> estimate.

    Raises:
        StudyError: a file of a finished trial is damaged.
        HubError: the configuration of an encoder is on the hub only, and cannot be had.
    """
    sizes = ModelSizes()
    done = [] if results is None or tflops else list(_finished(study, trials, results))
    like: dict[str, list[_Finished]] = {}
    for one in done:
        like.setdefault(_comparable(one.recipe), []).append(one)
    reached = [_rate(one, sizes.of(one.recipe)) for one in done]
    rate = statistics.median(reached) if reached else (tflops or device_tflops()) * 1e12 / 2 * _EFFICIENCY
    program = 0.0 if tflops or torch.cuda.is_available() else _PROGRAM_GIB
    found = {}
    for trial in trials:
        if (recipe := trial.recipe) is None:
            continue
        size = sizes.of(recipe)
        if equals := like.get(_comparable(recipe)):
            found[trial.id] = _from_equals(recipe, size, equals)
            continue
        seconds = _work(recipe, size) / rate + _overhead(recipe)
        source: Source = "finished trials" if reached else "arithmetic"
        found[trial.id] = Estimate(seconds / 3600, program + _memory(recipe, size), source)
    return found


def device_tflops() -> float:
    """Measure what the device does in a large bfloat16 product, in 10^12 operations a second."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 1024
    left = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        left @ left
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e12


def _finished(study: Study, trials: Sequence[Trial], results: Path) -> Iterator[_Finished]:
    """Give the finished trials of a folder: of the study, and of what it was before it was changed."""
    recipes = {trial.id: trial for trial in trials if not trial.is_left_out}
    before = (place.parent for place in sorted((results / TRIALS).glob(f"*/{RESULT}")))
    others = [folder for folder in before if folder.name not in recipes][:_MOST_READ]
    for trial in recipes.values():
        targets = targets_of(trial, study)
        folder = trial_folder(results, trial.id)
        if is_done(folder, targets) and trial.recipe is not None:
            yield from _spent(trial.recipe, folder)
    for folder in others:
        with contextlib.suppress(RecipeError):  # of another version of vfmseg, whose keys were others
            yield from _spent(read_recipe(folder / "recipe.yaml", needs_data=False).recipe, folder)


def _spent(recipe: Recipe, folder: Path) -> Iterator[_Finished]:
    result: Mapping[str, Any] = read_json(folder / RESULT) or {}
    seconds = cost_of(folder).get("seconds_alone") or result.get("seconds")
    if seconds:
        yield _Finished(recipe, float(seconds), result.get("peak_memory_gib"))


def _comparable(recipe: Recipe) -> str:
    """Return what trials of equal time a step have in common, as text."""
    training, data = recipe.training, recipe.data
    batch = [data.batch_size, training.effective_batch_size, training.gradient_checkpointing]
    return f"{shape_key(recipe)} {batch} {training.precision} {recipe.task} {data.name}"


def _from_equals(recipe: Recipe, size: ModelSize, equals: Sequence[_Finished]) -> Estimate:
    seconds = statistics.median(one.seconds / one.recipe.training.steps for one in equals)
    peaks = [one.memory_gib for one in equals if one.memory_gib is not None]
    memory = statistics.median(peaks) if peaks else _memory(recipe, size)
    return Estimate(seconds * recipe.training.steps / 3600, memory, "trials like it")


def _rate(one: _Finished, size: ModelSize) -> float:
    """Return the multiply-adds a second that a finished trial has reached."""
    return _work(one.recipe, size) / max(one.seconds - _overhead(one.recipe), 0.1 * one.seconds)


def _work(recipe: Recipe, size: ModelSize) -> float:
    """Return the multiply-adds of a run's training steps."""
    images = recipe.training.steps * recipe.training.effective_batch_size
    passes = _encoder_passes(recipe, size)
    return images * (passes * size.encoder_gflops + _ALL_LEARN * size.decoder_gflops) * 1e9


def _encoder_passes(recipe: Recipe, size: ModelSize) -> float:
    tuning = recipe.tuning
    if tuning.method in ("full", "frozen"):
        return _ALL_LEARN if tuning.method == "full" else 1.0
    if isinstance(tuning, PartialRecipe):  # what lies below the last blocks is passed forward only
        learn = tuning.num_blocks or size.blocks / 3
        return 1.0 + (_ALL_LEARN - 1.0) * min(1.0, learn / size.blocks)
    return _LITTLE_LEARNS


def _overhead(recipe: Recipe) -> float:
    batches = recipe.training.steps * recipe.training.effective_batch_size / recipe.data.batch_size
    return _START_SECONDS + _STEP_SECONDS * batches


def _memory(recipe: Recipe, size: ModelSize) -> float:
    activations = size.tokens * size.dim * _TOKEN_BYTES * recipe.data.batch_size
    kept = 1 if recipe.tuning.method == "frozen" or recipe.training.gradient_checkpointing else size.blocks
    return (4 * size.total + _OPTIMISER_BYTES * size.trainable + activations * kept) / 2**30
