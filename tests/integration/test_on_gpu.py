"""Runs on a CUDA device: every decoder, task and tuning learns there, and computes what the CPU does."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.errors import ResourceError
from vfmseg.models.build import build
from vfmseg.models.checkpoint import read_tensors
from vfmseg.models.tuning.catalog import TUNINGS
from vfmseg.training.callbacks.history import read_rows
from vfmseg.types import Output, PixelLogits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # torch's own warnings about what a card or a build of it lacks are no defect of ours
    pytest.mark.filterwarnings("default"),
]
_QUIET = {"say": lambda message: None}
_DECODERS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear"},
    "mask2former": {"name": "mask2former", "num_queries": 8},
    "mask2former_full": {"name": "mask2former_full", "num_queries": 8},
    "eomt": {"name": "eomt", "num_queries": 8, "num_blocks": 1},
}
_TASKS = [("semantic", decoder) for decoder in _DECODERS] + [
    (task, decoder) for task in ("panoptic", "instance") for decoder in ("mask2former_full", "eomt")
]
SIZES = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def recipe(**changes: Any) -> dict[str, Any]:
    made = tiny_recipe(**changes)
    made["trainer"]["accelerator"] = "gpu"
    if made.get("decoder", {"name": "linear"})["name"] != "linear":
        made["training"].setdefault("mask_points", 128)
    return made


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize(("task", "decoder"), _TASKS)
def test_fit_validate_predict__on_the_gpu(task: str, decoder: str, precision: str, tmp_path: Path) -> None:
    made = recipe(task=task, decoder=_DECODERS[decoder], training={"precision": precision})
    run = vfmseg.fit(made, out=tmp_path / "run", **_QUIET)
    headline = {"semantic": "miou", "panoptic": "pq", "instance": "ap"}[task]
    assert 0 <= run.result[f"val/{headline}"] <= 1
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["device"] == torch.cuda.get_device_name()
    peaks = [row["memory_gib"] for row in read_rows(run.folder / "metrics.csv") if row.get("memory_gib")]
    assert peaks
    assert max(peaks) < 2  # what is allocated on the GPU, not what the process holds
    best = run.folder / "checkpoints" / "best"
    again = vfmseg.validate(best, **_QUIET)
    # autocast chooses its kernels by shape, and atomics add in any order: close, not equal
    assert again.result[f"val/{headline}"] == pytest.approx(run.result[f"val/{headline}"], abs=0.02)
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (70, 91, 3), np.uint8))
    vfmseg.predict(best, image, out=tmp_path / "predicted")
    assert (tmp_path / "predicted" / "predictions.json").exists()


@pytest.mark.parametrize("tuning", TUNINGS)
def test_fit__every_tuning_on_the_gpu(tuning: str, tmp_path: Path) -> None:
    run = vfmseg.fit(recipe(tuning={"method": tuning}), out=tmp_path / "run", **_QUIET)
    again = vfmseg.validate(run.folder / "checkpoints" / "best", **_QUIET)
    assert again.result["val/miou"] == pytest.approx(run.result["val/miou"], abs=1e-3)


def _tensors(output: Output) -> dict[str, torch.Tensor]:
    if isinstance(output, PixelLogits):
        return {"logits": output.logits}
    masks = {f"masks {layer}": of_layer.mask_logits for layer, of_layer in enumerate(output)}
    return masks | {f"classes {layer}": of_layer.class_logits for layer, of_layer in enumerate(output)}


@pytest.mark.parametrize("decoder", _DECODERS)
@pytest.mark.parametrize("tuning", ["full", "rein", "lora", "vpt"])
def test_segmenter__gives_on_the_gpu_what_it_gives_on_the_cpu(decoder: str, tuning: str) -> None:
    options = {k: v for k, v in _DECODERS[decoder].items() if k != "name"}
    on_cpu = build(
        "vit_tiny_patch16_224",
        num_classes=5,
        decoder=decoder,
        decoder_options=options,
        tuning=tuning,
        tuning_options={"num_tokens": 8} if tuning == "rein" else None,
        image_size=(64, 96),
        weights="random",
        overrides=SIZES,
        seed=0,
    )
    on_gpu = copy.deepcopy(on_cpu).cuda()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32, cudnn = False, torch.backends.cudnn.allow_tf32
    try:
        expected, found = _tensors(on_cpu.eval()(images)), _tensors(on_gpu.eval()(images.cuda()))
        for name, tensor in found.items():
            torch.testing.assert_close(tensor.cpu(), expected[name], rtol=1e-3, atol=1e-3)
        sum(t.float().tanh().sum() for t in expected.values()).backward()
        sum(t.float().tanh().sum() for t in found.values()).backward()
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = cudnn
    others = dict(on_gpu.named_parameters())
    # of some, such as the bias of keys, the gradient is zero but for rounding: the scale is that of all
    scale = max(p.grad.abs().max() for p in on_cpu.parameters() if p.grad is not None)
    for name, parameter in on_cpu.named_parameters():
        assert (parameter.grad is None) == (others[name].grad is None), name
        if parameter.grad is not None:
            difference = (others[name].grad.cpu() - parameter.grad).abs().max()
            assert difference <= 0.02 * parameter.grad.abs().max() + 1e-6 * scale, name


def test_fit__killed_on_the_gpu_goes_on_where_it_was(tmp_path: Path) -> None:
    made = recipe(training={"steps": 40, "checkpoint_every": 5, "validate_every": 1.0, "overlays": 0})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(made))
    whole = vfmseg.fit(made, out=tmp_path / "whole", **_QUIET)
    command = [sys.executable, "-m", "vfmseg", "fit", "-c", "recipe.yaml", "--out", "killed"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "checkpoints" / "last").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() in (-signal.SIGKILL, 0)  # 0: it was done before it could be killed
    resumed = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    last = Path("checkpoints") / "last"
    for name, tensor in read_tensors(tmp_path / "killed" / last).items():
        # scatter and bilinear gradients add in any order on a GPU
        torch.testing.assert_close(tensor, read_tensors(whole.folder / last)[name], rtol=1e-2, atol=1e-3)
    assert read_rows(tmp_path / "killed" / "metrics.csv")[-1]["step"] == 40


def test_fit__more_than_the_gpu_holds_is_one_clear_error(tmp_path: Path) -> None:
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, 64 * 2**20 / total))
    torch.cuda.empty_cache()
    try:
        made = recipe(
            encoder={"image_size": 512, "overrides": {"embed_dim": 192, "depth": 12, "num_heads": 3}},
            data={"batch_size": 4, "scenes": {"image_size": [512, 512], "train": 4, "val": 1}},
        )
        with pytest.raises(ResourceError, match="memory"):
            vfmseg.fit(made, out=tmp_path / "run", **_QUIET)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("decoder", ["linear", "eomt"])
def test_validate__reliability_augmentation_targets_and_corruptions_on_the_gpu(
    decoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe(decoder=_DECODERS[decoder], augmentation={"method": "rein"})
    run = vfmseg.fit(made, out=tmp_path / "run", **_QUIET)
    best = str(run.folder / "checkpoints" / "best")
    out = tmp_path / "scores"
    assert main(["validate", best, "--reliability", "--unknown", "254", "--out", str(out)]) == 0
    reliability = json.loads((out / "reliability.json").read_text())
    assert 0 <= reliability["ece"] <= 1
    assert main(["validate", best, "--augment", "flip,1,1.25"]) == 0
    assert main(["validate", best, "--target", "dusk={scenes: {domains: [dusk]}}", "--reliability"]) == 0
    assert main(["validate", best, "--corruptions", "fog:3,pixelate:1"]) == 0
    assert "mean under corruption" in capsys.readouterr().out


def test_benchmark__two_trials_at_once_on_one_gpu(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(recipe()))
    study = {
        "name": "s",
        "base": str(tmp_path / "base.yaml"),
        "axes": {"tuning.method": ["full", "frozen", "lora"]},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
    assert main(["benchmark", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--jobs", "2"]) == 0
    costs = [json.loads(file.read_text()) for file in (tmp_path / "out").glob("trials/*/cost.json")]
    assert len(costs) == 3
    assert all(cost["gpu_hours"] > 0 for cost in costs)
