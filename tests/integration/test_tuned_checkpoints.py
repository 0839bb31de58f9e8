"""Runs of every tuning on an encoder from a file: what their checkpoints hold, and that they find the encoder again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.errors import CheckpointError, VfmsegError
from vfmseg.models.checkpoint import read_header, read_tensors
from vfmseg.models.encoders.load import build_encoder
from vfmseg.runs.tuning_recipe import TUNING_RECIPES

_QUIET = {"say": lambda message: None}
SMALL = {
    "rein": {"num_tokens": 5, "rank": 2},
    "lora": {"rank": 2},
    "soma": {"rank": 2},
    "vpt": {"num_tokens": 3},
}
IMAGE = np.random.default_rng(0).integers(0, 255, (50, 91, 3), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a file of weights for the tiny recipe's encoder."""
    torch.manual_seed(5)
    encoder = tiny_recipe()["encoder"]
    size = (encoder["image_size"], encoder["image_size"])
    built = build_encoder(encoder["name"], size, 16, weights="random", overrides=encoder["overrides"])
    save_file(
        {k: v.contiguous() for k, v in built.vit.state_dict().items()}, tmp_path / "encoder.safetensors"
    )
    return tmp_path / "encoder.safetensors"


def recipe(method: str, weights: Path | str) -> dict[str, Any]:
    return tiny_recipe(encoder={"weights": str(weights)}, tuning={"method": method, **SMALL.get(method, {})})


@pytest.mark.parametrize("method", TUNING_RECIPES)
def test_fit__a_tuned_model_leaves_its_encoder_out_and_finds_it_again(
    weights: Path, tmp_path: Path, method: str
) -> None:
    run = vfmseg.fit(recipe(method, weights), out=tmp_path / "run", **_QUIET).folder
    best = run / "checkpoints" / "best"
    header, tensors = read_header(best), read_tensors(best)
    result = json.loads((run / "result.json").read_text())
    learned = result["parameters_trainable"]
    assert (header.encoder_hash is None) == (method == "full")
    if method == "full":
        assert learned == result["parameters_total"]
    else:
        extra = 2 if method == "soma" else 1  # the components as they were at the start, too
        assert learned <= sum(t.numel() for t in tensors.values()) <= extra * learned
        assert learned < result["parameters_total"]
    assert vfmseg.load(best).predict(IMAGE).semantic.shape == (50, 91)
    again = vfmseg.validate(run / "checkpoints" / "last", **_QUIET)
    assert again.scores.miou == pytest.approx(result["val/miou"], abs=1e-9)

    resumed = vfmseg.fit(
        recipe(method, weights), out=run, resume=True, **{"training.steps": 6}, **_QUIET
    ).folder
    assert read_header(resumed / "checkpoints" / "last").encoder_hash == header.encoder_hash

    other = vfmseg.fit(recipe(method, weights), init_from=str(best), out=tmp_path / "other", **_QUIET)
    whole = read_header(other.folder / "checkpoints" / "best")
    assert whole.encoder_hash is None, "the recipe's weights alone would not give this encoder"
    weights.unlink()
    vfmseg.load(other.folder).predict(IMAGE)
    if method == "full":
        vfmseg.load(best).predict(IMAGE)
    else:
        with pytest.raises(VfmsegError, match=r"encoder\.safetensors"):
            vfmseg.load(best)


def test_load__an_encoder_of_other_weights_is_refused(weights: Path, tmp_path: Path) -> None:
    run = vfmseg.fit(recipe("lora", weights), out=tmp_path / "run", **_QUIET).folder
    with torch.no_grad():
        changed = {name: tensor + (name == "cls_token") for name, tensor in _read(weights).items()}
    save_file(changed, weights)
    with pytest.raises(CheckpointError, match=r"tuning lora and the decoder .* hash .*encoder\.weights"):
        vfmseg.load(run)
    weights.unlink()
    with pytest.raises(VfmsegError, match=r"encoder\.safetensors"):
        vfmseg.load(run)


def test_fit__of_random_weights_is_saved_whole(tmp_path: Path) -> None:
    run = vfmseg.fit(recipe("rein", "random"), out=tmp_path / "run", **_QUIET).folder
    assert read_header(run).encoder_hash is None
    assert any(name.startswith("encoder.vit.blocks") for name in read_tensors(run))


def _read(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(file)
