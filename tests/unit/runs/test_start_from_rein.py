"""A checkpoint of Rein's program through the whole of fit, validate and predict, as a run's own would go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.tiny import tiny_recipe
from vfmseg.data.scene_style import CLASSES
from vfmseg.errors import CheckpointError, WeightsError
from vfmseg.interop.rein import our_names
from vfmseg.metrics.mean_iou import ConfusionMatrix
from vfmseg.models.checkpoint import find_model_file, read_tensors
from vfmseg.runs.assemble import open_split
from vfmseg.runs.fit import fit
from vfmseg.runs.load import load
from vfmseg.runs.recipe import LoadedRecipe, Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.start_weights import build_published
from vfmseg.runs.target import Target
from vfmseg.runs.targets import validate_targets
from vfmseg.runs.validate import validate
from vfmseg.tasks.semantic import predict_windows
from vfmseg.transforms.halve import halve
from vfmseg.transforms.sliding_window import View

BLOCKS, C, DIM, QUERIES, RANK = 4, 24, 32, 8, 4


def recipe(**changes: Any) -> Recipe:
    encoder = {
        "name": "vit_base_patch14_dinov2.lvd142m",
        "image_size": 64,
        "patch_size": 16,
        "weights": "random",
        "overrides": {"embed_dim": C, "depth": BLOCKS, "num_heads": 2, "img_size": 64, "patch_size": 16},
    }
    made = tiny_recipe(
        encoder=encoder,
        tuning={"method": "rein", "num_tokens": QUERIES, "rank": RANK},
        decoder={
            "name": "mask2former_full",
            "adapter": False,
            "taps": [0, 1, 2, 3],
            "num_queries": QUERIES,
            "num_blocks": 2,
            "embed_dim": DIM,
            "num_heads": 4,
        },
        data={"scenes": {"image_size": [64, 100], "train": 4, "val": 2, "domains": ["day"], "seed": 1}},
        augmentation={"method": "rein"},
        windows={"stride": 40},
    )
    for section, values in changes.items():
        made[section] = {**made.get(section, {}), **values}
    return read_recipe(made).recipe


def names_and_shapes(num_classes: int) -> dict[str, tuple[int, ...]]:
    """What mmengine saves of Rein on the full Mask2Former: all but the encoder (its readme's names)."""
    found: dict[str, tuple[int, ...]] = {
        "backbone.reins.learnable_tokens_a": (BLOCKS, QUERIES, RANK),
        "backbone.reins.learnable_tokens_b": (BLOCKS, RANK, C),
        "backbone.reins.scale": (),
    }

    def linear(name: str, out: int, into: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (out, into), (out,)

    def norm(name: str) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (DIM,)

    linear("backbone.reins.mlp_token2feat", C, C)
    linear("backbone.reins.mlp_delta_f", C, C)
    linear("backbone.reins.transform", DIM, C)
    linear("backbone.reins.merge", DIM, 3 * DIM)
    pixels, queries = "decode_head.pixel_decoder", "decode_head.transformer_decoder"
    for i in range(3):
        found[f"{pixels}.input_convs.{i}.conv.weight"] = (DIM, C, 1, 1)
        found[f"{pixels}.input_convs.{i}.conv.bias"] = (DIM,)
        norm(f"{pixels}.input_convs.{i}.gn")
    for i in range(6):
        layer = f"{pixels}.encoder.layers.{i}"
        linear(f"{layer}.self_attn.sampling_offsets", 4 * 3 * 4 * 2, DIM)
        linear(f"{layer}.self_attn.attention_weights", 4 * 3 * 4, DIM)
        linear(f"{layer}.self_attn.value_proj", DIM, DIM)
        linear(f"{layer}.self_attn.output_proj", DIM, DIM)
        linear(f"{layer}.ffn.layers.0.0", 1024, DIM)
        linear(f"{layer}.ffn.layers.1", DIM, 1024)
        norm(f"{layer}.norms.0")
        norm(f"{layer}.norms.1")
    found[f"{pixels}.level_encoding.weight"] = (3, DIM)
    found[f"{pixels}.lateral_convs.0.conv.weight"] = (DIM, C, 1, 1)
    norm(f"{pixels}.lateral_convs.0.gn")
    found[f"{pixels}.output_convs.0.conv.weight"] = (DIM, DIM, 3, 3)
    norm(f"{pixels}.output_convs.0.gn")
    found[f"{pixels}.mask_feature.weight"], found[f"{pixels}.mask_feature.bias"] = (DIM, DIM, 1, 1), (DIM,)
    for i in range(2):
        layer = f"{queries}.layers.{i}"
        for attention in ("self_attn", "cross_attn"):
            found[f"{layer}.{attention}.attn.in_proj_weight"] = (3 * DIM, DIM)
            found[f"{layer}.{attention}.attn.in_proj_bias"] = (3 * DIM,)
            linear(f"{layer}.{attention}.attn.out_proj", DIM, DIM)
        linear(f"{layer}.ffn.layers.0.0", 2048, DIM)
        linear(f"{layer}.ffn.layers.1", DIM, 2048)
        for j in range(3):
            norm(f"{layer}.norms.{j}")
    norm(f"{queries}.post_norm")
    found["decode_head.level_embed.weight"] = (3, DIM)
    linear("decode_head.cls_embed", num_classes + 1, DIM)
    for i in (0, 2, 4):
        linear(f"decode_head.mask_embed.{i}", DIM, DIM)
    linear("decode_head.querys2feat", DIM, DIM)
    return found


def published(file: Path, num_classes: int = len(CLASSES)) -> dict[str, Tensor]:
    """Write a checkpoint as their trainer does, of numbers large enough to tell classes apart; return its tensors."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=generator) * (0.5 if len(shape) > 1 else 1.0)
        for name, shape in names_and_shapes(num_classes).items()
    }
    torch.save({"state_dict": state, "meta": {"iter": 40000}, "message_hub": {}}, file)
    return state


def assert_theirs(tensors: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    for name, tensor in state.items():
        ours = our_names(name)
        for own, part in zip(ours, tensor.chunk(len(ours)) if len(ours) > 1 else (tensor,), strict=True):
            assert tensors[own].equal(part), name


@pytest.mark.parametrize(
    ("data", "row"),
    [
        ({}, {"window_stride": 40}),
        ({"test_size": [80, 160]}, {"window_stride": 40, "test_size": "80x160"}),
        ({"test_halved": True}, {"window_stride": 40, "test_halved": True}),
    ],
)
def test_validate__scores_a_published_file_by_the_recipes_windows(
    data: dict[str, Any], row: dict[str, Any], tmp_path: Path
) -> None:
    published(tmp_path / "rein.pth")
    chosen, said = recipe(data=data), []
    run = validate(tmp_path / "rein.pth", chosen, say=said.append)
    assert {key: run.result.get(key) for key in row} == row
    assert ("test_size" in run.result, "test_halved" in run.result) == tuple(
        key in data for key in ("test_size", "test_halved")
    )
    assert any("of Rein's program, which holds no encoder" in line for line in said)
    assert sum(line.startswith("validate: ") and "windows.stride" in line for line in said) == 1

    val = open_split(chosen, "val")
    segmenter = build_published(chosen, val.label_space, tmp_path / "rein.pth", lambda _: None)
    counted = ConfusionMatrix(len(CLASSES), "cpu")
    view = View(40, data.get("test_size"))
    for i in range(len(val)):
        sample = halve(val[i]) if data.get("test_halved") else val[i]
        (found,) = predict_windows(segmenter, [sample.image], (64, 64), view=view)
        counted.update(found.classes, sample.targets.id_map, name=sample.name)
    assert run.scores.row("val")["val/miou"] == counted.scores(val.label_space.names).row("val")["val/miou"]


def test_build_published__holds_every_tensor_of_the_file(tmp_path: Path) -> None:
    state = published(tmp_path / "rein.pth")
    chosen, said = recipe(), []
    space = open_split(chosen, "val").label_space
    made = build_published(chosen, space, tmp_path / "rein.pth", said.append)
    assert_theirs(made.state_dict(), state)
    assert "weights: not used (0): " in said[-1]


def test_fit__starts_from_a_published_file_and_predicts_at_its_stride(tmp_path: Path) -> None:
    state = published(tmp_path / "rein.pth")
    said: list[str] = []
    fit(
        recipe(training={"steps": 1, "effective_batch_size": 2, "learning_rate": 1e-12, "weight_decay": 0.0}),
        out=tmp_path / "run",
        init_from=str(tmp_path / "rein.pth"),
        say=said.append,
    )
    assert any("of Rein's program" in line for line in said)
    assert any("validation: windows at a stride of 40 pixels" in line for line in said)
    saved = read_tensors(find_model_file(tmp_path / "run"))
    for name in ("backbone.reins.learnable_tokens_a", "decode_head.cls_embed.weight"):
        torch.testing.assert_close(saved[our_names(name)[0]], state[name], rtol=0, atol=1e-6)

    model = load(tmp_path / "run", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (64, 150, 3)).astype(np.uint8)
    found = model.predict(image, tiling="never").semantic
    (expected,) = predict_windows(
        model.segmenter, [torch.from_numpy(image).permute(2, 0, 1)], (64, 64), view=View(40)
    )
    (spread,) = predict_windows(model.segmenter, [torch.from_numpy(image).permute(2, 0, 1)], (64, 64))
    assert np.array_equal(found, expected.classes.numpy())
    assert len(np.unique(found)) > 1
    assert not np.array_equal(found, spread.classes.numpy())


def test_validate__each_target_is_seen_at_its_own_size(tmp_path: Path) -> None:
    published(tmp_path / "rein.pth")
    scenes = {"image_size": [64, 100], "train": 4, "val": 1, "domains": ["dusk"], "seed": 1}
    said: list[str] = []
    targets = [
        Target("one", {"scenes": scenes}, "val"),
        Target("two", {"scenes": scenes, "test_size": [80, 160]}, "val"),
        Target("three", {"scenes": scenes, "test_halved": True}, "val"),
    ]
    run = validate_targets(tmp_path / "rein.pth", targets, LoadedRecipe(recipe(), "rein"), say=said.append)
    rows = run.result["targets"]
    assert [row.get("test_size") for row in rows.values()] == [None, "80x160", None]
    assert [row.get("test_halved") for row in rows.values()] == [None, None, True]
    assert all(row["window_stride"] == 40 for row in rows.values())
    assert [line.split(":")[0] for line in said if "(data.test_size)" in line] == ["two"]
    assert [line.split(":")[0] for line in said if "labels at half their size" in line] == ["three"]


def test_validate__refuses_other_classes_and_other_statistics(tmp_path: Path) -> None:
    published(tmp_path / "five.pth", num_classes=5)
    with pytest.raises(CheckpointError, match=r"class head of 6 outputs, scenes \(semantic\) needs"):
        validate(tmp_path / "five.pth", recipe(), say=lambda _: None)
    published(tmp_path / "rein.pth")
    half = [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    with pytest.raises(WeightsError, match=r"here it is \[0\.5.*Set encoder\.statistics .*imagenet"):
        validate(tmp_path / "rein.pth", recipe(encoder={"statistics": half}), say=lambda _: None)


def test_validate__an_encoder_of_other_statistics_takes_imagenets(tmp_path: Path) -> None:
    published(tmp_path / "rein.pth")
    sizes = {"embed_dim": C, "depth": BLOCKS, "num_heads": 2}
    eva = {"name": "eva02-l", "overrides": sizes}
    with pytest.raises(WeightsError, match="trained on pixels with mean"):
        validate(tmp_path / "rein.pth", recipe(encoder=eva), say=lambda _: None)
    made = recipe(encoder={**eva, "statistics": "imagenet"})
    assert validate(tmp_path / "rein.pth", made, say=lambda _: None).result["images"] == 2
