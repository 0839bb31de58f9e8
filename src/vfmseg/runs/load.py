"""A checkpoint in, something that predicts out; nothing but the checkpoint is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vfmseg.errors import RecipeError
from vfmseg.inference.predictor import Predictor
from vfmseg.models.checkpoint import find_model_file, read_header
from vfmseg.runs.fit import say_on_stderr
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.restore import model_recipe, restore
from vfmseg.runs.start_weights import (
    build_published,
    is_published,
    published_label_space,
    refuse_without_recipe,
)
from vfmseg.tasks.catalog import build_task
from vfmseg.transforms.sliding_window import View


def load(
    checkpoint: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    *,
    device: str | None = None,
) -> Predictor:
    """Load a trained model; what its ``predict`` returns depends on the task it was trained for.

    Args:
        checkpoint: a run folder (its best checkpoint), a checkpoint folder, a model file, a file of the published
            EoMT or benchmark (tue-mps), or a folder or file of transformers' EoMT.
        recipe: what a published file is of, such as ``configs/dinov2/coco/panoptic/eomt_large_640.yaml``; a checkpoint
            of a run knows it.
        device: such as ``cpu`` or ``cuda:1``; by default a GPU where there is one.

    Raises:
        CheckpointError: no model there, a damaged one, or a published one without recipe.
        RecipeError: a recipe for a checkpoint that has its own.
        ResourceError: the device is not there.
    """
    file = find_model_file(checkpoint)
    if is_published(file):
        return _load_published(file, recipe, device)
    header = read_header(file)
    if recipe is not None:
        raise RecipeError(f"{file} knows what it is; leave out the recipe, which is for published files.")
    own = model_recipe(header, file)
    task = build_task(own.task, View(own.windows.stride))
    return Predictor(restore(file), header.label_space, task, device=device)


def _load_published(
    file: Path, recipe: str | Path | Mapping[str, Any] | Recipe | None, device: str | None
) -> Predictor:
    if recipe is None:
        refuse_without_recipe(file)
    assert recipe is not None
    chosen = read_recipe(recipe, needs_data=False).recipe
    label_space = published_label_space(chosen)
    segmenter = build_published(chosen, label_space, file, say_on_stderr)
    task = build_task(chosen.task, View(chosen.windows.stride))
    return Predictor(segmenter, label_space, task, device=device)
