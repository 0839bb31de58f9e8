"""Sizes of models that are never filled with weights."""

from typing import Any

import pytest

from support.tiny import tiny_recipe
from vfmseg.data.catalog import DATASETS
from vfmseg.models.summary import count_gflops, count_parameters
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.studies.model_size import ModelSizes, shape_key


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tuning": {"method": "lora"}},
        {"tuning": {"method": "frozen"}, "decoder": {"name": "mask2former", "num_queries": 4}},
        {"task": "panoptic", "decoder": {"name": "eomt", "num_queries": 4, "num_blocks": 1}},
    ],
)
def test_size__is_that_of_the_real_model(changes: dict[str, Any]) -> None:
    recipe = read_recipe(tiny_recipe(**changes)).recipe
    size = ModelSizes().of(recipe)
    segmenter = build_model(recipe, DATASETS["scenes"].num_classes or 19)
    counted = count_parameters(segmenter)
    assert (size.total, size.trainable) == (counted.total, counted.trainable)
    assert size.encoder_gflops + size.decoder_gflops == pytest.approx(count_gflops(segmenter), rel=1e-9)
    assert (size.tokens, size.dim, size.blocks) == (16, 24, 2)


def test_key__is_of_shapes_and_not_of_weights() -> None:
    def key(**encoder: Any) -> str:
        return shape_key(read_recipe(tiny_recipe(encoder=encoder)).recipe)

    assert key(name="vit_tiny_patch16_224") == key(
        name="vit_tiny_patch16_224.augreg_in21k", weights="file.pth"
    )
    assert key() != key(image_size=96)
    assert key() != key(overrides={"embed_dim": 48})
