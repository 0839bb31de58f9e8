"""The recipes of EoMT's model zoo and of its ladder say what was published (arXiv 2503.19108; tue-mps/eomt model_zoo)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vfmseg.data.catalog import SPECS
from vfmseg.runs.assemble import build_model, mask_schedule
from vfmseg.runs.decoder_recipe import EoMTRecipe, FullMask2FormerRecipe
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import find_recipe, list_recipes, read_recipe
from vfmseg.runs.start_weights import published_label_space

COCO, ADE20K, CITYSCAPES = 7391, 1262, 186  # optimiser steps an epoch
L = ([14782, 29564, 44346, 59128], [29564, 44346, 59128, 73910])
SMALL = ([14782, 36955, 59128], [29564, 51737, 73910])
SMALL_2X = ([29564, 73910, 118256], [59128, 103474, 147820])
G = ([14782, 25869, 36955, 48042, 59128], [29564, 40651, 51737, 62824, 73910])
ADE_L = ([6520, 13040, 19560, 26080], [13040, 19560, 26080, 32600])
ADE_G = ([6520, 11410, 16300, 21190, 26080], [13040, 17930, 22820, 27710, 32600])
CITY = ([3317, 6634, 9951, 13268], [6634, 9951, 13268, 16585])
V3_L = ([0, 29564, 44346, 59128], [3000, 44346, 59128, 73910])
V3_SMALL = ([0, 73910, 118256], [3000, 103474, 147820])
V3_ADE = ([0, 6520, 9780, 13040], [3000, 9780, 13040, 16300])

# path -> encoder, epochs x steps, annealing, published score, millions of parameters (None: not printed)
ZOO: dict[str, tuple[str, int, tuple[list[int], list[int]], float, float | None]] = {
    "dinov2/coco/panoptic/eomt_small_640_1x": ("dinov2-reg-s", 12 * COCO, SMALL, 44.7, 24),
    "dinov2/coco/panoptic/eomt_small_640_2x": ("dinov2-reg-s", 24 * COCO, SMALL_2X, 46.7, 24),
    "dinov2/coco/panoptic/eomt_base_640_1x": ("dinov2-reg-b", 12 * COCO, SMALL, 50.6, 93),
    "dinov2/coco/panoptic/eomt_base_640_2x": ("dinov2-reg-b", 24 * COCO, SMALL_2X, 51.6, 93),
    "dinov2/coco/panoptic/eomt_large_640": ("dinov2-reg-l", 12 * COCO, L, 56.0, 316),
    "dinov2/coco/panoptic/eomt_large_1280": ("dinov2-reg-l", 12 * COCO, L, 58.3, 322),
    "dinov2/coco/panoptic/eomt_giant_640": ("dinov2-reg-g", 12 * COCO, G, 57.0, 1164),
    "dinov2/coco/panoptic/eomt_giant_1280": ("dinov2-reg-g", 12 * COCO, G, 59.2, 1171),
    "dinov2/coco/panoptic/eomt_7b_640": ("facebook/webssl-dino7b-full8b-518", 12 * COCO, G, 58.4, None),
    "dinov2/coco/instance/eomt_large_640": ("dinov2-reg-l", 12 * COCO, L, 45.2, None),
    "dinov2/coco/instance/eomt_large_1280": ("dinov2-reg-l", 12 * COCO, L, 48.8, None),
    "dinov2/ade20k/panoptic/eomt_large_640": ("dinov2-reg-l", 31 * ADE20K, ADE_L, 50.6, 316),
    "dinov2/ade20k/panoptic/eomt_large_1280": ("dinov2-reg-l", 31 * ADE20K, ADE_L, 51.7, 322),
    "dinov2/ade20k/panoptic/eomt_giant_640": ("dinov2-reg-g", 31 * ADE20K, ADE_G, 51.3, 1164),
    "dinov2/ade20k/panoptic/eomt_giant_1280": ("dinov2-reg-g", 31 * ADE20K, ADE_G, 52.8, 1171),
    "dinov2/ade20k/semantic/eomt_large_512": ("dinov2-reg-l", 31 * ADE20K, ADE_L, 58.4, 316),
    "dinov2/cityscapes/semantic/eomt_large_1024": ("dinov2-reg-l", 107 * CITYSCAPES, CITY, 84.2, 319),
    "dinov3/coco/panoptic/eomt_small_640_2x": ("dinov3-s", 24 * COCO, V3_SMALL, 47.2, None),
    "dinov3/coco/panoptic/eomt_base_640_2x": ("dinov3-b", 24 * COCO, V3_SMALL, 53.1, None),
    "dinov3/coco/panoptic/eomt_large_640": ("dinov3-l", 12 * COCO, V3_L, 56.8, None),
    "dinov3/coco/panoptic/eomt_large_1280": ("dinov3-l", 12 * COCO, V3_L, 58.9, None),
    "dinov3/coco/instance/eomt_large_640": ("dinov3-l", 12 * COCO, L, 45.9, None),
    "dinov3/coco/instance/eomt_large_1280": ("dinov3-l", 12 * COCO, L, 49.9, None),
    "dinov3/ade20k/semantic/eomt_large_512": ("dinov3-l", 16 * ADE20K, V3_ADE, 59.5, None),
}
# parts (adapter, pixel decoder, several scales), or masks of EoMT; published PQ and millions of parameters
LADDER: dict[str, tuple[Any, float, int]] = {
    "step0_adapter_m2f": ((True, True, True), 57.1, 349),
    "step1_no_adapter": ((False, True, True), 56.7, 342),
    "step2_no_pixel_decoder": ((False, False, True), 56.9, 337),
    "step3_single_scale": ((False, False, False), 56.7, 328),
    "step4_eomt_masked": ("always", 56.2, 316),
    "step5_eomt": ("annealed", 56.0, 316),
}


def read(path: str, **changes: Any) -> Recipe:
    return read_recipe(f"configs/{path}.yaml", {"data.path": "somewhere", **changes}).recipe


def comment(path: str) -> str:
    lines = find_recipe(f"configs/{path}.yaml").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("#"))


def num_parameters_m(recipe: Recipe) -> float:
    with torch.device("meta"):
        segmenter = build_model(recipe, published_label_space(recipe).num_classes)
    return sum(p.numel() for p in segmenter.parameters()) / 1e6


def test_zoo__is_what_is_shipped() -> None:
    shipped = {name for name in list_recipes() if name.startswith(("configs/dinov2/", "configs/dinov3/"))}
    assert shipped == {f"configs/{path}.yaml" for path in ZOO}
    assert {Path(name).stem for name in list_recipes() if "/ladder/" in name} == set(LADDER)


@pytest.mark.parametrize("path", ZOO)
def test_zoo__resolves_to_the_published_settings(path: str) -> None:
    encoder, steps, (starts, ends), score, _ = ZOO[path]
    generation, data, task, name = path.split("/")
    recipe, is_v3 = read(path), generation == "dinov3"
    training, decoder = recipe.training, recipe.decoder
    assert isinstance(decoder, EoMTRecipe)
    assert (recipe.encoder.name, recipe.data.name, recipe.task) == (encoder, data, task)
    assert (recipe.encoder.patch_size, str(recipe.encoder.image_size)) == (16, name.split("_")[2])
    assert recipe.encoder.rope_rescale == (2.0 if is_v3 else None)
    assert decoder.num_queries == (100 if task == "semantic" else 200)
    assert decoder.num_blocks == {"small": 3, "base": 3, "large": 4, "giant": 5, "7b": 5}[name.split("_")[1]]
    assert decoder.masks == "annealed"
    schedule = mask_schedule(recipe, decoder.num_blocks)
    assert (list(schedule.starts), list(schedule.ends), schedule.power) == (starts, ends, 0.9)
    assert schedule.probabilities(steps - 1) == (0.0,) * decoder.num_blocks
    assert (training.steps, training.effective_batch_size, training.poly_power) == (steps, 16, 0.9)
    assert (training.warmup, training.encoder_warmup) == ((2000, 3000) if is_v3 else (500, 1000))
    assert training.learning_rate == (2e-4 if is_v3 else 1e-4)
    is_v3_semantic = is_v3 and task == "semantic"
    assert training.layer_decay == (1.0 if is_v3_semantic else 0.8)
    assert training.encoder_lr_factor == (0.1 if is_v3_semantic else 1.0)
    assert training.layer_decay_spares_queries == (is_v3 and not is_v3_semantic)
    assert (training.weight_decay, training.gradient_clip, training.mask_points) == (0.05, 0.01, 12544)
    assert (training.precision, training.loss_average, recipe.seed) == ("16-mixed", "batch", 0)
    assert (recipe.augmentation.scale_min, recipe.augmentation.scale_max) == (
        0.5 if task == "semantic" else 0.1,
        2.0,
    )
    assert (recipe.augmentation.color_jitter, recipe.augmentation.redraw) == (data != "coco", "all")
    assert recipe.data.skip_constant_labels
    assert recipe.delta_weights == is_v3
    assert f"Published: {score} " in comment(path)
    assert all(file.partition(".")[0] in comment(path) for file in SPECS[data].files if data != "coco")


@pytest.mark.parametrize("path", [path for path, row in ZOO.items() if row[4] is not None])
def test_zoo__has_the_published_parameters(path: str) -> None:
    published = ZOO[path][4]
    assert published is not None
    assert num_parameters_m(read(path, **{"encoder.weights": "random"})) == pytest.approx(published, abs=1.0)


@pytest.mark.parametrize("step", LADDER)
def test_ladder__takes_one_part_away_at_each_step(step: str) -> None:
    parts, score, parameters_m = LADDER[step]
    recipe, zoo = (
        read(f"ladder/{step}", **{"encoder.weights": "random"}),
        read("dinov2/coco/panoptic/eomt_large_640"),
    )
    decoder = recipe.decoder
    if isinstance(decoder, FullMask2FormerRecipe):
        assert (decoder.adapter, decoder.pixel_decoder, decoder.multi_scale) == parts
        assert (decoder.num_queries, decoder.num_blocks) == (200, 9)
    else:
        assert isinstance(decoder, EoMTRecipe)
        assert decoder.masks == parts
    assert (recipe.training, recipe.data, recipe.augmentation) == (zoo.training, zoo.data, zoo.augmentation)
    assert f"Published: {score} PQ; {parameters_m}M parameters" in comment(f"ladder/{step}")
    assert num_parameters_m(recipe) == pytest.approx(parameters_m, abs=1.0)


def test_ladder__ends_with_the_zoos_eomt() -> None:
    assert read("ladder/step5_eomt") == read("dinov2/coco/panoptic/eomt_large_640")


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_scenes__one_tiny_recipe_a_task(task: str) -> None:
    recipe = read_recipe(f"configs/scenes_eomt_{task}.yaml").recipe
    assert (recipe.task, recipe.data.name, recipe.encoder.weights) == (task, "scenes", "random")
    assert isinstance(recipe.decoder, EoMTRecipe)
    assert recipe.decoder.num_queries == 40
