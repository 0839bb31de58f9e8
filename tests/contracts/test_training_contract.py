"""What every tuning with every decoder on every kind of encoder does in a run, from the recipe to the loaded model.

Two steps of the real training code change exactly the parameters that learn, and a checkpoint gives the same output
bit for bit. `make test` runs a part in which each pair of tuning, decoder and encoder meets; `make test-slow` all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from support.encoders import FAMILIES, randomise
from support.tiny import tiny_recipe
from vfmseg.errors import RecipeError
from vfmseg.models.checkpoint import CheckpointHeader, save_model
from vfmseg.models.decoders.catalog import DECODERS
from vfmseg.models.frozen_weights import frozen_names, hash_of_frozen
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.catalog import TUNINGS
from vfmseg.runs.assemble import Splits, build_criterion, build_data, build_model, build_module, open_splits
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree
from vfmseg.runs.validate import restore
from vfmseg.types import Batch, PixelLogits

QUERIES = 5
ENCODERS = {"dinov2": "dinov2_reg", "dinov3": "dinov3", "eva02": "eva02", "sam": "sam", "clip": "clip"}
"""The word that tests show -> a family of ``support.encoders``."""
_MASK2FORMER = {"num_queries": QUERIES, "num_blocks": 2, "embed_dim": 16, "num_heads": 2}
_FULL = {"name": "mask2former_full", **_MASK2FORMER, "num_blocks": 3}
DECODER_SECTIONS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear"},
    "mask2former": {"name": "mask2former", **_MASK2FORMER},
    "full": _FULL,
    "full_no_adapter": {**_FULL, "adapter": False},
    "full_taps": {**_FULL, "adapter": False, "taps": [0, 1, 2, 3]},
    "full_one_scale": {**_FULL, "adapter": False, "pixel_decoder": False, "multi_scale": False},
    "eomt": {"name": "eomt", "num_queries": QUERIES, "num_blocks": 2},
}
TUNING_SECTIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "frozen": {},
    "rein": {"num_tokens": QUERIES, "rank": 2},
    "lora": {"rank": 2},
    "soma": {"rank": 2},
    "adaptformer": {"bottleneck": 4},
    "vpt": {"num_tokens": 3},
    "bitfit": {},
    "partial": {"num_blocks": 2},
}
LEARNS = {
    "full": r"encoder\..*",
    "frozen": r"(?!)",
    "rein": r"tuning\..*",
    "lora": r"encoder\.vit\.blocks\.\d\.attn\.(qkv|[qkv]_proj)\.(down|up)",
    "soma": r"encoder\.vit\.blocks\.\d\.(attn|mlp)\.\w+\.(down|up)",
    "adaptformer": r"tuning\.(down|up)\.\d\.(weight|bias)",
    "vpt": r"tuning\.prompts",
    "bitfit": r"encoder\..*\.(bias|q_bias|v_bias)",
    "partial": r"encoder\.vit\.(blocks\.[23]|norm|fc_norm)\..*",
}
"""What of a segmenter learns beside the decoder, by its name: written down here, not asked of the code."""
UNSEEN = dict.fromkeys(("full", "full_taps"), r"encoder\.vit\.norm\..*")
"""What learns by name, but is nothing that these decoders look at."""
NUM_STEPS = {"full": 3}
"""Where two are not enough: behind a gate and a layer that both start at zero, the first gradient comes in the third."""
REFUSED = {("vpt", decoder, "sam") for decoder in DECODER_SECTIONS} | {
    (tuning, "eomt", "sam") for tuning in TUNING_SECTIONS
}
"""All that is refused, because SAM attends within windows; no other combination is."""

CELLS = [(t, d, e) for t in TUNING_SECTIONS for d in DECODER_SECTIONS for e in ENCODERS]
_PLACES = [list(TUNING_SECTIONS), list(DECODER_SECTIONS), list(ENCODERS)]


def _in_part(cell: tuple[str, str, str]) -> bool:
    tuning, decoder, encoder = (words.index(word) for words, word in zip(_PLACES, cell, strict=True))
    return (tuning + decoder) % len(ENCODERS) == encoder


def _marked(cell: tuple[str, str, str]) -> Any:
    return pytest.param(*cell, id="-".join(cell), marks=() if _in_part(cell) else pytest.mark.slow)


def recipe_of(tuning: str, decoder: str, encoder: str, weights: Path | str = "random") -> dict[str, Any]:
    name, overrides = FAMILIES[ENCODERS[encoder]]
    sizes = {key: value for key, value in overrides.items() if isinstance(value, int)}
    tree = tiny_recipe(
        encoder={"name": name, "weights": str(weights)},
        tuning={"method": tuning, **TUNING_SECTIONS[tuning]},
        decoder=DECODER_SECTIONS[decoder],
        training={"mask_points": 16, "effective_batch_size": 2, "encoder_lr_factor": 1.0},
    )
    tree["encoder"]["overrides"] = {**sizes, "embed_dim": 24, "depth": 4}
    return tree


@pytest.fixture(scope="module")
def weights_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from an encoder to a file of weights of which none is zero, so that all are seen to change."""
    folder = tmp_path_factory.mktemp("weights")

    def file_of(encoder: str) -> Path:
        file = folder / f"{encoder}.safetensors"
        if not file.exists():
            chosen = recipe_of("full", "linear", encoder)["encoder"]
            vit = timm.create_model(chosen["name"], pretrained=False, num_classes=0, **chosen["overrides"])
            randomise(vit)
            save_file({key: value.contiguous() for key, value in vit.state_dict().items()}, file)
        return file

    return file_of


@pytest.fixture(scope="module")
def splits() -> Splits:
    return open_splits(read_recipe(tiny_recipe()).recipe, lambda message: None)


@pytest.fixture(scope="module")
def batch(splits: Splits) -> Batch:
    """Return the first batch of the recipes' data, augmented as a run augments it."""
    data = build_data(read_recipe(tiny_recipe()).recipe, splits.train, splits.val)
    return data.collate(
        [data.transform(splits.train[index], np.random.default_rng(index)) for index in range(2)]
    )


def state_of(segmenter: Segmenter) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in segmenter.state_dict().items()}


def train(recipe: Recipe, segmenter: Segmenter, splits: Splits, batch: Batch, num_steps: int) -> None:
    """Do what Lightning does with the module of ``recipe``, without its loops; end ready to predict."""
    criterion = build_criterion(recipe, splits.train, lambda message: None)
    module = build_module(recipe, segmenter, criterion, splits.label_space).train()
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    for step in range(num_steps):
        optimizer.zero_grad()
        module.training_step(batch, step).backward()
        optimizer.step()
        schedule.step()
    segmenter.decoder.mask_probabilities = module.masks.inference


def said(segmenter: Segmenter, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        output = segmenter.eval()(images)
    if isinstance(output, PixelLogits):
        return [output.logits]
    return [part for layer in output for part in (layer.mask_logits, layer.class_logits)]


def test_there_are_no_tunings_and_decoders_without_a_contract() -> None:
    assert TUNING_SECTIONS.keys() == TUNINGS.keys() == LEARNS.keys()
    assert {section["name"] for section in DECODER_SECTIONS.values()} == DECODERS.keys()


def test_the_part_that_is_always_run__has_every_pair() -> None:
    part = [cell for cell in CELLS if _in_part(cell)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert {(c[one], c[other]) for c in part} == {(a, b) for a in _PLACES[one] for b in _PLACES[other]}


@pytest.mark.parametrize(("tuning", "decoder", "encoder"), [_marked(cell) for cell in CELLS])
def test_combination__what_learns_changes_and_is_found_again(
    tuning: str,
    decoder: str,
    encoder: str,
    weights_of: Callable[[str], Path],
    splits: Splits,
    batch: Batch,
    tmp_path: Path,
) -> None:
    if (tuning, decoder, encoder) in REFUSED:
        with pytest.raises(RecipeError, match="attends within windows"):
            build_model(read_recipe(recipe_of(tuning, decoder, encoder)).recipe, 3)
        return
    recipe = read_recipe(recipe_of(tuning, decoder, encoder, weights_of(encoder))).recipe
    segmenter = build_model(recipe, splits.label_space.num_classes)
    before = state_of(segmenter)
    train(recipe, segmenter, splits, batch, NUM_STEPS.get(decoder, 2))
    after = state_of(segmenter)
    named = {name for name, _ in segmenter.named_parameters()}
    learn = {name for name in named if re.fullmatch(rf"decoder\..*|{LEARNS[tuning]}", name)}
    assert {name for name, p in segmenter.named_parameters() if p.requires_grad} == learn
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    counted = {name for name in changed - named if name.startswith("decoder.")}  # a norm's statistics
    unseen = {name for name in learn if re.fullmatch(UNSEEN.get(decoder, r"(?!)"), name)}
    assert changed - counted == learn - unseen

    header = CheckpointHeader(
        recipe_tree(recipe),
        splits.label_space,
        (0.5,) * 3,
        (0.5,) * 3,
        2,
        encoder_hash=hash_of_frozen(segmenter),
    )
    save_model(tmp_path, segmenter, header, left_out=frozen_names(segmenter))
    loaded = restore(tmp_path)
    expected, found = said(segmenter, batch.images), said(loaded, batch.images)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


@pytest.mark.parametrize("decoder", DECODER_SECTIONS)
def test_rein__a_link_that_cannot_be_is_refused(decoder: str) -> None:
    tree = recipe_of("rein", decoder, "dinov2")
    tree["tuning"] |= {"link": True, "num_tokens": QUERIES + 1}
    reason = (
        "the decoder has no queries"
        if decoder == "linear"
        else r"tuning\.num_tokens is 6 and decoder\.num_queries 5"
    )
    with pytest.raises(RecipeError, match=reason):
        read_recipe(tree)
