"""Trials in, what each would take out: time from what finished trials took, or else from arithmetic and a rate.

Work is counted in multiply-adds of inference on one image, times the images of the run, times what a step costs beside a
forward pass: backward passes through activations and through weights cost about as much again each, where they are
needed. On top comes a little for the start and for every step, which is most of what small trials take; reading images
and validations are not in it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vfmseg.models.summary import count_gflops, count_parameters
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree
from vfmseg.studies.folder import COST, RESULT, is_done, read_json, trial_folder
from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import Trial

PASSES = {"full": 3.0, "partial": 3.0, "frozen": 1.0}
"""Tuning -> passes of a training step, in forward passes; 2 for all that adds little to a frozen encoder."""
_OTHER_PASSES = 2.0
_EFFICIENCY = 0.4
"""Share of the rate of a large product that training reaches; what we saw lies between 0.2 and 0.5."""
_START_SECONDS, _STEP_SECONDS = 8.0, 0.02
"""What a trial and a micro-batch take however small the model is."""
_OPTIMISER_BYTES = 12
"""A learning parameter's gradient and AdamW's two moments, float32."""
_TOKEN_BYTES = 40
"""What a block keeps of a token and channel for its backward pass, in bfloat16 autocast."""
_CLASSES = 19
"""Where the data is not there to say how many; it hardly matters."""


@dataclass(frozen=True)
class Estimate:
    """What a trial would take."""

    hours: float
    memory_gib: float
    """Of the device: weights, what learns of them, and activations."""
    is_measured: bool
    """Whether ``hours`` are from finished trials of the study."""


@dataclass(frozen=True)
class _Shape:
    gflops: float
    total: int
    trainable: int
    tokens: int
    dim: int
    blocks: int


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
    """
    shapes: dict[str, _Shape] = {}
    known: dict[str, _Shape] = {}
    for trial in trials:
        if trial.recipe is not None:
            key = _key(trial.recipe)
            if key not in known:
                known[key] = _shape(trial.recipe)
            shapes[trial.id] = known[key]
    wanted = {trial.id: trial for trial in trials if trial.recipe is not None}
    work = {one: _work(trial.recipe, shapes[one]) for one, trial in wanted.items() if trial.recipe}
    measured = None if results is None or tflops else _measured_rate(study, wanted, work, results)
    rate = measured or (tflops or device_tflops()) * 1e12 / 2 * _EFFICIENCY
    return {
        one: Estimate(
            (work[one] / rate + _overhead(trial.recipe)) / 3600,
            _memory(trial.recipe, shapes[one]),
            measured is not None,
        )
        for one, trial in wanted.items()
        if trial.recipe
    }


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


def _key(recipe: Recipe) -> str:
    """Return what decides a model's shape, as text."""
    tree = recipe_tree(recipe)
    encoder = {key: value for key, value in tree["encoder"].items() if key != "weights"}
    return json.dumps([encoder, tree["decoder"], tree["tuning"]], sort_keys=True)


def _shape(recipe: Recipe) -> _Shape:
    """Build the model without memory for its weights, and count."""
    bare = read_recipe(recipe, {"encoder.weights": "random"}, needs_data=False).recipe
    with torch.device("meta"):
        segmenter = build_model(bare, _CLASSES)
    height, width = segmenter.image_size
    counted, encoder = count_parameters(segmenter), segmenter.encoder
    return _Shape(
        count_gflops(segmenter),
        counted.total,
        counted.trainable,
        height // encoder.patch_size * (width // encoder.patch_size),
        encoder.embed_dim,
        encoder.num_blocks,
    )


def _work(recipe: Recipe, shape: _Shape) -> float:
    """Return the multiply-adds of a run's training steps."""
    passes = PASSES.get(recipe.tuning.method, _OTHER_PASSES)
    images = recipe.training.steps * recipe.training.effective_batch_size
    return images * passes * shape.gflops * 1e9


def _overhead(recipe: Recipe) -> float:
    batches = recipe.training.steps * recipe.training.effective_batch_size / recipe.data.batch_size
    return _START_SECONDS + _STEP_SECONDS * batches


def _memory(recipe: Recipe, shape: _Shape) -> float:
    activations = shape.tokens * shape.dim * _TOKEN_BYTES * recipe.data.batch_size
    kept = 1 if recipe.tuning.method == "frozen" or recipe.training.gradient_checkpointing else shape.blocks
    return (4 * shape.total + _OPTIMISER_BYTES * shape.trainable + activations * kept) / 2**30


def _measured_rate(
    study: Study, wanted: Mapping[str, Trial], work: Mapping[str, float], results: Path
) -> float | None:
    """Return multiply-adds a second of the trials that are done, the median; None where none is."""
    rates = []
    for one, trial in wanted.items():
        if trial.recipe is None:
            continue
        folder = trial_folder(results, one)
        targets: dict[str, Any] = {} if trial.prepares is not None else dict(study.targets)
        if is_done(folder, targets):
            spent = read_json(folder / COST) or read_json(folder / RESULT) or {}
            if spent.get("seconds"):
                seconds = float(spent["seconds"])
                rates.append(work[one] / max(seconds - _overhead(trial.recipe), 0.1 * seconds))
    return statistics.median(rates) if rates else None
