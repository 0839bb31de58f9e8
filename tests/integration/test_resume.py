"""A run that is killed and resumed ends with the weights of one that was not, bit for bit, whatever its tuning."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

import vfmseg
from support.killing import fit_until, kill_at
from support.tiny import tiny_recipe
from vfmseg.models.checkpoint import read_header, read_tensors
from vfmseg.training.callbacks.history import read_rows

_STEPS = 30


def _recipe(num_workers: int) -> dict:
    return tiny_recipe(
        data={"num_workers": num_workers},
        training={"steps": _STEPS, "checkpoint_every": 3, "validate_every": 10, "overlays": 0, "ema": 0.2},
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    done = vfmseg.fit(_recipe(0), out=tmp_path_factory.mktemp("whole") / "run", say=lambda message: None)
    return read_tensors(done.folder / "checkpoints" / "last")


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow), 2])
def test_resume__after_kill_9_is_bit_equal(
    num_workers: int, uninterrupted: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(_recipe(num_workers)))
    folder = tmp_path / "run"
    kill_at(recipe, folder, random.Random(num_workers).randint(4, _STEPS - 8))
    vfmseg.fit(recipe, out=folder, resume=True, say=lambda message: None)
    resumed = read_tensors(folder / "checkpoints" / "last")
    assert resumed.keys() == uninterrupted.keys()
    assert all(torch.equal(resumed[key], uninterrupted[key]) for key in resumed)
    steps = [row["step"] for row in read_rows(folder / "metrics.csv") if "train/loss" in row]
    assert steps == list(range(1, _STEPS + 1))


def test_resume__after_sigterm_the_run_has_saved_itself(
    uninterrupted: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(_recipe(0)))
    folder = tmp_path / "run"
    run = fit_until(recipe, folder, 5)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait() == 143, run.stderr
    assert "vfmseg: Stopped by SIGTERM after step" in run.stderr
    assert f"vfmseg fit --out {folder} --resume" in run.stderr
    vfmseg.fit(recipe, out=folder, resume=True, say=lambda message: None)
    resumed = read_tensors(folder / "checkpoints" / "last")
    assert all(torch.equal(resumed[key], uninterrupted[key]) for key in resumed)


_TUNED: dict[str, dict[str, Any]] = {
    "lora": {"tuning": {"method": "lora", "rank": 2}},
    "rein": {
        "tuning": {"method": "rein", "num_tokens": 5, "rank": 2},
        "decoder": {"name": "eomt", "num_queries": 5, "num_blocks": 1},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("method", _TUNED)
def test_resume__of_a_tuned_encoder_after_kill_9_is_bit_equal(method: str, tmp_path: Path) -> None:
    tree = _recipe(0) | _TUNED[method]
    encoder, weights, recipe = tree["encoder"], tmp_path / "encoder.safetensors", tmp_path / "tuned.yaml"
    torch.manual_seed(5)
    vit = timm.create_model(encoder["name"], num_classes=0, img_size=64, **encoder["overrides"])
    save_file(vit.state_dict(), weights)
    encoder["weights"] = str(weights)
    tree["training"] |= {"mask_points": 32}
    recipe.write_text(yaml.safe_dump(tree))
    whole = vfmseg.fit(recipe, out=tmp_path / "whole", say=lambda message: None).folder
    folder = tmp_path / "run"
    kill_at(recipe, folder, 11)
    vfmseg.fit(recipe, out=folder, resume=True, say=lambda message: None)
    for name in ("last", "best"):
        expected, resumed = (read_tensors(run / "checkpoints" / name) for run in (whole, folder))
        assert resumed.keys() == expected.keys()
        assert all(torch.equal(resumed[key], expected[key]) for key in resumed)
        headers = [read_header(run / "checkpoints" / name) for run in (whole, folder)]
        assert headers[0].encoder_hash == headers[1].encoder_hash
        assert headers[0].encoder_hash is not None
        assert headers[0].metrics == headers[1].metrics
