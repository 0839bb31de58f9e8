"""The augmentation that a recipe names is built with what the recipe says of it."""

from __future__ import annotations

import pytest

from support.tiny import tiny_recipe
from vfmseg.errors import RecipeError
from vfmseg.runs.augment import build_transform
from vfmseg.runs.recipe_reader import read_recipe, recipe_yaml
from vfmseg.transforms.pipeline import TrainTransform
from vfmseg.transforms.rein_pipeline import ReinTransform


def test_build_transform__the_benchmark_by_default() -> None:
    recipe = read_recipe(tiny_recipe(augmentation={"scale_min": 0.1, "redraw": "all"})).recipe
    made = build_transform(recipe.augmentation, (32, 64))
    assert isinstance(made, TrainTransform)
    assert (made.settings.scale_range, made.settings.redraw, made.settings.size) == (
        (0.1, 2.0),
        "all",
        (32, 64),
    )


def test_build_transform__rein_with_all_its_keys() -> None:
    said = {
        "method": "rein",
        "scale_min": 0.8,
        "scale_max": 1.2,
        "num_scales": 5,
        "max_class_share": 0.6,
        "color_jitter": False,
        "flip": False,
    }
    recipe = read_recipe(tiny_recipe(augmentation=said)).recipe
    made = build_transform(recipe.augmentation, (100, 100))
    assert isinstance(made, ReinTransform)
    settings = made.settings
    assert settings.short_sides == (80, 90, 100, 110, 120)
    assert (settings.max_class_share, settings.color_jitter, settings.flip) == (0.6, False, False)
    assert "method: rein" in recipe_yaml(recipe)


def test_recipe__another_method_replaces_the_keys_of_the_first() -> None:
    recipe = read_recipe(tiny_recipe(augmentation={"redraw": "all"}), {"augmentation.method": "rein"}).recipe
    assert recipe.augmentation.method == "rein"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"method": "mmseg"}, "augmentation.method 'mmseg' is unknown; allowed: benchmark, rein"),
        ({"num_scales": 4}, "unknown key 'augmentation.num_scales'. Another augmentation has it: set"),
        ({"method": "rein", "redraw": "all"}, "unknown key 'augmentation.redraw'"),
        (
            {"method": "rein", "max_class_share": 0},
            "augmentation.max_class_share = 0: input should be greater",
        ),
        (
            {"method": "rein", "scale_min": 3},
            "augmentation.scale_min 3.0 is above augmentation.scale_max 2.0",
        ),
    ],
)
def test_recipe__what_does_not_go_together(said: dict[str, object], says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        read_recipe(tiny_recipe(augmentation=said))
    assert says in str(refused.value)
