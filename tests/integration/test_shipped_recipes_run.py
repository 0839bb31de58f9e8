"""Every recipe that ships trains two steps and validates on tiny archives in the original layouts.

Encoders are cut to narrow blocks, views to 64 pixels, and what is counted in blocks or pixels with them; all else that a
recipe says stays, and recipes of generated scenes stay whole. `make test` runs those recipes that bring something the
ones before them do not have; `make test-slow` all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vfmseg
from support.every_set import ROOT, EverySet
from vfmseg.models.checkpoint import read_header
from vfmseg.models.decoders.catalog import DECODERS
from vfmseg.models.encoders.catalog import lookup
from vfmseg.runs.decoder_recipe import EoMTRecipe, FullMask2FormerRecipe, LinearRecipe
from vfmseg.runs.recipe import Recipe, as_size
from vfmseg.runs.recipe_reader import list_recipes, read_recipe
from vfmseg.training.callbacks.history import read_rows

_RECIPES = {path: read_recipe(path, needs_data=False).recipe for path in list_recipes()}
_HEADLINES = {"semantic": "miou", "panoptic": "pq", "instance": "ap"}
_SIZE, _QUERIES = 64, 5


def _traits(recipe: Recipe) -> Iterator[tuple[object, ...]]:
    """Yield what the program does differently because of a recipe."""
    decoder, data = recipe.decoder, recipe.data
    yield "data", data.name, data.path, recipe.task
    yield "sources", *(source.name for source in data.sources)
    yield "tuning", recipe.tuning.method
    yield "decoder", decoder.name, recipe.task
    if isinstance(decoder, FullMask2FormerRecipe):
        yield "parts", decoder.adapter, bool(decoder.taps), decoder.pixel_decoder, decoder.multi_scale
    known = lookup(recipe.encoder.name)
    yield "encoder", known.family if known is not None else recipe.encoder.name
    yield "augmentation", recipe.augmentation.method
    yield "view", recipe.windows.stride is None, data.test_size is None


def _marked() -> list[Any]:
    seen: set[tuple[object, ...]] = set()
    marked = []
    for path, recipe in _RECIPES.items():
        is_new = not seen.issuperset(_traits(recipe))
        seen.update(_traits(recipe))
        marked.append(pytest.param(path, marks=() if is_new else pytest.mark.slow))
    return marked


def _cut(recipe: Recipe) -> dict[str, Any]:
    """Return what makes the recipe of a large model one of a tiny model."""
    encoder, decoder, data = recipe.encoder, recipe.decoder, recipe.data
    blocks = getattr(decoder, "num_blocks", None) or 1
    overrides = {"embed_dim": 48, "depth": max(4, blocks) if decoder.name == "eomt" else 4, "num_heads": 2}
    known, (height, width) = lookup(encoder.name), as_size(encoder.image_size)
    if known is not None and known.family == "SAM":
        overrides |= {"img_size": _SIZE, "window_size": 2}
    size = _SIZE if height == width else (_SIZE, _SIZE + 32)
    changes: dict[str, Any] = {
        "encoder": {"image_size": size, "weights": "random", "overrides": overrides},
        "delta_weights": False,
    }
    if "/" in encoder.name:  # its configuration lies on the hub
        changes["encoder"]["name"] = "dinov2-reg-l"
    if not isinstance(decoder, LinearRecipe):
        changes["decoder"] = {"num_queries": _QUERIES}
    if not isinstance(decoder, LinearRecipe | EoMTRecipe):
        changes["decoder"] |= {"num_blocks": 3, "embed_dim": 32, "num_heads": 2}
    if isinstance(decoder, FullMask2FormerRecipe) and decoder.taps:
        changes["decoder"]["taps"] = [0, 1, 2, 3]
    if recipe.tuning.method == "rein":
        changes["tuning"] = {"num_tokens": _QUERIES}
    scale = _SIZE / height
    if recipe.windows.stride is not None:
        changes["windows"] = {"stride": round(recipe.windows.stride * scale)}
    if data.test_size is not None:
        changes["data"] = {"test_size": [round(pixels * scale) for pixels in data.test_size]}
    return changes


@pytest.fixture(scope="module")
def every_set(tmp_path_factory: pytest.TempPathFactory) -> EverySet:
    return EverySet(tmp_path_factory.mktemp("archives"))


def test_recipes__are_all_there() -> None:
    folders = [path.split("/")[1] for path in _RECIPES]
    assert folders.count("dinov2") + folders.count("dinov3") == 24
    assert folders.count("ladder") == 6
    assert len([path for path in _RECIPES if "scenes_" in path]) == 1 + 3  # linear, and EoMT for each task


def test_recipes__are_of_every_decoder_and_task() -> None:
    assert {recipe.decoder.name for recipe in _RECIPES.values()} == set(DECODERS)
    assert {r.task for r in _RECIPES.values() if r.decoder.name == "eomt"} == set(_HEADLINES)


@pytest.mark.parametrize("path", _marked())
def test_recipe__trains_two_steps_and_validates(
    path: str, every_set: EverySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    recipe = _RECIPES[path]
    is_generated = recipe.data.name == "scenes"
    changes: dict[str, Any] = {} if is_generated else _cut(recipe)
    data = changes.setdefault("data", {})
    data |= {"batch_size": 2, "num_workers": 0}
    if is_generated:
        data["scenes"] = {"train": 4, "val": 2}
    else:
        data["path"] = str(every_set.path_for(recipe))
        if recipe.data.sources:
            data["sources"] = [{**dataclasses.asdict(one), "path": ""} for one in recipe.data.sources]
    changes["training"] = {
        "steps": 2,
        "effective_batch_size": 2,
        "warmup": 0,
        "encoder_warmup": 0,
        "mask_points": 32,
        "overlays": 0,
        "loggers": [],
        "validate_every": 2,
        "checkpoint_every": 2,
    }
    changes["trainer"] = {
        "accelerator": "cpu",
        "progress": False,
        "limit_val_batches": 1,
        "log_every_n_steps": 1,
    }
    run = vfmseg.fit(path, out=tmp_path / "run", say=lambda message: None, **changes)
    assert (run.result["steps"], run.result["task"]) == (2, recipe.task)
    assert run.result["tuning"] == recipe.tuning.method
    assert run.result[f"val/{_HEADLINES[recipe.task]}"] is not None
    rows = [row for row in read_rows(run.folder / "metrics.csv") if "train/loss" in row]
    assert [row["step"] for row in rows] == [1, 2]
    assert read_header(run.folder / "checkpoints" / "last").step == 2
