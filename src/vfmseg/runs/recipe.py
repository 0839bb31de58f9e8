"""What a recipe may say: frozen dataclasses, one field a choice, its documentation under it.

A recipe is a short YAML file read into :class:`Recipe` by ``runs.recipe_reader``. This module holds no
logic beyond checks across fields and imports nothing heavy, so ``--help`` can read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from vfmseg.models.encoders.catalog import lookup
from vfmseg.runs.augmentation_recipe import (
    AugmentationRecipe,
    BenchmarkAugmentationRecipe,
    augmentation_contradictions,
)
from vfmseg.runs.data_recipe import DataRecipe, data_contradictions
from vfmseg.runs.decoder_recipe import DecoderRecipe, EoMTRecipe, LinearRecipe, decoder_contradictions
from vfmseg.runs.training_recipe import TrainingRecipe
from vfmseg.runs.tuning_recipe import FullRecipe, PromptRecipe, TuningRecipe, tuning_contradictions
from vfmseg.runs.values import (
    CountOrFraction,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SizeSetting,
    StatisticsSetting,
)
from vfmseg.runs.windows_recipe import WindowsRecipe, windows_contradictions

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@checked(frozen=True, kw_only=True, config=_STRICT)
class EncoderRecipe:
    """Which vision foundation model, at which image and patch size, with which weights."""

    name: str = "dinov2-b"
    """Short name (`vfmseg list encoders`), any plain ViT of timm by its timm name, or a Hugging Face DINOv2/DINOv3 id."""
    image_size: SizeSetting = 512
    """Pixels the encoder sees: one number for a square, or [height, width]; a multiple of the patch size."""
    patch_size: PositiveInt | None = 16
    """Pixels a side of a patch (8, 14, 16, 32 …); null keeps the encoder's own."""
    weights: str = "pretrained"
    """`pretrained` (hub), `random`, or the path of a local file (.safetensors, .pth)."""
    sub_norm: bool = False
    """Add BEiT-3's extra LayerNorms (only with a plain ViT and a converted BEiT-3 file; `beit3-b` has them)."""
    positions: Literal["crop", "stretch"] = "crop"
    """Absolute positions of a non-square image: `crop` as the benchmark does, `stretch` as timm does."""
    rope_rescale: PositiveFloat | None = None
    """In training, rotary positions of DINOv3 are rescaled by a random factor between 1/x and x, as transformers' DINOv3
    does (2 in the published EoMT on DINOv3); null = never."""
    statistics: StatisticsSetting = "own"
    """What pixels in [0, 1] are normalised by: `own`, what the weights were pre-trained with; `imagenet`, as Rein does
    with every encoder; or [[mean of red, green, blue], [standard deviation of each]]."""
    overrides: dict[str, int | float | bool] = field(default_factory=dict)
    """Sizes other than the model's own (embed_dim, depth, num_heads), for tiny encoders with random weights."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class TrainerRecipe:
    """On what machine; handed to Lightning's Trainer."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """`auto` takes a GPU where there is one."""
    devices: Literal["auto"] | PositiveInt | Annotated[list[NonNegativeInt], Field(min_length=1)] = 1
    """How many devices, or which: `2`, `[0, 3]`, `auto` for all."""
    num_nodes: PositiveInt = 1
    """Machines."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How devices share the work."""
    limit_val_batches: CountOrFraction = 1.0
    """Share (or number) of validation images looked at while training; `validate` always sees all."""
    log_every_n_steps: PositiveInt = 10
    """Optimiser steps between rows of metrics.csv."""
    progress: bool = True
    """Show the progress bar."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class Recipe:
    """A complete description of one run; saved with it, and accepted back by `-c`."""

    task: Literal["semantic", "panoptic", "instance"] = "semantic"
    """What is predicted: a class per pixel; one segment per pixel, of things and stuff; scored masks of things."""
    encoder: EncoderRecipe = field(default_factory=EncoderRecipe)
    """Which vision foundation model."""
    tuning: TuningRecipe = field(default_factory=FullRecipe)
    """What of it learns."""
    decoder: DecoderRecipe = field(default_factory=LinearRecipe)
    """What turns its tokens into classes."""
    data: DataRecipe = field(default_factory=DataRecipe)
    """What it learns from."""
    augmentation: AugmentationRecipe = field(default_factory=BenchmarkAugmentationRecipe)
    """How training images are varied."""
    windows: WindowsRecipe = field(default_factory=WindowsRecipe)
    """How evaluation looks at images of other sizes than the encoder's."""
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    """How long and how fast it learns."""
    trainer: TrainerRecipe = field(default_factory=TrainerRecipe)
    """On what machine."""
    init_from: str = ""
    """Checkpoint whose weights the run starts from: of a run, of the published EoMT or benchmark (tue-mps), or of
    transformers' EoMT. A class head of other classes is started anew, and said so."""
    load_class_head: bool = True
    """Take the class head from `init_from` where its classes are the data's."""
    delta_weights: bool = False
    """A published EoMT given as `init_from` holds differences to the encoder's own weights, as those on DINOv3 do."""
    seed: NonNegativeInt = 0
    """Decides initial weights, order, augmentation and dropout."""


def contradictions(recipe: Recipe, *, needs_data: bool = True) -> list[str]:
    """Return what is wrong across fields, one sentence each; empty where all is well."""
    found: list[str] = []
    size = as_size(recipe.encoder.image_size)
    patch = recipe.encoder.patch_size
    if patch is not None and (size[0] % patch or size[1] % patch):
        nearest = [max(patch, round(s / patch) * patch) for s in size]
        found.append(
            f"encoder.image_size {size[0]}x{size[1]} is not a multiple of encoder.patch_size {patch}; "
            f"the nearest that is: [{nearest[0]}, {nearest[1]}]"
        )
    found += augmentation_contradictions(recipe.augmentation)
    found += windows_contradictions(recipe.windows, recipe.data, recipe.task, size)
    found += decoder_contradictions(recipe.decoder, recipe.training.steps)
    found += tuning_contradictions(recipe.tuning, getattr(recipe.decoder, "num_queries", None))
    if isinstance(recipe.decoder, LinearRecipe) and recipe.task != "semantic":
        found.append(
            f"the linear decoder scores one class per pixel and cannot tell objects apart, so task {recipe.task} needs a "
            "mask decoder: decoder.name eomt, mask2former or mask2former_full"
        )
    known = lookup(recipe.encoder.name)
    if known is not None and known.family == "SAM":
        within = f"but {recipe.encoder.name} attends within windows, where they have no place; take"
        if isinstance(recipe.decoder, EoMTRecipe):
            found.append(
                f"decoder.name eomt puts queries among the encoder's tokens, {within} decoder.name mask2former, or "
                "another encoder"
            )
        if isinstance(recipe.tuning, PromptRecipe):
            found.append(
                f"tuning.method vpt puts prompts among the encoder's tokens, {within} another tuning, or another encoder"
            )
    if not isinstance(recipe.decoder, LinearRecipe) and recipe.training.class_weights != "none":
        found.append(
            "training.class_weights works with the linear decoder only: a mask decoder weighs masks, "
            "not pixels; leave it at none"
        )
    if recipe.encoder.overrides and recipe.encoder.weights == "pretrained":
        found.append(
            "encoder.overrides changes the encoder's shape, so pretrained weights cannot fit; "
            "set encoder.weights to random or to a local file"
        )
    return found + data_contradictions(recipe.data, needs_data=needs_data)


def can_share_features(recipe: Recipe) -> bool:
    """Return whether tokens of the encoder may be read from files: it is frozen, whole and not compiled.

    Weights in shards have no hash, and what is compiled does not look into files.
    """
    is_whole = not recipe.training.compile and recipe.trainer.strategy != "fsdp"
    return recipe.tuning.method == "frozen" and is_whole


def as_size(setting: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a size that a recipe gives as one number or two."""
    return (setting, setting) if isinstance(setting, int) else (setting[0], setting[1])


def in_steps(setting: float, total_steps: int) -> int:
    """Return a duration in optimiser steps: whole numbers are steps, fractions shares of ``total_steps``."""
    return setting if isinstance(setting, int) else max(1, math.ceil(setting * total_steps))


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with what was said of it on the way in."""

    recipe: Recipe
    name: str
    """Stem of the recipe file, with its folders below `configs`; names the run folder."""
    notes: tuple[str, ...] = ()
    """What aliases and slips were understood as; printed once."""
    given: dict[str, Any] = field(default_factory=dict)
    """What was typed on the command line, nested, canonical names."""
