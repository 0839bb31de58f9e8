"""A checkpoint in, its recipe and its model out, as it was trained, whatever was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.models.checkpoint import CheckpointHeader, find_model_file, load_into, read_header, read_tensors
from vfmseg.models.frozen_weights import completed
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe import LoadedRecipe, Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.start_weights import refuse_without_recipe


def recipe_of(
    checkpoint: str | Path, overrides: Mapping[str, Any], *, notes: tuple[str, ...] = ()
) -> LoadedRecipe:
    """Return the recipe of a checkpoint with ``overrides``; the machine it was trained on is left out of it.

    Raises:
        CheckpointError: a damaged file, or one of another program, which has no recipe.
    """
    refuse_without_recipe(find_model_file(checkpoint))
    return read_recipe({**read_header(checkpoint).recipe, "trainer": {}}, overrides, notes=notes)


def model_recipe(header: CheckpointHeader, file: Path) -> Recipe:
    """Return the part of a checkpoint's recipe that says what the model is.

    The encoder's weights come from the checkpoint, or from where they were, if it leaves them out.
    The rest (data, training, machine) is left at its defaults: a model must load whatever those keys were called
    when it was trained.

    Raises:
        CheckpointError: the recipe in ``file`` does not say, or names what this version does not have.
    """
    try:
        parts = {name: header.recipe[name] for name in ("task", "encoder", "tuning", "decoder")}
        parts |= {name: header.recipe[name] for name in ("windows",) if name in header.recipe}
        if header.encoder_hash is None:
            parts["encoder"] = {**parts["encoder"], "weights": "random"}
        return read_recipe(parts).recipe
    except (KeyError, TypeError, RecipeError) as error:
        reason = f"It lacks {error}." if isinstance(error, KeyError) else error
        raise CheckpointError(
            f"{file} holds a recipe that this version of vfmseg cannot make a model of. {reason}\nUse the version that "
            "trained it (environment.json of the run names it), or another checkpoint."
        ) from None


def restore(checkpoint: str | Path) -> Segmenter:
    """Build the segmenter of a checkpoint and load its weights.

    Needs nothing but the checkpoint, or its encoder's weights where it leaves them out.

    Raises:
        CheckpointError, WeightsError: no checkpoint there, or a damaged one.
    """
    file = find_model_file(checkpoint)
    header = read_header(file)
    segmenter = build_model(model_recipe(header, file), header.label_space.num_classes)
    tensors = completed(read_tensors(file), header.encoder_hash, segmenter, source=file)
    load_into(segmenter, tensors, source=file)
    return segmenter.eval()
