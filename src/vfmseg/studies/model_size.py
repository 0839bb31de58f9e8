"""A recipe in, the size of its model out: parameters, multiply-adds, tokens; neither weights nor memory are needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vfmseg.data.catalog import DATASETS
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.summary import count_encoder_gflops, count_gflops, count_parameters
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree

_CLASSES = 19
"""Where only the data says how many; it hardly matters."""
_FILLS = frozenset(
    {
        Tensor.normal_,
        Tensor.uniform_,
        Tensor.erfinv_,
        Tensor.clamp_,
        Tensor.mul_,
        Tensor.add_,
        Tensor.fill_,
        Tensor.zero_,
    }
)
"""What draws weights."""


@dataclass(frozen=True)
class ModelSize:
    """What a model is, as far as its cost goes."""

    encoder_gflops: float
    """10^9 multiply-adds of one image."""
    decoder_gflops: float
    total: int
    """Parameters."""
    trainable: int
    tokens: int
    dim: int
    blocks: int


class ModelSizes:
    """Measures models, each shape once."""

    def __init__(self) -> None:
        self._sizes: dict[str, ModelSize] = {}
        self._decoders: dict[str, float] = {}

    def of(self, recipe: Recipe) -> ModelSize:
        """Return the size of a recipe's model.

        Raises:
            RecipeError: its parts do not go together.
            HubError: the encoder's configuration is on the hub only, and cannot be had.
        """
        key = shape_key(recipe)
        if key not in self._sizes:
            self._sizes[key] = self._measure(recipe)
        return self._sizes[key]

    def _measure(self, recipe: Recipe) -> ModelSize:
        bare = read_recipe(recipe, {"encoder.weights": "random"}, needs_data=False).recipe
        with torch.device("meta"), _Valueless():
            segmenter = build_model(bare, DATASETS[recipe.data.name].num_classes or _CLASSES)
        encoder, counted = segmenter.encoder, count_parameters(segmenter)
        of_encoder = count_encoder_gflops(encoder)
        return ModelSize(
            of_encoder,
            self._decoder_gflops(recipe, segmenter, of_encoder),
            counted.total,
            counted.trainable,
            encoder.grid_size[0] * encoder.grid_size[1],
            encoder.embed_dim,
            encoder.num_blocks,
        )

    def _decoder_gflops(self, recipe: Recipe, segmenter: Segmenter, of_encoder: float) -> float:
        """Return what a model costs beyond its encoder: the same for all encoders of equal grid, channels and blocks.

        The number of classes, which adds a thousandth at most, is that of the first of them.
        """
        encoder = segmenter.encoder
        facts = [encoder.grid_size, encoder.patch_size, encoder.embed_dim, encoder.num_blocks]
        key = json.dumps([recipe_tree(recipe)["decoder"], facts])
        if key not in self._decoders:
            self._decoders[key] = max(0.0, count_gflops(segmenter) - of_encoder)
        return self._decoders[key]


def shape_key(recipe: Recipe) -> str:
    """Return what decides a model's shape, as text: weights that timm tells by a tag have one architecture."""
    tree = recipe_tree(recipe)
    encoder: dict[str, Any] = {k: v for k, v in tree["encoder"].items() if k not in ("weights", "statistics")}
    if "/" not in encoder["name"]:
        encoder["name"] = encoder["name"].partition(".")[0]
    classes = DATASETS[recipe.data.name].num_classes
    return json.dumps([encoder, tree["decoder"], tree["tuning"], classes], sort_keys=True)


class _Valueless(TorchFunctionMode):
    """Leaves out the filling of tensors without memory, which is most of the time that building a model takes there."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _FILLS and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
