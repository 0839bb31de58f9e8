"""How a recipe says that validation looks at images, what is refused of it, and what is told."""

from __future__ import annotations

from typing import Any

import pytest

from support.tiny import tiny_recipe
from vfmseg.errors import RecipeError
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.windows_recipe import said_of_view, view_row


def of(**changes: Any) -> Recipe:
    return read_recipe(tiny_recipe(**changes)).recipe


def test_view__is_silent_by_default() -> None:
    recipe = of()
    assert (recipe.windows.stride, recipe.data.test_size, recipe.data.test_halved) == (None, None, False)
    assert said_of_view(recipe.windows, recipe.data) == []
    assert view_row(recipe.windows, recipe.data) == {}


def test_view__is_told_and_recorded() -> None:
    recipe = of(windows={"stride": 42}, data={"test_size": [64, 128], "test_halved": True})
    assert view_row(recipe.windows, recipe.data) == {
        "window_stride": 42,
        "test_size": "64x128",
        "test_halved": True,
    }
    halved, fitted, stride = said_of_view(recipe.windows, recipe.data)
    assert "scores are of labels at half their size" in halved
    assert "fit 64 x 128 (data.test_size)" in fitted
    assert "halved labels keep that size" in fitted
    assert "stride of 42 pixels" in stride
    alone = of(windows={"stride": 42}, data={"test_size": [64, 128]})
    assert "labels keep their own size, at which" in said_of_view(alone.windows, alone.data)[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"windows": {"stride": 65}}, "windows.stride 65 is more than the encoder sees (64 pixels)"),
        ({"windows": {"stride": 0}}, "windows.stride = 0: input should be greater than 0"),
        ({"data": {"test_size": [64, 128]}}, "which needs windows.stride; give it (341 with crops of 512)"),
        (
            {"task": "panoptic", "decoder": {"name": "eomt"}, "windows": {"stride": 32}},
            "windows.stride: for task semantic only; a panoptic model sees each image whole",
        ),
        (
            {"task": "instance", "decoder": {"name": "eomt"}, "data": {"test_halved": True}},
            "data.test_halved: for task semantic only",
        ),
    ],
)
def test_view__refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        of(**changes)
    assert says in str(refused.value)
