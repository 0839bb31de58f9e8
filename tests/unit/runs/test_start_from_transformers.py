"""Folders that transformers saved of its EoMT, as what a run starts from and what is validated and loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    EomtConfig,
    EomtDinov3Config,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
)

from support.encoders import randomise
from support.tiny import tiny_recipe
from vfmseg.data.scene_style import CLASSES
from vfmseg.errors import CheckpointError, WeightsError
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.assemble import build_model
from vfmseg.runs.fit import fit
from vfmseg.runs.load import load
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.start_weights import build_published, start_from
from vfmseg.runs.validate import validate
from vfmseg.types import LabelSpace

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64, "num_blocks": 2,
    "patch_size": 16, "num_queries": 6, "num_register_tokens": 4,
}  # fmt: skip
NAMES = tuple(name for name, _, _ in CLASSES)


def space(*names: str) -> LabelSpace:
    return LabelSpace(names, ((0, 0, 0),) * len(names), (True,) * len(names))


FIVE = space("a", "b", "c", "d", "e")


def saved(
    folder: Path, names: tuple[str, ...] | None = None, family: str = "dinov2", **changes: Any
) -> nn.Module:
    """Let transformers save a random EoMT of five classes, or of named ones."""
    sizes = SIZES | changes
    labels: dict[str, Any] = {"num_labels": 5} if names is None else {"id2label": dict(enumerate(names))}
    peer: nn.Module
    if family == "dinov2":
        peer = EomtForUniversalSegmentation(EomtConfig(**sizes, **labels))
    else:
        sizes["intermediate_size"] = 4 * sizes["hidden_size"]
        peer = EomtDinov3ForUniversalSegmentation(EomtDinov3Config(**sizes, **labels))
    randomise(peer)
    peer.save_pretrained(folder)
    return peer.eval()


def recipe(family: str = "dinov2", **changes: Any) -> Recipe:
    """Of the model that :func:`saved` saves."""
    name = "vit_small_patch14_reg4_dinov2" if family == "dinov2" else "vit_small_patch16_dinov3_qkvb"
    encoder = {
        "name": name,
        "image_size": 64,
        "patch_size": 16,
        "overrides": {"depth": 3, "embed_dim": 32, "num_heads": 2},
    }
    decoder = {"name": "eomt", "num_queries": 6, "num_blocks": 2}
    made = tiny_recipe(
        task="panoptic", encoder=encoder, decoder=decoder, training={"steps": 1, "overlays": 0}
    )
    return read_recipe({**made, **changes}).recipe


def assert_same(segmenter: Segmenter, peer: nn.Module) -> None:
    images = torch.randint(
        0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    (ours,) = segmenter.eval()(images)
    theirs = peer(pixel_values=segmenter.encoder.normalise(images))
    torch.testing.assert_close(ours.mask_logits, theirs.masks_queries_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.class_logits, theirs.class_queries_logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["dinov2", "dinov3"])
@pytest.mark.parametrize("given", ["", "model.safetensors"])
def test_start_from__predicts_as_transformers_and_says_what_is_not_used(
    family: str, given: str, tmp_path: Path
) -> None:
    peer = saved(tmp_path, family=family)
    chosen, said = recipe(family, init_from=str(tmp_path / given)), []
    segmenter = build_model(chosen, 5)
    start_from(segmenter, chosen, FIVE, said.append)
    assert_same(segmenter, peer)
    assert said[0].endswith("of transformers' EoMT")
    unused = [
        name
        for name in load_file(tmp_path / "model.safetensors")
        if name in ("attn_mask_probs", "criterion.empty_weight", "embeddings.mask_token")
    ]
    assert said[1].startswith(f"weights: not used ({len(unused)}): ")
    assert all(name in said[1] for name in unused)


@pytest.mark.parametrize(
    ("theirs", "ours", "load_class_head", "reason"),
    [
        (None, FIVE, True, ""),
        (("A", "b, bee", "c", "d", "e"), FIVE, True, ""),
        (("a", "b", "x", "d", "e"), FIVE, True, "its class 2 is 'x', the data's 'c'"),
        (("a", "b"), FIVE, True, "it has 3 outputs, not 6"),
        (None, FIVE, False, "as load_class_head is false"),
    ],
)
def test_start_from__class_head_of_other_classes_starts_anew_with_the_reason(
    theirs: tuple[str, ...] | None, ours: LabelSpace, load_class_head: bool, reason: str, tmp_path: Path
) -> None:
    peer = saved(tmp_path, theirs)
    chosen, said = recipe(init_from=str(tmp_path), load_class_head=load_class_head), []
    segmenter = build_model(chosen, ours.num_classes)
    before = segmenter.decoder.class_layer.weight.clone()
    start_from(segmenter, chosen, ours, said.append)
    expected = before if reason else peer.class_predictor.weight
    assert torch.equal(segmenter.decoder.class_layer.weight, expected)
    assert torch.equal(segmenter.decoder.queries, peer.query.weight)
    assert [f"is not taken ({reason}); it starts anew" in line for line in said] == [True, False, False][
        0 if reason else 1 :
    ]


def test_build_published__whole_weights_need_no_differences_nor_an_encoders_own(tmp_path: Path) -> None:
    peer = saved(tmp_path, family="dinov3")
    said: list[str] = []
    chosen = recipe("dinov3", delta_weights=True)
    assert chosen.encoder.weights == "random"
    assert_same(build_published(chosen, FIVE, tmp_path / "model.safetensors", said.append), peer)
    assert "whole weights, so that delta_weights does not matter" in said[0]


def test_build_published__other_names_are_said(tmp_path: Path) -> None:
    saved(tmp_path, ("a", "b", "c", "d", "z"))
    said: list[str] = []
    build_published(recipe(), FIVE, tmp_path / "model.safetensors", said.append)
    assert said[0] == "weights: its class 4 is 'z', the data's 'e'; predictions have the data's names"


def test_build_published__other_number_of_classes_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, NAMES[:4])
    with pytest.raises(CheckpointError, match=r"class head of 5 outputs, scenes \(panoptic\) needs 6"):
        build_published(recipe(), FIVE, tmp_path / "model.safetensors", print)


def test_build_published__another_model_is_refused_with_all_that_differs(tmp_path: Path) -> None:
    saved(tmp_path, num_blocks=1, num_attention_heads=4, num_queries=9)
    with pytest.raises(WeightsError, match="is of another model") as refused:
        build_published(recipe(), FIVE, tmp_path / "model.safetensors", print)
    assert "num_blocks is 1, the recipe's model has 2 (decoder.num_blocks)" in str(refused.value)
    assert "num_attention_heads is 4, the recipe's model has 2 (encoder.name)" in str(refused.value)
    assert "num_queries is 9, the recipe's model has 6 (decoder.num_queries)" in str(refused.value)


def test_build_published__defaults_that_a_config_leaves_out_count(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "num_blocks"}))
    with pytest.raises(
        WeightsError, match=rf"num_blocks is {EomtConfig().num_blocks}, the recipe's model has 2"
    ):
        build_published(recipe(), FIVE, tmp_path / "model.safetensors", print)


def test_build_published__pixels_normalised_otherwise_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    statistics = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(statistics))
    with pytest.raises(WeightsError, match="trained on pixels with mean"):
        build_published(recipe(), FIVE, tmp_path / "model.safetensors", print)


def test_build_published__without_config_is_taken_at_its_shapes_and_that_is_said(tmp_path: Path) -> None:
    peer = saved(tmp_path)
    (tmp_path / "config.json").unlink()
    said: list[str] = []
    assert_same(build_published(recipe(), FIVE, tmp_path / "model.safetensors", said.append), peer)
    assert "without a config.json that would say more than its shapes" in said[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "cannot be read as transformers' configuration"),
        ("config.json", '{"model_type": "no such"}', "cannot be read as transformers' configuration"),
        ("config.json", "null", "cannot be read as transformers' configuration"),
        ("config.json", '{"model_type": "bert"}', "has no 'patch_size'"),
        (
            "config.json",
            '{"model_type": "eomt", "patch_size": []}',
            "cannot be read as transformers' configuration",
        ),
        (
            "config.json",
            '{"model_type": "eomt", "id2label": 3}',
            "cannot be read as transformers' configuration",
        ),
        ("preprocessor_config.json", "{", "cannot be read as transformers' settings of an image processor"),
        ("preprocessor_config.json", "[]", "cannot be read as transformers' settings of an image processor"),
        ("preprocessor_config.json", '{"image_mean": ["a"]}', "could not convert string to float"),
    ],
)
def test_build_published__damaged_json_is_named(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    saved(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(WeightsError, match=message) as refused:
        build_published(recipe(), FIVE, tmp_path / "model.safetensors", print)
    assert name in str(refused.value)


def test_build_published__a_name_that_is_of_no_eomt_is_listed(tmp_path: Path) -> None:
    saved(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"temporal_head.weight": torch.ones(1)}, file)
    with pytest.raises(WeightsError, match=r"not in the model \(1\): .*temporal_head"):
        build_published(recipe(), FIVE, file, print)


def test_fit_validate_and_load__take_the_folder_where_they_take_a_published_file(tmp_path: Path) -> None:
    saved(tmp_path / "eomt", NAMES)
    for use in (validate, load):
        with pytest.raises(CheckpointError, match=r"does not say what model it holds\. Give the recipe"):
            use(tmp_path / "eomt")
    chosen, said = recipe(), []
    assert 0 <= validate(tmp_path / "eomt", chosen, say=said.append).result["val/pq"] <= 1
    assert load(tmp_path / "eomt", chosen, device="cpu").names == NAMES
    started = recipe(init_from=str(tmp_path / "eomt"))
    fit(started, out=tmp_path / "run", say=said.append)
    assert sum("of transformers' EoMT" in line for line in said) == 2
    assert not [line for line in said if "starts anew" in line]
