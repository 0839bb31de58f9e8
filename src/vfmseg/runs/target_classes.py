"""A model and the data of a target in, which classes of the one are which of the other out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vfmseg.data.catalog import SPECS
from vfmseg.data.class_match import ClassMatch, is_same, match_classes
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.errors import DataError, RecipeError
from vfmseg.models.checkpoint import CheckpointHeader
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.start_weights import published_label_space
from vfmseg.runs.validate import refuse_other_classes
from vfmseg.types import LabelSpace


def classes_of_model(header: CheckpointHeader | None, recipe: Recipe) -> LabelSpace | None:
    """Return the classes of a checkpoint, or of a published one by its recipe's data set; None where that is a folder.

    Args:
        header: of the checkpoint; None for a published one, which names no classes.
        recipe: what a published one is of.
    """
    if header is not None:
        return header.label_space
    return published_label_space(recipe) if recipe.data.name in SPECS else None


def match_target(
    name: str,
    chosen: Mapping[str, str | None],
    val: SegmentationDataset,
    model: LabelSpace | None,
    *,
    task: str,
    file: Path,
) -> ClassMatch | None:
    """Return what a target's classes are to the model; None where they are the model's, or nobody knows those.

    Args:
        name: of the target, for messages.
        chosen: the target's class -> the model's, or None: ignored.
        val: the target's data.
        model: the model's classes.
        task: the model's.
        file: of the checkpoint, for messages.

    Raises:
        DataError: classes that cannot be matched by name, or none in common.
        CheckpointError: panoptic or instance data of other classes than the model's.
        RecipeError: ``chosen`` where nothing is matched.
    """
    if chosen and (model is None or task != "semantic"):
        why = f"this model's is {task}" if model is not None else f"{file} does not say what its classes are"
        raise RecipeError(
            f"--target {name}: classes are mapped for models of the task semantic with classes of known names; {why}. "
            "Leave out `classes`."
        )
    if model is None:
        return None
    if task != "semantic":
        refuse_other_classes(model, val.label_space, file)
        return None
    try:
        match = match_classes(model, val.label_space, drawn=val.label_map.drawn_ids, chosen=chosen)
    except DataError as error:
        raise DataError(f"--target {name}: {error}") from None
    return None if is_same(match) else match
