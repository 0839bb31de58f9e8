"""Checkpoints of the published EoMT, in its own names, as what a run starts from and what is validated and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from support.eomt import dinov3_folder, in_order, part, read
from support.tiny import tiny_recipe
from vfmseg.data.scene_style import CLASSES
from vfmseg.errors import CheckpointError, RecipeError, WeightsError
from vfmseg.models.checkpoint import CheckpointHeader, save_model
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.assemble import build_model
from vfmseg.runs.load import load
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.start_weights import build_published, published_label_space, start_from
from vfmseg.runs.validate import validate
from vfmseg.types import LabelSpace

FIVE = LabelSpace(("a", "b", "c", "d", "e"), ((0, 0, 0),) * 5, (True, True, False, False, False))


def recipe(**changes: Any) -> Recipe:
    """Of the model that golden eomt_forward_dinov2_reg holds."""
    sizes = {"depth": 4, "embed_dim": 16, "num_heads": 2}
    encoder = {
        "name": "vit_small_patch14_reg4_dinov2",
        "image_size": 96,
        "patch_size": 16,
        "overrides": sizes,
    }
    made = tiny_recipe(
        task="panoptic", encoder=encoder, decoder={"name": "eomt", "num_queries": 6, "num_blocks": 2}
    )
    return read_recipe({**made, **changes}).recipe


def published(file: Path, num_classes: int = 5, *, prefix: str = "network.", **more: Tensor) -> Path:
    """Write the golden's state as their trainer does, with a class head of ``num_classes``."""
    state = part(read("eomt_forward_dinov2_reg")[1], "state/")
    if num_classes != 5:
        state |= {
            "class_head.weight": torch.ones(num_classes + 1, 16),
            "class_head.bias": torch.ones(num_classes + 1),
        }
    named = {f"{prefix}{name}": tensor for name, tensor in state.items()} | more
    if file.suffix == ".safetensors":
        save_file(named, file)
    else:
        torch.save({"state_dict": named, "epoch": 11} if file.suffix == ".ckpt" else named, file)
    return file


def assert_golden(segmenter: Segmenter, name: str = "eomt_forward_dinov2_reg") -> None:
    golden = read(name)[1]
    (found,) = segmenter.eval()(golden["images"])
    recorded = in_order(part(golden, "off/mask_logits/"))[-1]
    torch.testing.assert_close(found.mask_logits, recorded, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("pytorch_model.bin", "network."),
        ("last.ckpt", "network._orig_mod."),
        ("x.pth", ""),
        ("x.safetensors", "network."),
    ],
)
def test_start_from__predicts_as_published_and_says_what_is_not_used(
    name: str, prefix: str, tmp_path: Path
) -> None:
    extra = {"criterion.empty_weight": torch.ones(6), f"{prefix}attn_mask_probs": torch.zeros(2)}
    file = published(tmp_path / name, prefix=prefix, **extra)
    chosen, said = recipe(init_from=str(file)), []
    segmenter = build_model(chosen, 5)
    start_from(segmenter, chosen, FIVE, said.append)
    assert_golden(segmenter)
    assert said[0].startswith("weights: ")
    assert "of a published program" in said[0]
    assert said[1].startswith("weights: not used (4): ")
    for unused in ("criterion.empty_weight", "attn_mask_probs", "encoder.pixel_mean"):
        assert unused in said[1]


@pytest.mark.parametrize(
    ("num_classes", "load_class_head", "reason"),
    [(7, True, "it has 6 outputs, not 8"), (5, False, "as load_class_head is false")],
)
def test_start_from__class_head_starts_anew_with_the_reason(
    num_classes: int, load_class_head: bool, reason: str, tmp_path: Path
) -> None:
    file = published(tmp_path / "pytorch_model.bin")
    chosen, said = recipe(init_from=str(file), load_class_head=load_class_head), []
    segmenter = build_model(chosen, num_classes)
    before = segmenter.decoder.class_layer.weight.clone()
    start_from(segmenter, chosen, FIVE, said.append)
    assert torch.equal(segmenter.decoder.class_layer.weight, before)
    assert f"is not taken ({reason}); it starts anew" in said[0]
    assert torch.equal(
        segmenter.decoder.queries, part(read("eomt_forward_dinov2_reg")[1], "state/")["q.weight"]
    )


def dinov3(folder: Path) -> tuple[Recipe, Path]:
    """Return a recipe of the golden's DINOv3 with base weights in ``folder``, and differences to them."""
    info, golden = read("eomt_forward_dinov3_hf")
    state = part(golden, "state/")
    names = {
        name: name.removeprefix("encoder.backbone.") for name in state if name.startswith("encoder.backbone.")
    }
    names = {
        n: s.replace("blocks.", "layer.").replace("patch_embed.", "embeddings.") for n, s in names.items()
    }
    (folder / "base").mkdir()
    base = {n: torch.full_like(state[n], 0.25) for n in names}
    save_file({names[n]: t for n, t in base.items()}, folder / "base.safetensors")
    state |= {n: state[n] - base[n] for n in names}
    state |= {"encoder.pixel_mean": torch.zeros(1, 3, 1, 1), "encoder.pixel_std": torch.zeros(1, 3, 1, 1)}
    torch.save({f"network.{n}": t for n, t in state.items()}, folder / "deltas.bin")
    encoder = {
        "name": dinov3_folder(info, folder / "base"), "image_size": [64, 96], "patch_size": 16,
        "weights": str(folder / "base.safetensors"),
    }  # fmt: skip
    decoder = {"name": "eomt", "num_queries": 6, "num_blocks": 2}
    made = {"task": "panoptic", "encoder": encoder, "decoder": decoder, "delta_weights": True}
    return read_recipe(made).recipe, folder / "deltas.bin"


def test_build_published__differences_are_added_to_the_encoders_own_weights(tmp_path: Path) -> None:
    chosen, file = dinov3(tmp_path)
    said: list[str] = []
    assert_golden(build_published(chosen, FIVE, file, said.append), "eomt_forward_dinov3_hf")
    assert "differences added to the encoder's weights" in said[0]


def test_build_published__differences_and_weights_are_told_apart(tmp_path: Path) -> None:
    chosen, file = dinov3(tmp_path)
    taken_for_weights = read_recipe(chosen, {"delta_weights": False}).recipe
    with pytest.raises(
        WeightsError, match=r"delta_weights is false, but the file holds differences.*delta_weights true"
    ):
        build_published(taken_for_weights, FIVE, file, print)
    absolute = published(tmp_path / "pytorch_model.bin")
    with pytest.raises(
        WeightsError, match=r"delta_weights is true, but the file holds weights.*delta_weights false"
    ):
        build_published(read_recipe(chosen, {"delta_weights": True}).recipe, FIVE, absolute, print)
    without = read_recipe(chosen, {"encoder.weights": "random"}).recipe
    with pytest.raises(RecipeError, match=r"encoder\.weights is random\. Set encoder\.weights to pretrained"):
        build_published(without, FIVE, file, print)


def test_build_published__other_classes_are_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"class head of 8 outputs, scenes \(panoptic\) needs 6"):
        build_published(recipe(), FIVE, published(tmp_path / "pytorch_model.bin", 7), print)


def test_validate_and_load__under_the_recipe_that_is_given(tmp_path: Path) -> None:
    file = published(tmp_path / "pytorch_model.bin", len(CLASSES))
    with pytest.raises(CheckpointError, match=r"does not say what model it holds\. Give the recipe"):
        validate(file)
    with pytest.raises(CheckpointError, match=r"does not say what model it holds\. Give the recipe"):
        load(file)
    chosen = recipe()
    done = validate(file, chosen, say=lambda message: None)
    assert done.result["step"] is None
    assert 0 <= done.result["val/pq"] <= 1
    model = load(file, chosen, device="cpu")
    assert len(model.names) == len(CLASSES)


def test_load__a_recipe_for_a_checkpoint_that_has_its_own_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, nn.Linear(1, 1), CheckpointHeader({}, FIVE, (0.0,), (1.0,), 1))
    with pytest.raises(RecipeError, match="knows what it is; leave out the recipe"):
        load(tmp_path / "model.safetensors", "configs/scenes_linear_semantic.yaml")


@pytest.mark.parametrize(
    ("data", "task", "classes", "first"),
    [
        ("coco", "panoptic", 133, "person"),
        ("coco", "instance", 80, "person"),
        ("ade20k", "semantic", 150, "wall"),
        ("ade20k", "panoptic", 150, "wall"),
        ("cityscapes", "semantic", 19, "road"),
        ("cityscapes", "instance", 8, "person"),
    ],
)
def test_published_label_space__of_known_data_without_a_file(
    data: str, task: str, classes: int, first: str
) -> None:
    tree = {"task": task, "decoder": {"name": "eomt"}, "data": {"name": data}}
    space = published_label_space(read_recipe(tree, needs_data=False).recipe)
    assert (space.num_classes, space.names[0]) == (classes, first)
