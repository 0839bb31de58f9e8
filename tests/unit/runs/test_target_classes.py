"""Classes of targets for checkpoints that do not name their own: published ones, known by their recipe's data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from support.eomt import part, read
from support.tiny import tiny_recipe
from vfmseg.data.dataset import open_dataset
from vfmseg.data.spec import read_label_map
from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.target import Target
from vfmseg.runs.target_classes import classes_of_model, match_target
from vfmseg.runs.targets import validate_targets

CITY = read_label_map("cityscapes").label_space


def recipe(**data: str) -> dict[str, object]:
    """Of the model that golden eomt_forward_dinov2_reg holds, with the classes of Cityscapes."""
    sizes = {"depth": 4, "embed_dim": 16, "num_heads": 2}
    encoder = {
        "name": "vit_small_patch14_reg4_dinov2",
        "image_size": 96,
        "patch_size": 16,
        "overrides": sizes,
    }
    decoder = {"name": "eomt", "num_queries": 6, "num_blocks": 2}
    return tiny_recipe(encoder=encoder, decoder=decoder, data=data)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    state = part(read("eomt_forward_dinov2_reg")[1], "state/")
    state |= {"class_head.weight": torch.rand(20, 16), "class_head.bias": torch.zeros(20)}
    torch.save({f"network.{name}": tensor for name, tensor in state.items()}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images of three classes, one of which Cityscapes does not have."""
    folder = tmp_path / "data"
    for kind in ("images", "masks"):
        (folder / kind / "val").mkdir(parents=True)
    for number in range(2):
        ids = np.arange(3, dtype=np.uint8).repeat(20)[None].repeat(40, 0)
        Image.fromarray(ids).save(folder / f"masks/val/{number}.png")
        Image.fromarray(np.full((40, 60, 3), 90 * number, np.uint8)).save(folder / f"images/val/{number}.png")
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": ["car", "cow", "Traffic-Light"]}))
    return folder / "data.yaml"


def test_validate_targets__a_published_checkpoint_on_other_classes(file: Path, data: Path) -> None:
    target = Target("farm", {"name": "folder", "path": str(data)}, "val")
    loaded = read_recipe(recipe(name="cityscapes", path="none"))
    found = validate_targets(file, [target], loaded, out=data.parent / "out", say=lambda m: None)
    (row,) = found.result["targets"].values()
    written = json.loads((data.parent / "out" / "targets.json").read_text())
    assert written["model"]["classes"] == list(CITY.names)
    assert row["scored_classes"] == 2
    assert row["ignored_classes"] == "cow"
    assert row["val/ignored_share"] == pytest.approx(1 / 3)
    assert {key for key in row if key.startswith("val/iou/")} == {"val/iou/car", "val/iou/traffic light"}


def test_match_target__classes_that_nobody_knows(file: Path, data: Path) -> None:
    own_data = read_recipe(recipe(name="folder", path="mine")).recipe
    assert classes_of_model(None, own_data) is None
    val = open_dataset("folder", data, "val")
    assert match_target("x", {}, val, None, task="semantic", file=file) is None
    with pytest.raises(RecipeError, match=r"--target x: .*published\.pth does not say what its classes are"):
        match_target("x", {"cow": None}, val, None, task="semantic", file=file)


def test_validate_targets__of_a_published_checkpoint_whose_classes_nobody_knows_have_the_same(
    file: Path, data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"path": str(data.parent), "names": ["car", "sheep", "lamp"]}))
    targets = [Target(name, {"path": str(path)}, "val") for name, path in (("one", data), ("two", other))]
    loaded = read_recipe(recipe(name="folder", path=str(data)))
    with pytest.raises(CheckpointError, match=r"in the data only: sheep, lamp"):
        validate_targets(file, targets, loaded, say=lambda m: None)
