"""What a recipe may say, and what contradicts itself."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.runs.decoder_recipe import FullMask2FormerRecipe, LinearRecipe, Mask2FormerRecipe
from vfmseg.runs.recipe import (
    EncoderRecipe,
    Recipe,
    TrainingRecipe,
    as_size,
    contradictions,
    in_steps,
)
from vfmseg.runs.recipe_reader import read_recipe


def recipe(**sections: object) -> Recipe:
    return read_recipe(sections).recipe


def test_defaults__make_a_runnable_recipe() -> None:
    assert contradictions(Recipe()) == []
    assert isinstance(Recipe().decoder, LinearRecipe)


def test_recipe__is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "section", [EncoderRecipe, TrainingRecipe, LinearRecipe, Mask2FormerRecipe, FullMask2FormerRecipe]
)
def test_sections__can_be_made_without_arguments(section: type) -> None:
    assert section() == section()


@pytest.mark.parametrize(
    ("size", "patch", "nearest"),
    [([500, 512], 16, "[496, 512]"), (13, 16, "[16, 16]"), ([1024, 1030], 14, "[1022, 1036]")],
)
def test_contradictions__image_size_off_the_patch_grid(size: object, patch: int, nearest: str) -> None:
    made = Recipe(encoder=EncoderRecipe(image_size=size, patch_size=patch))  # type: ignore[arg-type]
    (found,) = contradictions(made)
    assert f"not a multiple of encoder.patch_size {patch}" in found
    assert found.endswith(f"the nearest that is: {nearest}")


def test_contradictions__own_patch_size_is_checked_by_the_model_later() -> None:
    assert contradictions(Recipe(encoder=EncoderRecipe(image_size=500, patch_size=None))) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"augmentation.scale_min": 3.0},
            "augmentation.scale_min 3.0 is above augmentation.scale_max 2.0; swap them",
        ),
        (
            {"decoder.name": "mask2former", "decoder.embed_dim": 100},
            "decoder.embed_dim 100 is not a multiple of decoder.num_heads 8",
        ),
        (
            {"decoder.name": "mask2former_full", "decoder.embed_dim": 30, "decoder.num_heads": 2},
            "decoder.embed_dim 30 is not a multiple of 4, as positions have four parts; published: 256 with 8 heads",
        ),
        (
            {"decoder": {"name": "mask2former_full", "multi_scale": False, "pixel_decoder": False}},
            "decoder.adapter is true, but decoder.multi_scale is false: the ViT-Adapter makes maps of four scales, of "
            "which only one would be looked at; set decoder.multi_scale true or decoder.adapter false",
        ),
        (
            {"decoder": {"name": "mask2former_full", "multi_scale": False, "adapter": False}},
            "decoder.pixel_decoder is true, but decoder.multi_scale is false: the pixel decoder exchanges between scales",
        ),
        (
            {"decoder": {"name": "mask2former_full", "taps": [7, 11, 15, 23]}},
            "decoder.taps and decoder.adapter both make the pyramid; set decoder.adapter false, or leave out",
        ),
        (
            {"decoder": {"name": "mask2former_full", "adapter": False, "taps": [11, 7, 15, 23]}},
            "decoder.taps is [11, 7, 15, 23]; give four blocks in ascending order",
        ),
        (
            {"decoder.name": "mask2former", "training.class_weights": "auto"},
            "training.class_weights works with the linear decoder only",
        ),
        (
            {"encoder.overrides": {"depth": 2}},
            "encoder.overrides changes the encoder's shape, so pretrained weights cannot fit",
        ),
        ({"data.name": "ade20k"}, "data.path is missing: say where ade20k lies (--data.path DIR)"),
    ],
)
def test_contradictions__name_both_keys_and_the_way_out(keys: dict[str, object], said: str) -> None:
    from vfmseg.errors import RecipeError

    with pytest.raises(RecipeError) as caught:
        read_recipe(keys)
    assert str(caught.value).startswith("The recipe: 1 thing is wrong.\n  - ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"encoder.overrides": {"depth": 2}, "encoder.weights": "random"},
        {"encoder.overrides": {"depth": 2}, "encoder.weights": "weights.safetensors"},
        {"augmentation.scale_min": 2.0, "augmentation.scale_max": 2.0},
        {"decoder.name": "mask2former", "decoder.embed_dim": 64, "decoder.num_heads": 4},
        {"decoder.name": "mask2former_full", "decoder.adapter": False},
        {"decoder": {"name": "mask2former_full", "adapter": False, "taps": [7, 11, 15, 23]}},
        {
            "decoder": {
                "name": "mask2former_full",
                "adapter": False,
                "pixel_decoder": False,
                "multi_scale": False,
            }
        },
        {"training.mask_points": 1024},
        {"training.class_weights": "auto"},
        {"training.class_weights": [1, 2.5]},
        {"data.name": "scenes"},
    ],
)
def test_contradictions__none_where_the_choices_fit(keys: dict[str, object]) -> None:
    assert contradictions(recipe(**keys)) == []


def test_as_size__one_number_is_a_square() -> None:
    assert as_size(512) == (512, 512)
    assert as_size((96, 160)) == (96, 160)


@pytest.mark.parametrize(
    ("setting", "total", "steps"),
    [(1000, 40000, 1000), (0.1, 40000, 4000), (1.0, 7, 7), (1, 7, 1), (0.5, 7, 4), (1e-9, 7, 1)],
)
def test_in_steps__whole_numbers_are_steps_and_fractions_shares(
    setting: float, total: int, steps: int
) -> None:
    assert in_steps(setting, total) == steps


@given(st.floats(min_value=1e-6, max_value=1.0), st.integers(min_value=1, max_value=10**6))
def test_in_steps__a_share_is_at_least_one_step_and_never_past_the_run(share: float, total: int) -> None:
    assert 1 <= in_steps(share, total) <= total


def test_contradictions__data_path_may_be_missing_where_nothing_is_read() -> None:
    chosen = read_recipe(
        {"data.name": "coco", "task": "panoptic", "decoder.name": "eomt"}, needs_data=False
    ).recipe
    (found,) = contradictions(chosen)
    assert "data.path is missing" in found
    assert contradictions(chosen, needs_data=False) == []
