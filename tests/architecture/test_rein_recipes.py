"""Rein's recipes are what their script writes, say what was published, and build (arXiv 2312.04265; w1oves/Rein)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vfmseg.models.summary import count_parameters
from vfmseg.runs.assemble import build_model
from vfmseg.runs.augmentation_recipe import ReinAugmentationRecipe
from vfmseg.runs.decoder_recipe import FullMask2FormerRecipe
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import find_recipe, list_recipes, read_recipe
from vfmseg.runs.target import parse_target

ROOT = Path(__file__).parents[2]
RECIPES = [name for name in list_recipes() if name.startswith("configs/rein/")]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rein_recipes", ROOT / "docs" / "generate_rein_recipes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> Recipe:
    return read_recipe(name, {"data.path": "somewhere"}).recipe


def test_recipes__are_what_the_script_writes() -> None:
    written = {f"configs/rein/{path}": text for path, text in script().recipes().items()}
    found = {name: find_recipe(name).read_text(encoding="utf-8") for name in RECIPES}
    assert found == written, "run `make docs`, or python docs/generate_rein_recipes.py"


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__follows_the_published_protocol(name: str) -> None:
    recipe = read(name)
    training, is_large = recipe.training, "_1024_" in name
    assert (training.steps, training.poly_power, training.weight_decay, recipe.seed) == (
        40_000,
        0.9,
        0.05,
        42,
    )
    assert (training.decay_norms, training.inclusive_spans, training.precision) == (False, True, "32-true")
    assert (recipe.encoder.image_size, recipe.encoder.patch_size) == (1024 if is_large else 512, 16)
    assert recipe.encoder.statistics == "imagenet"
    assert recipe.augmentation == ReinAugmentationRecipe()
    assert isinstance(recipe.decoder, FullMask2FormerRecipe)
    assert (recipe.decoder.num_queries, recipe.decoder.adapter, len(recipe.decoder.taps)) == (100, False, 4)
    if is_large:
        assert (training.learning_rate, training.warmup, training.warmup_start) == (6e-5, 10_000, 1e-6)
        assert (recipe.data.batch_size, training.effective_batch_size) == (2, 8)
        assert (recipe.windows.stride, recipe.data.test_size) == (683, (1024, 2048))
    else:
        assert (training.learning_rate, training.warmup) == (1e-4, 0)
        assert (recipe.data.batch_size, training.effective_batch_size) == (4, 4)
        assert (recipe.windows.stride, recipe.data.test_size) == (341, (512, 1024))
    assert recipe.data.test_halved is False
    # lr 1e-5 of a fully tuned encoder, 1e-4 of head and Rein (v1)
    assert training.encoder_lr_factor == 0.1


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__its_targets_can_be_typed(name: str) -> None:
    recipe, text = read(name), find_recipe(name).read_text(encoding="utf-8")
    targets = [parse_target(one, split="val") for one in re.findall(r"--target '(.+)'", text)]
    assert len(targets) >= 2
    sizes = {}
    for target in targets:
        seen = read_recipe(recipe, {"data": dict(target.data)}).recipe
        sizes[target.name] = (seen.data.name, seen.data.test_size, seen.data.test_halved)
    assert sizes["bdd"] == ("bdd100k", (720, 1280), False)
    assert sizes["mapillary"] == ("mapillary", (512, 1024), True)


@pytest.mark.parametrize(
    ("folder", "sources"),
    [
        ("gta5_synthia", [("gta5", 1), ("synthia", 1)]),
        ("gta5_synthia_urbansyn", [("gta5", 1), ("synthia", 1), ("urbansyn", 1)]),
        (
            "gta5_synthia_urbansyn_cityscapes16",
            [("gta5", 1), ("synthia", 1), ("urbansyn", 1), ("cityscapes", 1 / 16)],
        ),
        ("cityscapes", []),
    ],
)
def test_recipe__sources_are_mixed_by_their_images(folder: str, sources: list[tuple[str, float]]) -> None:
    data = read(f"configs/rein/{folder}/dinov2_large_512_rein.yaml").data
    assert [(source.name, source.fraction) for source in data.sources] == sources
    assert all(source.weight is None for source in data.sources)
    assert data.name == "cityscapes"


def test_recipes__none_of_prompts_among_sams_tokens() -> None:
    assert not [name for name in RECIPES if "sam_" in name and "vpt" in name]


@pytest.mark.parametrize(
    "name", [name for name in RECIPES if name.count("/") == 2 and name.endswith("_512_rein.yaml")]
)
def test_recipe__builds_and_learns_as_many_parameters_as_it_says(name: str) -> None:
    recipe = read_recipe(name, {"data.path": "somewhere", "encoder.weights": "random"}).recipe
    with torch.device("meta"):
        segmenter = build_model(recipe, 19)
    learned = sum(parameter.numel() for parameter in segmenter.tuning_parameters())
    text = find_recipe(name).read_text(encoding="utf-8").replace("\n# ", " ")
    if printed := re.search(r"added to it: (\d+\.\d+)M", text):
        assert learned / 1e6 == pytest.approx(float(printed[1]), abs=0.005)
    head = count_parameters(segmenter).trainable - learned
    assert head / 1e6 == pytest.approx(20.6, abs=0.9)  # 20.6M in the paper, of large encoders
