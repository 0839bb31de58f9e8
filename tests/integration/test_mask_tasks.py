"""Whole runs of the tasks that know objects: EoMT on generated scenes, annealed, killed and resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import vfmseg
from support.killing import kill_at
from support.tiny import tiny_recipe
from vfmseg.models.checkpoint import read_tensors
from vfmseg.training.callbacks.history import read_rows
from vfmseg.training.schedule import MaskSchedule

_QUIET = {"say": lambda message: None}
_EOMT = {"name": "eomt", "num_queries": 12, "num_blocks": 2}


def recipe(task: str, **changes: Any) -> dict[str, Any]:
    made = tiny_recipe(task=task, decoder=_EOMT, **changes)
    made["training"].setdefault("mask_points", 128)
    return made


@pytest.mark.parametrize(("task", "headline"), [("semantic", "miou"), ("panoptic", "pq"), ("instance", "ap")])
def test_fit__eomt_learns_each_task(task: str, headline: str, tmp_path: Path) -> None:
    run = vfmseg.fit(recipe(task), out=tmp_path / "run", **_QUIET)
    assert run.result["task"] == task
    assert 0 <= run.result[f"val/{headline}"] <= 1
    stored = json.loads((run.folder / "validation.json").read_text())
    assert stored["task"] == task
    assert list((run.folder / "predictions").rglob("*.jpg"))
    rows = read_rows(run.folder / "metrics.csv")
    trained = [row for row in rows if "train/loss" in row]
    assert [row["mask_probability/0"] for row in trained] == sorted(
        (row["mask_probability/0"] for row in trained), reverse=True
    )
    # four optimiser steps of two micro-batches each: blocks are annealed from step 1 to 1 and from step 3 to 3
    assert [row["mask_probability/0"] for row in trained] == [1, 0, 0, 0]
    assert [row["mask_probability/1"] for row in trained] == [1, 1, 1, 0]
    halfway = next(row for row in rows if f"val/{headline}" in row)
    assert f"val_masked/{headline}" in halfway
    again = vfmseg.validate(run.folder / "checkpoints" / "last", **_QUIET)
    assert again.result[f"val/{headline}"] == pytest.approx(run.result[f"val/{headline}"], abs=1e-9)


def _probabilities(folder: Path) -> dict[int, tuple[float | None, ...]]:
    rows = [row for row in read_rows(folder / "metrics.csv") if "train/loss" in row]
    return {
        int(row["step"] or 0): tuple(row[f"mask_probability/{block}"] for block in (0, 1)) for row in rows
    }


def test_fit__an_extended_run_is_annealed_over_its_new_length(tmp_path: Path) -> None:
    said: list[str] = []
    training = {"steps": 12, "mask_points": 32, "validate_every": 1.0, "overlays": 0}
    vfmseg.fit(recipe("panoptic", training=training), out=tmp_path / "run", **_QUIET)
    before = _probabilities(tmp_path / "run")
    assert before[12] == (0, 0)
    longer = recipe("panoptic", training={**training, "steps": 24})
    vfmseg.fit(longer, out=tmp_path / "run", resume=True, say=said.append)
    after = _probabilities(tmp_path / "run")
    assert list(after) == list(range(1, 25))
    assert {step: after[step] for step in before} == before
    schedule = MaskSchedule(
        starts=(4, 16), ends=(8, 20)
    )  # a sixth and four sixths of 24 steps, each for a sixth
    for step in range(13, 25):
        assert after[step] == pytest.approx(schedule.probabilities(step - 1))
    assert "resume: training.steps was 12, is now 24" in said
    (back,) = [line for line in said if line.startswith("masks:")]
    assert "with probability 0.00, 1.00 again (one a block; at step 12 it was 0.00, 0.00)" in back
    assert "--decoder.masks never" in back


def test_fit__more_objects_than_queries_are_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = recipe("panoptic")
    changed["decoder"] = {**_EOMT, "num_queries": 1}
    run = vfmseg.fit(changed, out=tmp_path / "run", **_QUIET)
    counts = [
        row["train/unmatched_segments"]
        for row in read_rows(run.folder / "metrics.csv")
        if "train/loss" in row
    ]
    assert min(counts) > 0
    (said,) = [text for text in caplog.messages if "segments a batch" in text]
    assert said == (
        f"step 1: {counts[0]:.4g} segments a batch were learned by no query, as their images have more segments than the "
        "decoder has queries. Raise decoder.num_queries above the segments of an image; all are counted "
        "(train/unmatched_segments in metrics.csv)."
    )


_STEPS = 18  # the two blocks are annealed from step 3 to 6 and from step 12 to 15


def _long() -> dict[str, Any]:
    training = {"steps": _STEPS, "checkpoint_every": 1, "validate_every": 9, "overlays": 0, "mask_points": 64}
    return recipe("panoptic", training=training)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    done = vfmseg.fit(_long(), out=tmp_path_factory.mktemp("whole") / "run", **_QUIET)
    return read_tensors(done.folder / "checkpoints" / "last")


@pytest.mark.parametrize(
    "phase",
    [
        "masked",
        pytest.param("annealed", marks=pytest.mark.slow),
        pytest.param("between", marks=pytest.mark.slow),
        pytest.param("unmasked", marks=pytest.mark.slow),
    ],
)
def test_resume__killed_in_any_phase_of_annealing_is_bit_equal(
    phase: str, uninterrupted: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    step = {"masked": 1, "annealed": 4, "between": 8, "unmasked": 15}[phase]
    file, folder = tmp_path / "tiny.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(_long()))
    kill_at(file, folder, step)
    vfmseg.fit(file, out=folder, resume=True, **_QUIET)
    resumed = read_tensors(folder / "checkpoints" / "last")
    assert resumed.keys() == uninterrupted.keys()
    assert all(torch.equal(resumed[key], uninterrupted[key]) for key in resumed)
