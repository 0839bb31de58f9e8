"""What a user may get wrong with tunings, targets and mixtures: one clear error that names the thing and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

import vfmseg
from support.archives import write_cityscapes, write_folder
from support.driving import write_acdc
from support.tiny import tiny_recipe
from vfmseg.cli.program import main

Said = Callable[[list[str]], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function from words to what stands on stderr after a command that must fail with exit code 2."""

    def fail(words: list[str]) -> str:
        capsys.readouterr()
        code = main(words)
        captured = capsys.readouterr()
        assert code == 2, captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        return captured.err

    return fail


def write_recipe(file: Path, **changes: Any) -> list[str]:
    """Write the tiny recipe with ``changes`` and return the words that fit it."""
    file.write_text(yaml.safe_dump(tiny_recipe(**changes)))
    return ["fit", "-c", str(file), "--out", str(file.with_suffix("")), "--no_report"]


_MASKS = {"decoder": {"name": "eomt", "num_queries": 5, "num_blocks": 1}}


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"tuning": {"method": "loar"}}, ["tuning.method", "'loar'", "Did you mean lora"]),
        (
            {"tuning": {"method": "lora", "rnk": 4}},
            ["unknown key 'tuning.rnk'", "Did you mean tuning.rank"],
        ),
        (
            {"tuning": {"method": "vpt", "rank": 4}},
            ["unknown key 'tuning.rank'. Another tuning has it: set tuning.method, too"],
        ),
        ({"tuning": {"method": "lora", "rank": 0}}, ["tuning.rank = 0: input should be greater than 0"]),
        ({"tuning": {"method": "lora", "rank": 25}}, ["tuning lora has rank 25", "24 at most"]),
        ({"tuning": {"method": "soma", "rank": 25}}, ["tuning soma has rank 25", "24 at most"]),
        (
            {"tuning": {"method": "partial", "num_blocks": 3}},
            ["tuning.num_blocks is 3, but the encoder has 2 blocks; allowed are 1 to 2"],
        ),
        (
            {"tuning": {"method": "rein", "link": True}},
            ["tuning.link is true, but the decoder has no queries", "decoder.name eomt"],
        ),
        (
            {"tuning": {"method": "rein", "num_tokens": 6}, **_MASKS},
            ["tuning.num_tokens is 6 and decoder.num_queries 5", "set both alike, or tuning.link false"],
        ),
        (
            {
                "decoder": {
                    "name": "mask2former_full",
                    "adapter": False,
                    "taps": [0, 1, 2, 3],
                    "embed_dim": 16,
                    "num_heads": 2,
                }
            },
            ["decoder.taps is [0, 1, 2, 3], but the encoder has the blocks 0 to 1; four are needed: leave"],
        ),
    ],
    ids=lambda value: (
        "-".join(map(str, next(iter(value.values())).values())) if isinstance(value, dict) else ""
    ),
)
def test_fit__of_a_tuning_that_cannot_be(
    changes: dict[str, Any], messages: list[str], said: Said, tmp_path: Path
) -> None:
    text = said(write_recipe(tmp_path / "wrong.yaml", **changes))
    assert all(message in text for message in messages), text
    assert not (tmp_path / "wrong" / "checkpoints").exists()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of LoRA on an encoder from a file, on somebody's own images."""
    folder = tmp_path_factory.mktemp("tuned")
    encoder = tiny_recipe()["encoder"]
    torch.manual_seed(5)
    vit = timm.create_model(encoder["name"], num_classes=0, img_size=64, **encoder["overrides"])
    save_file(vit.state_dict(), folder / "encoder.safetensors")
    write_folder(folder / "data")
    recipe = tiny_recipe(
        encoder={"weights": str(folder / "encoder.safetensors")},
        tuning={"method": "lora", "rank": 2},
        data={"name": "folder", "path": str(folder / "data")},
        training={"steps": 1},
    )
    return vfmseg.fit(recipe, out=folder / "run", say=lambda message: None).folder


@pytest.mark.parametrize(
    ("encoder", "tuning", "messages"),
    [
        (
            {"name": "vit_small_patch16_224", "overrides": {"embed_dim": 48, "depth": 2, "num_heads": 2}},
            {},
            [
                "encoder.name is vit_tiny_patch16_224 there, vit_small_patch16_224 in the recipe",
                "encoder.overrides.embed_dim is 24 there, 48 in the recipe",
            ],
        ),
        ({"weights": "random"}, {}, ["encoder.safetensors there, random in the recipe"]),
        ({}, {"method": "lora", "rank": 3}, ["tuning.rank is 2 there, 3 in the recipe. Set them alike"]),
        ({}, {"method": "rein", "num_tokens": 5}, ["tuning.method is lora there, rein in the recipe. Set"]),
    ],
    ids=["encoder", "random weights", "rank", "method"],
)
def test_fit__from_a_tuning_of_another_model(
    encoder: dict[str, Any],
    tuning: dict[str, Any],
    messages: list[str],
    tuned: Path,
    said: Said,
    tmp_path: Path,
) -> None:
    own = {"weights": "random" if "name" in encoder else str(tuned.parent / "encoder.safetensors")}
    method = tuning or {"method": "lora", "rank": 2}
    words = write_recipe(tmp_path / "other.yaml", encoder=own | encoder, tuning=method)
    text = said([*words, "--init_from", str(tuned)])
    assert all(message in text for message in messages), text


def write_target(root: Path, kind: str) -> str:
    """Write data that the model of ``tuned`` cannot be scored on and return its words."""
    if kind == "classes":
        return str(write_folder(root / "other", names=("sky", "sea", "sand")))
    if kind in ("image", "mask"):
        write_folder(root / "bad")
        file = {"image": "images/val/v001.jpg", "mask": "masks/val/v001.png"}[kind]
        content = (root / "bad" / file).read_bytes()
        (root / "bad" / file).write_bytes(content[: len(content) // 2])
        return str(root / "bad")
    write_acdc(root / "acdc", conditions=("fog", "rain", "snow"))
    split = {"condition": "val_night", "no such condition": "val_nigth"}[kind]
    return f"{{name: acdc, path: {root / 'acdc'}, split: {split}}}"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("classes", r"--target night: The model and the data have no class in common.*classes: \{sedan: car"),
        ("image", r"v001\.jpg"),
        ("mask", r"v001\.png"),
        ("condition", r"ACDC val_night needs: expected files rgb_anon/night/val/"),
        ("no such condition", r"Did you mean val_night"),
    ],
)
def test_validate__target_that_cannot_be_scored(
    kind: str, message: str, tuned: Path, said: Said, tmp_path: Path
) -> None:
    text = said(["validate", str(tuned), "--target", f"night={write_target(tmp_path, kind)}"])
    assert re.search(message, text, re.DOTALL), text


def test_fit__mixture_with_an_empty_source(said: Said, tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    sources = [{"name": "cityscapes"}, {"name": "urbansyn", "path": str(tmp_path / "empty")}]
    data = {"name": "cityscapes", "path": str(tmp_path / "data"), "sources": sources}
    text = said(write_recipe(tmp_path / "mixed.yaml", data=data))
    assert "UrbanSyn" in text
    assert str(tmp_path / "empty") in text
    for folder in ("rgb", "ss"):
        (tmp_path / "empty" / folder).mkdir()
    text = said(write_recipe(tmp_path / "mixed.yaml", data=data))
    assert "UrbanSyn" in text
    assert str(tmp_path / "empty") in text
