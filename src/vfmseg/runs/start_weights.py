"""A checkpoint in, of a run of ours or of a published program, a segmenter with its weights out.

Checkpoints of vfmseg say what they are of. Those of tue-mps (the published EoMT and benchmark) hold tensors and no more:
the recipe must say what model they are of, and the data set what its classes are called. Those of Rein
are the same, and their encoder is elsewhere. Those of transformers' EoMT have their sizes and perhaps the names of
classes beside them, but not the task.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import Tensor

from vfmseg.data.catalog import SPECS
from vfmseg.data.opened import check_task
from vfmseg.data.segment_spec import InstanceIds, StuffAndThings
from vfmseg.data.segments import things_of
from vfmseg.data.spec import read_label_map
from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.interop.rein import from_rein, is_rein, read_rein, said_of_encoder
from vfmseg.interop.transformers_eomt import from_transformers
from vfmseg.interop.transformers_folder import (
    first_other_name,
    is_transformers_eomt,
    read_transformers,
    refuse_other_model,
)
from vfmseg.interop.tue_mps import Published, from_tue_mps, is_tue_mps, read_tue_mps
from vfmseg.models.checkpoint import CheckpointHeader, find_model_file, load_into, read_header, read_tensors
from vfmseg.models.encoders.weights_report import collapse
from vfmseg.models.frozen_weights import completed
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.assemble import Say, build_model, open_split
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import recipe_tree
from vfmseg.runs.resume import differences
from vfmseg.types import LabelSpace


def start_from(segmenter: Segmenter, recipe: Recipe, label_space: LabelSpace, say: Say) -> None:
    """Load the weights of ``recipe.init_from``; a class head of other classes is started anew, and said so.

    Raises:
        CheckpointError, WeightsError: no checkpoint there, or it does not fit.
    """
    file = find_model_file(recipe.init_from)
    if is_published(file):
        _load_published(segmenter, recipe, label_space, file, say, may_start_anew=True)
        return
    header = read_header(file)
    _refuse_another_tuned_encoder(header, recipe, file)
    tensors = completed(read_tensors(file), header.encoder_hash, segmenter, source=file)
    same = header.label_space.names == label_space.names
    if not (same and recipe.load_class_head):
        reason = "as load_class_head is false" if same else "as its classes are not the data's"
        tensors = _with_own_class_head(segmenter, tensors, recipe.init_from, reason, say)
    load_into(segmenter, tensors, source=recipe.init_from)
    say(f"init_from: {len(tensors)} tensors of {recipe.init_from} (step {header.step})")


def _refuse_another_tuned_encoder(header: CheckpointHeader, recipe: Recipe, file: Path) -> None:
    """Raise CheckpointError where ``file`` leaves its encoder out and the recipe has another, or tunes it otherwise."""
    if header.encoder_hash is None:
        return
    tree, of_shape = recipe_tree(recipe), ("name", "patch_size", "sub_norm", "overrides")
    found = []
    for part, keys in (("encoder", of_shape), ("tuning", tuple(tree["tuning"]))):
        there, here = ({key: tree_of[part].get(key) for key in keys} for tree_of in (header.recipe, tree))
        found += differences(there, here, f"{part}.")
    if tree["encoder"]["weights"] == "random":
        found.append(("encoder.weights", header.recipe["encoder"]["weights"], "random"))
    if any(key == "tuning.method" for key, _, _ in found):  # the other keys of another method differ anyhow
        found = [one for one in found if not one[0].startswith("tuning.") or one[0] == "tuning.method"]
    if found:
        raise CheckpointError(
            f"{file} holds what tuning {header.recipe['tuning']['method']} and the decoder have learned, without the "
            "encoder, and so fits this encoder and tuning only; but "
            f"{'; '.join(f'{key} is {there} there, {here} in the recipe' for key, there, here in found)}. Set them alike."
        )


def build_published(recipe: Recipe, label_space: LabelSpace, file: Path, say: Say) -> Segmenter:
    """Build the recipe's segmenter with the weights of a published checkpoint.

    Args:
        recipe: what the checkpoint is of.
        label_space: its classes; the file holds no names, only how many there are.
        file: see :func:`is_published`.
        say: where messages go.

    Raises:
        CheckpointError, WeightsError: it does not fit.
        RecipeError: it holds differences to weights that the recipe does not have.
    """
    own_encoder = is_rein(file) or (recipe.delta_weights and is_tue_mps(file))
    if not own_encoder:  # it comes from the file
        recipe = dataclasses.replace(recipe, encoder=dataclasses.replace(recipe.encoder, weights="random"))
    segmenter = build_model(recipe, label_space.num_classes)
    _load_published(segmenter, recipe, label_space, file, say, may_start_anew=False)
    return segmenter.eval()


def is_published(file: Path) -> bool:
    """Tell a checkpoint of another program that is read: of tue-mps, of Rein, or of transformers' EoMT."""
    return is_tue_mps(file) or is_rein(file) or is_transformers_eomt(file)


def refuse_without_recipe(file: Path) -> None:
    """Raise CheckpointError where a published checkpoint is given without a recipe that says what it is of."""
    if is_published(file):
        raise CheckpointError(
            f"{file} is not of vfmseg, so it does not say what model it holds. Give the recipe it was trained by, "
            "such as -c configs/dinov2/coco/panoptic/eomt_large_640.yaml; `vfmseg list recipes` shows them."
        )


def published_label_space(recipe: Recipe) -> LabelSpace:
    """Return the classes of the recipe's data and task, without opening files of a known data set.

    Raises:
        DataError: the data set has no labels for the task, or your own data cannot be opened.
    """
    name, task = recipe.data.name, recipe.task
    if name not in SPECS:
        return open_split(recipe, "val").label_space
    check_task(name, task)
    if task == "semantic":
        return SPECS[name].label_map("val").label_space
    way = SPECS[name].segments[task]["val"][0]
    if isinstance(way, StuffAndThings):
        classes = way.semantic.classes
    else:
        classes = way.split.classes if isinstance(way, InstanceIds) else way.classes
    space = read_label_map(classes).label_space
    return things_of(space)[0] if task == "instance" else space


def _load_published(
    segmenter: Segmenter,
    recipe: Recipe,
    label_space: LabelSpace,
    file: Path,
    say: Say,
    *,
    may_start_anew: bool,
) -> None:
    found, their_names, program = _read_published(segmenter, recipe, file)
    tensors, own = found.tensors, segmenter.state_dict()
    layer = _class_layer(segmenter)
    theirs, ours = (_num_outputs(state, layer) for state in (tensors, own))
    if theirs != ours and not may_start_anew:
        raise CheckpointError(
            f"{file} has a class head of {theirs} outputs, {recipe.data.name} ({recipe.task}) needs {ours}. Give "
            "the recipe it was trained by, or fine-tune on this data first: vfmseg fit --init_from FILE."
        )
    reason = "" if recipe.load_class_head else "as load_class_head is false"
    if theirs != ours:
        reason = f"it has {theirs} outputs, not {ours}"
    elif their_names and (other := first_other_name(their_names, label_space.names)) is not None:
        reason = f"its class {other} is {their_names[other]!r}, the data's {label_space.names[other]!r}"
        if not may_start_anew:
            say(f"weights: {reason}; predictions have the data's names")
    if may_start_anew and reason:
        tensors = _with_own_class_head(segmenter, tensors, file, reason, say)
    load_into(segmenter, tensors, source=file)
    say(f"weights: {len(tensors)} tensors of {file}, {program}")
    say(f"weights: not used ({len(found.not_used)}): {collapse(found.not_used)}")


def _read_published(
    segmenter: Segmenter, recipe: Recipe, file: Path
) -> tuple[Published, tuple[str, ...], str]:
    """Return the tensors under our names, the names of the classes where they are known, and what the file is of."""
    if is_transformers_eomt(file):
        saved = read_transformers(file)
        refuse_other_model(saved, segmenter, file)
        whole = ", whole weights, so that delta_weights does not matter" if recipe.delta_weights else ""
        known = "" if saved.settings else ", without a config.json that would say more than its shapes"
        return (
            from_transformers(saved.state, segmenter),
            saved.names,
            f"of transformers' EoMT{whole}{known}",
        )
    if is_rein(file):
        state = read_rein(file)
        return from_rein(state, segmenter), (), f"of Rein's program{said_of_encoder(state, segmenter)}"
    if recipe.delta_weights and recipe.encoder.weights == "random":
        raise RecipeError(
            f"{file} holds differences to pretrained weights (delta_weights is true), but encoder.weights is random. Set "
            "encoder.weights to pretrained or to the file of the encoder's weights."
        )
    how = ", differences added to the encoder's weights" if recipe.delta_weights else ""
    found = from_tue_mps(read_tue_mps(file), segmenter, are_differences=recipe.delta_weights)
    return found, (), f"of a published program{how}"


def _class_layer(segmenter: Segmenter) -> str:
    return f"decoder.{segmenter.decoder.class_layer_name}."


def _num_outputs(state: dict[str, Tensor], layer: str) -> int:
    return next((len(tensor) for name, tensor in state.items() if name.startswith(layer)), 0)


def _with_own_class_head(
    segmenter: Segmenter, tensors: dict[str, Tensor], source: str | Path, reason: str, say: Say
) -> dict[str, Tensor]:
    """Return ``tensors`` with the segmenter's class head in place of theirs, and say so."""
    say(f"init_from: the class head of {source} is not taken ({reason}); it starts anew")
    own, layer = segmenter.state_dict(), _class_layer(segmenter)
    return {name: own[name] if name.startswith(layer) else tensor for name, tensor in tensors.items()}
