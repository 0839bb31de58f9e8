"""What pixels are normalised by: the encoder's own statistics, ImageNet's, or given ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from support.tiny import tiny_recipe
from vfmseg.errors import RecipeError
from vfmseg.models.encoders.load import build_encoder
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe_reader import read_recipe, recipe_yaml

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
GIVEN = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]


def build(statistics: Any) -> tuple[list[float], list[float]]:
    encoder = build_encoder(
        "vit_base_patch16_clip_224.openai",
        32,
        16,
        weights="random",
        overrides={"embed_dim": 8, "depth": 1, "num_heads": 1},
        statistics=statistics,
    )
    pixels = encoder.normalise(torch.full((1, 3, 32, 32), 51, dtype=torch.uint8))
    expected = (0.2 - encoder.mean) / encoder.std
    torch.testing.assert_close(pixels[0, :, :1, :1], expected, rtol=1e-5, atol=1e-5)
    return encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()


def test_statistics__own_imagenet_or_given() -> None:
    assert build("own")[0] == pytest.approx(CLIP_MEAN)
    mean, std = build("imagenet")
    assert (mean, std) == (pytest.approx([0.485, 0.456, 0.406]), pytest.approx([0.229, 0.224, 0.225]))
    assert build(GIVEN) == (pytest.approx(GIVEN[0]), pytest.approx(GIVEN[1]))


@pytest.mark.parametrize("wrong", ["clip", [[0.5, 0.5, 0.5]], [[0.5], [0.5]]])
def test_statistics__refused(wrong: Any) -> None:
    with pytest.raises(RecipeError, match=r"encoder\.statistics .* is unknown; it is own, imagenet, or"):
        build(wrong)


def test_recipe__statistics_reach_the_model_and_the_saved_recipe() -> None:
    recipe = read_recipe(tiny_recipe(encoder={"statistics": GIVEN})).recipe
    assert build_model(recipe, 3).encoder.std.flatten().tolist() == pytest.approx(GIVEN[1])
    assert "statistics:" in recipe_yaml(recipe)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("clip", "encoder.statistics = 'clip': input should be 'own' or 'imagenet'"),
        ([[124, 116, 104], [58, 57, 57]], "less than or equal to 1"),
        ([[0.5, 0.5, 0.5], [0.0, 0.5, 0.5]], "greater than 0"),
    ],
)
def test_recipe__statistics_out_of_range(wrong: Any, says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        read_recipe(tiny_recipe(encoder={"statistics": wrong}))
    assert says in str(refused.value)
