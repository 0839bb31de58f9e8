"""One run from recipe to predictions, and what may be chosen on the way."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.errors import CheckpointError, RecipeError, VfmsegError
from vfmseg.models.checkpoint import read_header, read_tensors
from vfmseg.training.callbacks.history import read_rows

_QUIET = {"say": lambda message: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vfmseg.fit(tiny_recipe(), out=tmp_path_factory.mktemp("fit") / "run", **_QUIET).folder


def test_fit__writes_the_whole_run_folder(run: Path) -> None:
    for name in ("recipe.yaml", "environment.json", "metrics.csv", "result.json", "validation.json"):
        assert (run / name).stat().st_size > 0, name
    for name in ("last", "best"):
        assert read_header(run / "checkpoints" / name).label_space.num_classes > 5
    assert sorted(p.name for p in (run / "predictions").iterdir()) == [
        "best",
        "step_000002",
        "step_000004",
        "worst",
    ]
    assert not list(run.rglob("*.partial"))


def test_fit__measures_what_the_report_needs(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == 4
    assert 0 <= result["val/miou"] <= 1
    assert result["parameters_trainable"] == result["parameters_total"] > 10_000
    rows = read_rows(run / "metrics.csv")
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "val/miou" in row] == [2, 4]
    assert rows[0].keys() >= {"lr/decoder", "lr/encoder", "images_per_s", "data_wait_share", "memory_gib"}
    assert rows[0]["lr/encoder"] == pytest.approx(0.1 * rows[0]["lr/decoder"])


def test_validate__of_the_checkpoint_gives_the_runs_own_numbers(run: Path) -> None:
    again = vfmseg.validate(run / "checkpoints" / "last", **_QUIET)
    stored = json.loads((run / "result.json").read_text())
    assert again.scores.miou == pytest.approx(stored["val/miou"], abs=1e-9)
    assert again.result["val/pixel_accuracy"] == pytest.approx(stored["val/pixel_accuracy"], abs=1e-9)


def test_load__needs_nothing_but_the_checkpoint(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((run / "checkpoints" / "best" / "model.safetensors").read_bytes())
    image = np.random.default_rng(0).integers(0, 255, (50, 91, 3), dtype=np.uint8)
    found = vfmseg.load(alone).predict(image)
    assert found.semantic.shape == (50, 91)
    assert found.confidence is not None
    assert found.confidence.shape == (50, 91)
    assert 0 < float(found.confidence.min()) <= float(found.confidence.max()) <= 1
    written = found.save(tmp_path / "out", "a/b")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / written["mask"])), found.semantic)


def test_load__does_not_depend_on_keys_that_say_nothing_of_the_model(run: Path, tmp_path: Path) -> None:
    header = read_header(run)
    older = dataclasses.replace(header, recipe={**header.recipe, "data": {"key_of_another_version": 1}})
    tensors = read_tensors(run)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"vfmseg": json.dumps(older.as_dict())})
    assert vfmseg.load(tmp_path).names == header.label_space.names


def test_fit__same_seed_same_weights_and_another_seed_others(run: Path, tmp_path: Path) -> None:
    again = vfmseg.fit(tiny_recipe(), out=tmp_path / "again", **_QUIET).folder
    other = vfmseg.fit(tiny_recipe(seed=1), out=tmp_path / "other", **_QUIET).folder
    first, second, third = (read_tensors(r / "checkpoints" / "last") for r in (run, again, other))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not all(torch.equal(first[k], third[k]) for k in first)


def test_fit__does_not_depend_on_how_the_batch_is_split(run: Path, tmp_path: Path) -> None:
    whole = vfmseg.fit(tiny_recipe(data={"batch_size": 4}), out=tmp_path / "whole", **_QUIET).folder
    one = vfmseg.fit(tiny_recipe(data={"batch_size": 1}), out=tmp_path / "one", **_QUIET).folder
    first, second, third = (read_tensors(r / "checkpoints" / "last") for r in (run, whole, one))
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-3, atol=2e-5)
        torch.testing.assert_close(first[key], third[key], rtol=1e-3, atol=2e-5)


def test_fit__extends_a_finished_run(tmp_path: Path) -> None:
    vfmseg.fit(tiny_recipe(), out=tmp_path / "run", **_QUIET)
    said: list[str] = []
    longer = tiny_recipe(training={"steps": 6})
    done = vfmseg.fit(longer, out=tmp_path / "run", resume=True, say=said.append)
    assert done.result["steps"] == 6
    assert "resume: training.steps was 4, is now 6" in said
    assert [r["step"] for r in read_rows(tmp_path / "run" / "metrics.csv") if "train/loss" in r] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tuning": {"method": "frozen"}}, "frozen"),
        ({"training": {"ema": 0.5}}, "ema"),
        ({"training": {"class_weights": "auto", "warmup": 0.5, "gradient_clip": 0.1}}, "weights"),
        ({"training": {"layer_decay": 0.5, "gradient_checkpointing": True}}, "decay"),
        ({"training": {"precision": "bf16-mixed", "loss_average": "batch"}}, "bf16"),
        (
            {"decoder": {"name": "mask2former", "num_queries": 6, "num_blocks": 1, "embed_dim": 16}},
            "mask2former",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fit__with(changes: dict, what: str, tmp_path: Path) -> None:
    done = vfmseg.fit(tiny_recipe(**changes), out=tmp_path / what, **_QUIET)
    weights = read_tensors(done.folder / "checkpoints" / "last")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert done.result["steps"] == 4
    if what == "frozen":
        assert done.result["parameters_trainable"] < done.result["parameters_total"]


def test_fit__gradient_checkpointing_changes_nothing_but_memory(run: Path, tmp_path: Path) -> None:
    done = vfmseg.fit(tiny_recipe(training={"gradient_checkpointing": True}), out=tmp_path / "c", **_QUIET)
    first, second = (read_tensors(r / "checkpoints" / "last") for r in (run, done.folder))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_fit__frozen_encoder_keeps_its_weights(tmp_path: Path) -> None:
    recipe = tiny_recipe(tuning={"method": "frozen"})
    done = vfmseg.fit(recipe, out=tmp_path / "frozen", **_QUIET)
    fresh = vfmseg.build(
        "vit_tiny_patch16_224",
        num_classes=len(read_header(done.folder).label_space.names),
        image_size=64,
        weights="random",
        overrides=recipe["encoder"]["overrides"],
        seed=0,
    ).state_dict()
    trained = read_tensors(done.folder / "checkpoints" / "last")
    changed = {key.split(".")[0] for key in fresh if not torch.equal(fresh[key], trained[key])}
    assert changed == {"decoder"}


def test_fit__early_stopping_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    recipe = tiny_recipe(
        training={
            "steps": 40,
            "early_stopping": 0.05,
            "validate_every": 1,
            "learning_rate": 1e-12,
            "overlays": 0,
        }
    )
    done = vfmseg.fit(recipe, out=tmp_path / "early", say=said.append)
    assert done.result["steps"] < 40
    assert any(line.startswith("Stopped early at step") for line in said)


def test_fit__starts_from_a_checkpoint_with_other_classes(run: Path, tmp_path: Path) -> None:
    _two_class_folder(tmp_path / "data")
    said: list[str] = []
    recipe = tiny_recipe(
        data={"name": "folder", "path": str(tmp_path / "data" / "data.yaml")}, init_from=str(run)
    )
    done = vfmseg.fit(recipe, out=tmp_path / "start", say=said.append)
    assert read_header(done.folder).label_space.names == ("left", "right")
    assert any("its classes are not the data's" in line for line in said)


def test_validate__other_classes_are_refused(run: Path, tmp_path: Path) -> None:
    _two_class_folder(tmp_path / "data")
    with pytest.raises(CheckpointError, match=r"the data has 2(.|\n)*in the data only: left, right"):
        vfmseg.validate(run, data={"name": "folder", "path": str(tmp_path / "data" / "data.yaml")}, **_QUIET)


def test_fit__refuses_to_overwrite_a_run(run: Path) -> None:
    with pytest.raises(RecipeError, match=r"already holds a run. Go on with it \(--resume\)"):
        vfmseg.fit(tiny_recipe(), out=run, **_QUIET)


def test_fit__nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is nothing to resume"):
        vfmseg.fit(tiny_recipe(), out=tmp_path / "none", resume=True, **_QUIET)


def test_fit__effective_batch_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"effective_batch_size 4 is not a multiple of data.batch_size 3.*can be 1, 2, 4"
    ):
        vfmseg.fit(tiny_recipe(data={"batch_size": 3}), out=tmp_path / "x", **_QUIET)


def test_fit__diverging_loss_is_an_error_and_saves_nothing_broken(tmp_path: Path) -> None:
    recipe = tiny_recipe(training={"learning_rate": 1e30, "steps": 8, "encoder_lr_factor": 1.0})
    with pytest.raises(VfmsegError, match=r"The loss is (nan|inf) at step"):
        vfmseg.fit(recipe, out=tmp_path / "nan", **_QUIET)


def test_fit__no_gpu_is_said_before_anything_is_read(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without GPU")
    with pytest.raises(VfmsegError, match=r"sees no GPU\. Use --trainer\.accelerator cpu"):
        vfmseg.fit(tiny_recipe(trainer={"accelerator": "gpu"}), out=tmp_path / "gpu", **_QUIET)


def _two_class_folder(root: Path) -> None:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(2):
            rng = np.random.default_rng(number)
            image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            mask[:, 32:] = 1
            Image.fromarray(image).save(root / "images" / split / f"{split}{number}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{split}{number}.png")
    (root / "data.yaml").write_text("path: .\nnames: {0: left, 1: right}\n")
