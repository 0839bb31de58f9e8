"""EoMT's README command lines, with ``vfmseg`` for ``python3 main.py``: what they resolve to, and that they run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
import yaml

from support.archives import write_coco
from support.eomt import part, read
from support.processes import Command
from support.tiny import tiny_recipe
from vfmseg.cli.program import main, split_recipe_words
from vfmseg.cli.recipe_options import read as read_words
from vfmseg.data.scene_style import CLASSES
from vfmseg.models.checkpoint import read_header

FIT = "fit -c {recipe} --trainer.devices 4 --data.batch_size 4 --data.path DATA"
VALIDATE = (
    "validate -c {recipe} --model.network.masked_attn_enabled False --trainer.devices 4 --data.batch_size 4"
    " --data.path DATA --model.ckpt_path FILE"
)
LINES = [
    FIT,
    f"{FIT} --model.ckpt_path FILE --model.load_ckpt_class_head False",
    f"{FIT} --model.ckpt_path FILE --model.delta_weights False",
    f"{FIT} --compile_disabled --trainer.logger.init_args.name mine",
    f"{FIT} --data.num_workers=8 --trainer.max_steps 88692 --trainer.limit_val_batches 1.0",
    VALIDATE,
    f"{VALIDATE} --compile_disabled",
    f"{VALIDATE} --model.load_ckpt_class_head False",
]
RECIPES = [
    "configs/dinov2/coco/panoptic/eomt_large_640.yaml",
    "configs/dinov3/coco/panoptic/eomt_large_640.yaml",
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("line", LINES)
def test_line__resolves(line: str, recipe: str) -> None:
    verb, *words = shlex.split(line.format(recipe=recipe))
    own, recipe_words = split_recipe_words(words, {"-c"})
    loaded = read_words(own[1], recipe_words, trains=verb == "fit")
    assert loaded is not None
    chosen = loaded.recipe
    assert (chosen.trainer.devices, chosen.data.batch_size, chosen.data.path) == (4, 4, "DATA")
    assert chosen.init_from == ("FILE" if "FILE" in line else "")
    assert chosen.load_class_head == ("class_head" not in line or verb == "validate")
    said = " ".join(loaded.notes)
    assert ("needs the checkpoint's class head" in said) == ("class_head" in line and verb == "validate")
    assert ("inference has no masks" in said) == (verb == "validate")
    assert not chosen.training.compile
    assert chosen.delta_weights == ("dinov3" in recipe and "delta" not in line)
    assert chosen.decoder.masks == "annealed"  # type: ignore[union-attr]
    assert (loaded.name == "mine") == ("mine" in line)


def test_recipe__at_the_path_of_the_first_readme_is_offered_where_it_is_now(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = FIT.format(recipe="configs/coco/panoptic/eomt_large_640.yaml")
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert "There is no recipe 'configs/coco/panoptic/eomt_large_640.yaml'" in said
    assert all(recipe in said for recipe in RECIPES)


SMALLER = (
    " --encoder.image_size 64 --encoder.weights random --encoder.overrides '{embed_dim: 24, depth: 4, num_heads: 2}'"
    " --decoder.num_queries 5 --training.steps 2 --training.warmup 0 --training.encoder_warmup 0"
    " --training.mask_points 32 --training.overlays 0 --training.loggers []"
    " --training.effective_batch_size 8 --training.precision 32-true"
    " --trainer.accelerator cpu --data.num_workers 0 --out run --no_report"
)
"""What makes the recipe's own line run here: another size, not another protocol."""


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_fit__the_readmes_line_on_coco(devices: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_coco(tmp_path / "DATA")  # of four training images one has no object, and one a crowd alone
    line = FIT.replace("devices 4", f"devices {devices}").format(recipe=RECIPES[0]) + SMALLER
    done = Command(shlex.split(line), tmp_path / "said")
    assert done.wait() == 0, done.stderr
    assert f"2 steps of 4 × {devices} device(s) × {2 // devices} accumulated = 8 images" in done.stderr
    assert (
        "masks: at step 2, the last, queries still attend inside their masks with probability 1.00, 1.00"
        in done.stderr
    )
    assert "PQ " in done.stdout
    header = read_header(tmp_path / "run" / "checkpoints" / "last")
    assert header.step == 2
    assert header.recipe["training"]["loss_average"] == "batch"


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """Of the model that golden eomt_forward_dinov2_reg holds, on generated scenes."""
    tree = tiny_recipe(
        task="panoptic",
        encoder={
            "name": "vit_small_patch14_reg4_dinov2",
            "image_size": 96,
            "overrides": {"depth": 4, "embed_dim": 16, "num_heads": 2},
        },
        decoder={"name": "eomt", "num_queries": 6, "num_blocks": 2},
        training={"steps": 2, "effective_batch_size": 2, "mask_points": 64},
    )
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "tiny.yaml"


def write_published(file: Path, num_classes: int) -> None:
    state = part(read("eomt_forward_dinov2_reg")[1], "state/")
    state |= {
        "class_head.weight": torch.ones(num_classes + 1, 16),
        "class_head.bias": torch.ones(num_classes + 1),
    }
    torch.save({f"network.{name}": tensor for name, tensor in state.items()}, file)


def test_fit__from_a_published_file(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_published(tmp_path / "pytorch_model.bin", 3)
    words = ["fit", "-c", str(recipe_file), "--data.batch_size", "2", "--no_report", "--trainer.devices", "1"]
    words += ["--model.ckpt_path", "pytorch_model.bin", "--model.load_ckpt_class_head", "False"]
    words += ["--trainer.logger.init_args.name", "mine", "--model.network.masked_attn_enabled", "False"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "the class head of pytorch_model.bin is not taken" in said
    assert "weights: not used (2): network.encoder.pixel_mean, network.encoder.pixel_std" in said
    assert "names the run's folder" in said
    header = read_header(tmp_path / "runs" / "mine_vit_small_patch14_reg4_dinov2" / "checkpoints" / "last")
    assert header.recipe["decoder"]["masks"] == "never"


def test_validate__a_published_file_by_the_published_line(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_published(tmp_path / "pytorch_model.bin", len(CLASSES))
    words = ["validate", "-c", str(recipe_file), "--model.network.masked_attn_enabled", "False"]
    words += ["--trainer.devices", "1", "--data.batch_size", "4", "--model.ckpt_path", "pytorch_model.bin"]
    words += ["--model.load_ckpt_class_head", "False", "--compile_disabled"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "PQ %" in printed.out
    assert "masked_attn_enabled False: of no effect here" in printed.err
    assert "load_ckpt_class_head False: of no effect here: a validation needs" in printed.err
    assert "pytorch_model.bin (published) on 3 images" in printed.err


@pytest.mark.slow  # test_shipped_recipes_run trains the ladder's own recipes
@pytest.mark.parametrize(
    "parts", [(True, True, True), (False, True, True), (False, False, True), (False, False, False)]
)
def test_fit__every_step_of_the_ladder(parts: tuple[bool, bool, bool], tmp_path: Path) -> None:
    decoder = dict(zip(("adapter", "pixel_decoder", "multi_scale"), parts, strict=True))
    tree = tiny_recipe(
        task="panoptic",
        encoder={"overrides": {"embed_dim": 32, "depth": 4, "num_heads": 2}},
        decoder={
            "name": "mask2former_full",
            "num_queries": 5,
            "num_blocks": 3,
            "embed_dim": 32,
            "num_heads": 2,
            **decoder,
        },
        training={"steps": 2, "mask_points": 64},
    )
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    assert (
        main(["fit", "-c", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run"), "--no_report"]) == 0
    )
    assert read_header(tmp_path / "run").recipe["decoder"]["adapter"] == parts[0]
