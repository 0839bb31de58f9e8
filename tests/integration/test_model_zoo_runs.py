"""Every recipe of the model zoo and the ladder trains two steps and validates on tiny archives in the original layouts.

Every recipe of generated scenes does so on a few of them. The zoo's encoders are cut to narrow blocks and views to 64
pixels; what else the recipes say stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vfmseg
from support.archives import write_ade20k, write_ade20k_instances, write_cityscapes, write_coco
from vfmseg.models.checkpoint import read_header
from vfmseg.runs.recipe_reader import list_recipes, read_recipe

_ZOO = [path for path in list_recipes() if path.split("/")[1] in ("dinov2", "dinov3", "ladder")]
_SCENES = [path for path in list_recipes() if path.startswith("configs/scenes_")]
_HEADLINES = {"semantic": "miou", "panoptic": "pq", "instance": "ap"}


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("zoo")
    for name in ("ade20k", "cityscapes", "coco_panoptic", "coco_instance"):
        (root / name).mkdir()
    write_ade20k_instances(write_ade20k(root / "ade20k"))
    write_cityscapes(root / "cityscapes")
    for kind in ("panoptic", "instance"):
        write_coco(root / f"coco_{kind}", kind="panoptic" if kind == "panoptic" else "instances")
    return {path.name: path for path in root.iterdir()}


def test_there_are_all() -> None:
    assert len(_ZOO) == 24 + 6
    assert len(_SCENES) == 1 + 3  # the linear decoder, and EoMT for each task


@pytest.mark.parametrize("path", _ZOO)
def test_recipe__trains_two_steps_and_validates(
    path: str, archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    published = read_recipe(path, {"data.path": "anywhere"}).recipe
    task, name = published.task, published.data.name
    data = archives[f"{name}_{task}" if name == "coco" else name]
    blocks = getattr(published.decoder, "num_blocks", 1)
    is_eomt = published.decoder.name == "eomt"
    changes: dict[str, Any] = {
        "encoder": {
            "image_size": 64,
            "weights": "random",
            "overrides": {"embed_dim": 48, "depth": max(4, blocks) if is_eomt else 4, "num_heads": 2},
        },
        "data": {"path": str(data), "batch_size": 2, "num_workers": 0},
        "training": {
            "steps": 2,
            "effective_batch_size": 2,
            "warmup": 0,
            "encoder_warmup": 0,
            "mask_points": 32,
            "overlays": 0,
            "loggers": [],
        },
        "decoder": {
            "num_queries": 5,
            **({} if is_eomt else {"num_blocks": 3, "embed_dim": 32, "num_heads": 2}),
        },
        "trainer": {"accelerator": "cpu", "progress": False, "limit_val_batches": 1},
        "delta_weights": False,
    }
    if "/" in published.encoder.name:  # its configuration lies on the hub
        changes["encoder"]["name"] = "dinov2-reg-l"
    run = vfmseg.fit(path, out=tmp_path / "run", say=lambda message: None, **changes)
    assert run.result["steps"] == 2
    assert run.result["task"] == task
    assert run.result[f"val/{_HEADLINES[task]}"] is not None
    assert read_header(tmp_path / "run" / "checkpoints" / "last").step == 2


@pytest.mark.parametrize("path", _SCENES)
def test_scenes_recipe__trains_two_steps_and_validates(path: str, tmp_path: Path) -> None:
    task = read_recipe(path).recipe.task
    changes: dict[str, Any] = {
        "data": {"scenes": {"train": 4, "val": 2}, "batch_size": 2, "num_workers": 0},
        "training": {"steps": 2, "effective_batch_size": 2, "overlays": 0, "loggers": []},
        "trainer": {"accelerator": "cpu", "progress": False},
    }
    run = vfmseg.fit(path, out=tmp_path / "run", say=lambda message: None, **changes)
    assert (run.result["steps"], run.result["task"]) == (2, task)
    assert run.result[f"val/{_HEADLINES[task]}"] is not None
