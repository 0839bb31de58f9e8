"""Every recipe that ships resolves, survives a round trip and opens with how to run it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from vfmseg.cli.program import split_recipe_words
from vfmseg.cli.recipe_options import read
from vfmseg.data.catalog import DATASETS, tasks_of
from vfmseg.models.encoders.catalog import lookup
from vfmseg.runs.recipe import LoadedRecipe
from vfmseg.runs.recipe_reader import find_recipe, list_recipes, read_recipe, recipe_yaml

ROOT = Path(__file__).parents[2]
RECIPES = list_recipes()


def loaded(name: str) -> LoadedRecipe:
    needs_path = "name: scenes" not in find_recipe(name).read_text()
    return read_recipe(name, {"data.path": "somewhere"} if needs_path else {})


def test_recipes__are_those_in_the_folder() -> None:
    in_folder = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    others = ("configs/data/", "configs/studies/")
    assert {name for name in in_folder if not name.startswith(others)} == set(RECIPES)
    assert "configs/scenes_linear_semantic.yaml" in in_folder


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__resolves_and_is_read_back_the_same(name: str, tmp_path: Path) -> None:
    recipe = loaded(name).recipe
    saved = tmp_path / "recipe.yaml"
    saved.write_text(recipe_yaml(recipe), encoding="utf-8")
    assert read_recipe(saved).recipe == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__names_an_encoder_and_a_data_set_that_exist(name: str) -> None:
    recipe = loaded(name).recipe
    is_of_hub = "/" in recipe.encoder.name
    assert lookup(recipe.encoder.name) is not None or recipe.encoder.weights == "random" or is_of_hub
    assert recipe.data.name in DATASETS
    assert recipe.task in tasks_of(recipe.data.name)


def test_recipes__names_of_runs_differ() -> None:
    assert len({loaded(name).name for name in RECIPES}) == len(RECIPES)
    assert (
        loaded("configs/dinov2/coco/instance/eomt_large_640.yaml").name
        == "dinov2_coco_instance_eomt_large_640"
    )


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__opens_with_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    comment = []
    for line in find_recipe(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    commands = [line for line in comment if line.startswith("vfmseg fit ")]
    assert commands, "a recipe opens with a comment that holds the command to run it"
    monkeypatch.chdir(ROOT)
    for command in commands:
        words = shlex.split(command)[2:]
        own, recipe_words = split_recipe_words(words, {"-c"})
        assert own == ["-c", name]
        assert read(name, recipe_words) is not None
