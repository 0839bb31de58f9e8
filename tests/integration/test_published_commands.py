"""Every command line of the benchmark's README works, with ``vfmseg`` for ``python main.py``.

Weights are random by the one documented switch, and archives are tiny but in the original layouts; image, crop and
patch sizes are the published ones. The quick tests build every model at full size on the meta device, and cut to one
narrow block train those commands that bring an encoder, data set or option which the ones before them do not have;
`make test-slow` trains all of them so, and at full size (about two minutes a command on two cores).
"""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from support.archives import write_ade20k, write_cityscapes, write_gta5, write_pascal_voc
from vfmseg.cli.program import main, split_recipe_words
from vfmseg.cli.recipe_options import read
from vfmseg.models.checkpoint import read_header
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe import LoadedRecipe

_LINES = (Path(__file__).parents[1] / "support" / "benchmark_commands.txt").read_text().splitlines()
_OWN_OPTIONS = {"-c"}


def _resolve(line: str, extra: list[str]) -> LoadedRecipe:
    words = [*shlex.split(line)[2:], *extra]
    own, recipe_words = split_recipe_words(words, _OWN_OPTIONS)
    loaded = read(own[own.index("-c") + 1], recipe_words)
    assert loaded is not None
    return loaded


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("archives")
    writers: dict[str, Callable[[Path], object]] = {
        "ade20k": write_ade20k,
        "pascal_voc": write_pascal_voc,
        "cityscapes": write_cityscapes,
        "gta5": lambda folder: (write_gta5(folder), write_cityscapes(folder)),
    }
    for name, write in writers.items():
        (root / name).mkdir()
        write(root / name)
    return {name: root / name for name in writers}


def test_there_are_all_81() -> None:
    assert len(_LINES) == 81
    assert all(line.startswith("vfmseg fit -c configs/") for line in _LINES)


@pytest.mark.parametrize("line", _LINES)
def test_command__resolves_to_the_published_protocol(line: str) -> None:
    recipe = _resolve(line, ["--data.path", "anywhere", "--random_weights"]).recipe
    training = recipe.training
    assert training.steps == (40_000 if "ade20k" in line else 20_000)
    assert (training.effective_batch_size, recipe.data.batch_size) == (16, 1)
    assert (training.learning_rate, training.encoder_lr_factor) == (1e-4, 0.1)
    assert (training.weight_decay, training.poly_power, training.warmup) == (0.05, 0.9, 0)
    assert recipe.encoder.image_size == (1024 if "cityscapes" in line or "gta5" in line else 512)
    assert recipe.encoder.patch_size == (8 if "patch_size 8" in line else 16)
    assert recipe.tuning.method == ("frozen" if "freeze_encoder True" in line else "full")
    assert recipe.decoder.name == ("mask2former" if "mask2former" in line else "linear")
    assert recipe.encoder.sub_norm == ("sub_norm True" in line)
    assert recipe.encoder.name in line
    assert recipe.training.loss_average == "image"


def test_command__with_a_stray_dash_is_understood_and_said() -> None:
    (line,) = [line for line in _LINES if " - beit3" in line]
    loaded = _resolve(line, ["--data.path", "anywhere"])
    assert loaded.recipe.encoder.weights == "beit3_base_patch16_224.pth.timm"
    assert "taken as a slip" in loaded.notes[0]


def _distinct_models() -> list[str]:
    """Return the first command of each model: encoder, patch size, decoder, image size."""
    first: dict[tuple[object, ...], str] = {}
    for line in _LINES:
        recipe = _resolve(line, ["--data.path", "anywhere", "--random_weights"]).recipe
        key = (recipe.encoder.name, recipe.encoder.patch_size, recipe.encoder.image_size, recipe.decoder.name)
        first.setdefault(key, line)
    return list(first.values())


@pytest.mark.parametrize("line", _distinct_models())
def test_command__builds_its_model_at_full_size(line: str) -> None:
    recipe = _resolve(line, ["--data.path", "anywhere", "--random_weights"]).recipe
    with torch.device("meta"):
        segmenter = build_model(recipe, 150)
    assert segmenter.encoder.num_blocks == (24 if "_large_" in line else 12)
    size = 1024 if recipe.encoder.image_size == 1024 else 512
    assert segmenter.encoder.grid_size == (size // (recipe.encoder.patch_size or 0),) * 2


_NARROW = {"encoder.overrides": {"embed_dim": 24, "depth": 1, "num_heads": 2}, "decoder.num_blocks": 1}


def _marked() -> list[Any]:
    seen: set[tuple[object, ...]] = set()
    marked = []
    for line in _LINES:
        recipe = _resolve(line, ["--data.path", "anywhere", "--random_weights"]).recipe
        options = {(word, "mask2former" in line) for word in shlex.split(line) if word.startswith("--")}
        traits = {
            *options,
            ("data", recipe.data.name, recipe.decoder.name),
            ("encoder", recipe.encoder.name),
            ("patch", recipe.encoder.patch_size, recipe.decoder.name),
            ("tuning", recipe.tuning.method, recipe.decoder.name),
        }
        marked.append(pytest.param(line, marks=pytest.mark.slow if traits <= seen else ()))
        seen |= traits
    return marked


@pytest.mark.parametrize("line", _marked())
def test_command__trains_two_steps_and_validates(
    line: str, archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = {
        key: value for key, value in _NARROW.items() if "mask2former" in line or key != "decoder.num_blocks"
    }
    _train(line, archives, tmp_path, monkeypatch, cut)


@pytest.mark.slow
@pytest.mark.parametrize("line", _LINES)
def test_command__trains_at_full_size(
    line: str, archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(line, archives, tmp_path, monkeypatch, {})
    shutil.rmtree(tmp_path / "run")  # gigabytes of weights and optimiser state a command


def _train(
    line: str,
    archives: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, object],
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    data = next(path for name, path in archives.items() if f"configs/{name}" in line)
    words = [
        *shlex.split(line)[1:],
        *("--out", str(tmp_path / "run"), "--no_report", "--random_weights"),
        *("--data.path", str(data), "--data.num_workers", "0"),
        *("--trainer.max_steps", "2", "--training.effective_batch_size", "1", "--training.overlays", "0"),
        *("--training.loggers", "[]", "--trainer.accelerator", "cpu", "--trainer.progress", "false"),
        *(
            "--trainer.limit_val_batches",
            "1",
            "--training.validate_every",
            "2",
            "--training.checkpoint_every",
            "2",
        ),
    ]
    for key, value in keys.items():
        words += [f"--{key}", yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()]
    assert main(words) == 0
    header = read_header(tmp_path / "run" / "checkpoints" / "last")
    assert header.step == 2
    assert header.metrics["val/miou"] is not None
