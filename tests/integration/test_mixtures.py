"""A run that learns from several data sets at once, and from a part of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.archives import write_cityscapes
from support.driving import write_synthia, write_urbansyn
from support.errors import raises
from support.tiny import tiny_recipe
from vfmseg.errors import ArchiveError, DataError
from vfmseg.runs.fit import fit
from vfmseg.runs.recipe_reader import read_recipe


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Cityscapes, SYNTHIA and UrbanSyn in one folder."""
    for write in (write_cityscapes, write_synthia, write_urbansyn):
        write(tmp_path / "data")
    return tmp_path / "data"


def recipe_of(path: Path, **changes: Any) -> dict[str, Any]:
    recipe = tiny_recipe(data={"name": "cityscapes", "path": str(path), **changes}, training={"steps": 2})
    del recipe["data"]["scenes"]
    return recipe


def test_fit__on_a_mixture(data: Path, tmp_path: Path) -> None:
    sources = [
        {"name": "synthia", "weight": 2, "fraction": "1/2"},
        {"name": "urbansyn", "weight": 1},
        {"name": "cityscapes", "weight": 1, "fraction": "1/4"},
    ]
    heard: list[str] = []
    run = fit(read_recipe(recipe_of(data, sources=sources)), out=tmp_path / "run", say=heard.append)
    lines = (tmp_path / "run" / "training_images.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == (
        ["SYNTHIA train"] * 2 + ["UrbanSyn train"] * 4 + ["Cityscapes train"]
    )
    assert any("SYNTHIA train: 4 images" in line and "Used: 2, weight 2." in line for line in heard)
    assert "data: 7 training and 2 validation images, 19 classes" in heard
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == run.result
    resolved = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert resolved["data"]["sources"][0]["fraction"] == 0.5


def test_fit__on_a_fraction_of_the_training_split_only(data: Path, tmp_path: Path) -> None:
    lists = []
    for name, seed in (("a", 0), ("b", 1)):
        recipe = recipe_of(data, fraction="1/4") | {"seed": seed}
        recipe["training"]["class_weights"] = "auto"  # reads labels of the part alone
        heard: list[str] = []
        fit(read_recipe(recipe), out=tmp_path / name, say=heard.append)
        assert "data: 1 training and 2 validation images, 19 classes" in heard
        lists.append((tmp_path / name / "training_images.txt").read_text())
    assert lists[0] == lists[1]  # whatever the run's seed
    assert lists[0].startswith("Cityscapes train\tleftImg8bit/train/aachen/")


def test_fit__source_that_is_not_there_or_has_other_classes(data: Path, tmp_path: Path) -> None:
    recipe = recipe_of(data, sources=[{"name": "synthia"}, {"name": "bdd100k"}])
    with raises(ArchiveError, "BDD100K train: 2 of 2 files missing"):
        fit(read_recipe(recipe), out=tmp_path / "run")
    scenes = {"image_size": [64, 80], "train": 2, "val": 1, "seed": 1}
    recipe = recipe_of(data, sources=[{"name": "synthia"}, {"name": "scenes"}], scenes=scenes)
    with raises(DataError, "SYNTHIA train has the classes road, sidewalk", "need the same classes"):
        fit(read_recipe(recipe), out=tmp_path / "run")
