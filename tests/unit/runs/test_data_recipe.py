"""What a recipe may say of fractions and of mixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.errors import raises
from vfmseg.errors import RecipeError
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_yaml


def recipe(**data: Any) -> Recipe:
    return read_recipe({"data": {"name": "cityscapes", "path": "DIR", **data}}).recipe


@pytest.mark.parametrize(("typed", "value"), [("1/16", 1 / 16), (" 1 / 4 ", 0.25), ("0.5", 0.5), (1, 1.0)])
def test_fraction__is_read_as_it_is_written(typed: object, value: float) -> None:
    assert recipe(fraction=typed).data.fraction == value


@pytest.mark.parametrize("typed", ["1/0", "5/4", "0/4", 0, -1, "a/b", True])
def test_fraction__that_is_none(typed: object) -> None:
    with raises(RecipeError, "data.fraction = "):
        recipe(fraction=typed)


def test_sources__round_trip(tmp_path: Path) -> None:
    made = recipe(
        sources=[{"name": "gta5", "weight": 2, "fraction": "1/16"}, {"name": "synthia", "weight": 1}]
    )
    assert [source.fraction for source in made.data.sources] == [1 / 16, 1.0]
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_yaml(made))
    assert read_recipe(file).recipe == made


def test_sources__paths_beside_the_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "gta").mkdir()
    file = tmp_path / "mine.yaml"
    file.write_text(
        "data: {name: cityscapes, path: DIR, sources: [{name: gta5, path: gta}, {name: synthia}]}\n"
    )
    assert [s.path for s in read_recipe(file).recipe.data.sources] == [str(tmp_path / "gta"), ""]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"sources": [{"name": "gta5"}], "fraction": 0.5}, "give the sources a fraction of their own"),
        (
            {"sources": [{"name": "gta5", "weight": 1}, {"name": "synthia"}, {"name": "urbansyn"}]},
            "data.sources has weights, but not in number 1, 2; give all of them one, or none",
        ),
        (
            {"sources": [{"name": "gta5", "weight": 1}, {"name": "synthia", "weight": 5000}]},
            "data.sources.0.weight 1 is less than a thousandth of all weights",
        ),
        ({"sources": [{"name": "gta5", "weight": 0}]}, "data.sources.0.weight = 0: "),
        ({"sources": [{"path": "DIR"}]}, "data.sources.0.name"),
        ({"sources": [{"name": "gta5", "wieght": 1}]}, "unknown key 'data.sources.0.wieght'"),
        ({"name": "scenes", "path": "", "sources": [{"name": "gta5"}]}, "data.sources.0.path is missing"),
    ],
)
def test_sources__contradictions(data: dict[str, Any], said: str) -> None:
    with raises(RecipeError, said):
        recipe(**data)
