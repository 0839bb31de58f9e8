"""Tuned runs merged by the program: equal outputs, an ordinary checkpoint, and what cannot be merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.models.checkpoint import read_header, read_tensors
from vfmseg.models.encoders.load import build_encoder
from vfmseg.runs.validate import restore

_QUIET = {"say": lambda message: None}
IMAGE = np.random.default_rng(0).integers(0, 255, (50, 91, 3), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    encoder = tiny_recipe()["encoder"]
    built = build_encoder(encoder["name"], 64, 16, weights="random", overrides=encoder["overrides"])
    file = tmp_path / "encoder.safetensors"
    save_file({k: v.contiguous() for k, v in built.vit.state_dict().items()}, file)
    return file


def fitted(weights: Path, out: Path, **tuning: object) -> Path:
    recipe = tiny_recipe(encoder={"weights": str(weights)}, tuning=tuning, training={"learning_rate": 0.05})
    return vfmseg.fit(recipe, out=out, **_QUIET).folder


@pytest.mark.parametrize("method", ["lora", "soma"])
def test_merge__gives_an_ordinary_checkpoint_with_equal_outputs(
    weights: Path, tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, merged = fitted(weights, tmp_path / "run", method=method, rank=2), tmp_path / "merged"
    assert main(["merge", str(run), "--out", str(merged)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(merged)
    assert f"tuning {method}" in said.err

    images = torch.from_numpy(np.resize(IMAGE, (2, 3, 64, 64)))
    with torch.no_grad():
        before, after = (restore(one)(images).logits for one in (run, merged))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    changed = read_tensors(merged)["encoder.vit.blocks.0.attn.qkv.weight"]
    own = _read(weights)["blocks.0.attn.qkv.weight"]
    assert float((changed - own).abs().max()) > 1e-3, "the run must have learned something"

    header, source = read_header(merged), read_header(run)
    assert header.recipe["tuning"] == {"method": "full"}
    assert header.encoder_hash is None
    assert (header.step, header.metrics, header.label_space) == (
        source.step,
        source.metrics,
        source.label_space,
    )
    assert not any("down" in name or name.startswith("tuning") for name in read_tensors(merged))

    weights.unlink()  # the file is whole
    assert vfmseg.load(merged).predict(IMAGE).semantic.shape == (50, 91)
    scored = vfmseg.validate(merged, **_QUIET)
    assert scored.scores.miou == pytest.approx(source.metrics["val/miou"], abs=1e-3)
    assert main(["merge", str(run), "--out", str(merged)]) == 2
    assert "already holds a checkpoint. Replace it with --overwrite" in capsys.readouterr().err


def test_merge__the_file_starts_other_runs(weights: Path, tmp_path: Path) -> None:
    run, merged = fitted(weights, tmp_path / "run", method="lora", rank=2), tmp_path / "merged"
    assert main(["merge", str(run), "--out", str(merged)]) == 0
    name = "encoder.vit.blocks.1.attn.qkv.weight"
    wanted = read_tensors(merged)[name]
    frozen = {"tuning": {"method": "frozen"}}  # so that the encoder stays what it started from
    file = str(merged / "model.safetensors")
    for label, recipe in (
        ("whole", tiny_recipe(**frozen, init_from=str(merged))),
        ("encoder", tiny_recipe(**frozen, encoder={"weights": file})),
    ):
        started = vfmseg.fit(recipe, out=tmp_path / label, **_QUIET).folder
        assert torch.equal(restore(started).state_dict()[name], wanted), label


def test_merge__of_what_adds_nothing_holds_the_encoder(weights: Path, tmp_path: Path) -> None:
    run = fitted(weights, tmp_path / "run", method="frozen")
    assert main(["merge", str(run), "--out", str(tmp_path / "merged")]) == 0
    weights.unlink()
    assert vfmseg.load(tmp_path / "merged").predict(IMAGE).semantic.shape == (50, 91)


def test_merge__what_cannot_be_is_refused_before_weights_are_read(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fitted(weights, tmp_path / "run", method="vpt", num_tokens=3)
    weights.unlink()
    assert main(["merge", str(run), "--out", str(tmp_path / "merged")]) == 2
    assert "tuning vpt cannot be merged: what it adds is computed from the tokens" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()
    assert main(["merge", str(tmp_path / "none"), "--out", str(tmp_path / "merged")]) == 2
    assert "There is no checkpoint at" in capsys.readouterr().err


def test_merge__does_not_write_into_a_run(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fitted(weights, tmp_path / "run", method="lora", rank=2)
    assert main(["merge", str(run), "--out", str(run)]) == 2
    assert "holds a run, whose results would be overwritten" in capsys.readouterr().err


def _read(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(file)
