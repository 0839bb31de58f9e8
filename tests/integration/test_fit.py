"""One run from recipe to predictions, and what may be chosen on the way."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.errors import CheckpointError, RecipeError, ResourceError, VfmsegError
from vfmseg.models.checkpoint import read_header, read_tensors
from vfmseg.training.callbacks.history import read_rows
from vfmseg.training.module import SegmentationModule
from vfmseg.types import Batch

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


def test_resume__a_finished_run_keeps_its_result(run: Path) -> None:
    before = (run / "result.json").read_bytes()
    said: list[str] = []
    done = vfmseg.fit(out=run, resume=True, say=said.append)
    assert (run / "result.json").read_bytes() == before
    assert done.result == json.loads(before)
    assert f"resume: {run} is finished; more training.steps would extend it" in said


def test_resume__killed_after_its_last_step_counts_the_time_before(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    before = json.loads((copy / "result.json").read_text())
    (copy / "result.json").unlink()
    done = vfmseg.fit(out=copy, resume=True, **_QUIET)
    assert done.result["val/miou"] == pytest.approx(before["val/miou"], abs=1e-9)
    assert done.result["images_per_s"] == before["images_per_s"]
    assert done.result["seconds"] > read_rows(copy / "metrics.csv")[-1]["time_s"]


def test_resume__with_another_learning_rate_learns_at_it(tmp_path: Path) -> None:
    vfmseg.fit(tiny_recipe(), out=tmp_path / "run", **_QUIET)
    before = read_tensors(tmp_path / "run" / "checkpoints" / "last")
    slower = tiny_recipe(training={"steps": 6, "learning_rate": 1e-12, "weight_decay": 0.0})
    vfmseg.fit(slower, out=tmp_path / "run", resume=True, **_QUIET)
    after = read_tensors(tmp_path / "run" / "checkpoints" / "last")
    for key in before:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-9)
    rates = [row["lr/decoder"] for row in read_rows(tmp_path / "run" / "metrics.csv") if "lr/decoder" in row]
    assert min(rates[:4]) > 1e-5
    assert max(rates[4:]) < 1e-12


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"encoder": {"overrides": {"embed_dim": 24, "depth": 3, "num_heads": 2}}},
            "overrides.depth was 2, is now 3",
        ),
        ({"tuning": {"method": "frozen"}}, "tuning.method was full, is now frozen"),
        ({"training": {"layer_decay": 0.5}}, "training.layer_decay was 1.0, is now 0.5"),
    ],
    ids=["encoder", "tuning", "decay"],
)
def test_resume__with_another_model_is_refused(changes: dict, said: str, run: Path) -> None:
    with pytest.raises(RecipeError, match=rf"cannot go on with another model: .*{said}.*--init_from"):
        vfmseg.fit(tiny_recipe(**changes), out=run, resume=True, **_QUIET)


def test_resume__with_other_classes_is_refused(run: Path, tmp_path: Path) -> None:
    _two_class_folder(tmp_path / "data")
    data = {"name": "folder", "path": str(tmp_path / "data" / "data.yaml")}
    with pytest.raises(
        CheckpointError, match=r"was started on data with the classes .*; now they are left, right"
    ):
        vfmseg.fit(tiny_recipe(data=data, training={"steps": 6}), out=run, resume=True, **_QUIET)


def test_resume__from_a_damaged_file_names_it(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "checkpoints" / "last" / "trainer.ckpt"
    for content in (file.read_bytes()[:1000], b"", b"no checkpoint"):
        file.write_bytes(content)
        with pytest.raises(
            CheckpointError, match=r"trainer\.ckpt is no whole resume file: .* Remove it to start"
        ):
            vfmseg.fit(out=copy, resume=True, **_QUIET)


def test_overwrite__a_recipe_that_fails_leaves_the_run_there(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    wrong = tiny_recipe(data={"name": "folder", "path": str(tmp_path / "nowhere")})
    with pytest.raises(VfmsegError, match="nowhere"):
        vfmseg.fit(wrong, out=copy, overwrite=True, **_QUIET)
    assert read_header(copy).step == 4
    assert (copy / "result.json").is_file()


def test_limit_val_batches__share_of_less_than_one_image(tmp_path: Path) -> None:
    recipe = tiny_recipe(trainer={"limit_val_batches": 0.1})
    with pytest.raises(
        RecipeError, match=r"limit_val_batches 0\.1 of 3 validation images is less than one image"
    ):
        vfmseg.fit(recipe, out=tmp_path / "run", **_QUIET)


def test_validate__sees_all_images_whatever_training_looked_at(run: Path) -> None:
    limited = tiny_recipe(trainer={"limit_val_batches": 1})
    assert (
        vfmseg.validate(run, limited, **_QUIET).scores.num_pixels
        == vfmseg.validate(run, **_QUIET).scores.num_pixels
    )


def test_validate__says_what_of_the_recipe_is_not_so(run: Path) -> None:
    said: list[str] = []
    vfmseg.validate(run, tiny_recipe(encoder={"image_size": 96}), say=said.append)
    assert "validate: the model is the checkpoint's, so encoder.image_size is 64, not 96" in said
    said.clear()
    vfmseg.validate(run, say=said.append)
    assert not [line for line in said if "the model is" in line]


def test_validate__out_that_is_a_file_is_said_before_the_work(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    with pytest.raises(ResourceError, match="file could not be written"):
        vfmseg.validate(run, out=tmp_path / "file", say=said.append)
    assert said == []


def test_predict__tiling_of_another_name_is_refused(run: Path) -> None:
    with pytest.raises(RecipeError, match="tiling is 'yes'; allowed: auto, always, never"):
        vfmseg.load(run).predict(np.zeros((8, 8, 3), np.uint8), tiling="yes")


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


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (1.0, r"The loss is nan at step 2 "),
        (float("nan"), r"32 of 32 weights are no longer numbers \(first: .*\) at step 2"),
    ],
)
def test_fit__diverged_weights_are_neither_scored_nor_saved(
    weights: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SegmentationModule.training_step

    def diverge(module: SegmentationModule, batch: Batch, batch_idx: int) -> torch.Tensor:
        if module.global_step == 1:
            with torch.no_grad():
                next(module.segmenter.parameters()).mul_(weights)
        loss = real(module, batch, batch_idx)
        if module.global_step == 1:  # the loss is told at the next log, long after the validation at step 2
            module.train_losses[-1]["loss"] = torch.tensor(float("nan") if weights == 1 else 1.0)
        return loss

    monkeypatch.setattr(SegmentationModule, "training_step", diverge)
    recipe = tiny_recipe(training={"steps": 4, "checkpoint_every": 4}, trainer={"log_every_n_steps": 100})
    with pytest.raises(VfmsegError, match=said):
        vfmseg.fit(recipe, out=tmp_path / "run", **_QUIET)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert not (tmp_path / "run" / "predictions").exists()


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
