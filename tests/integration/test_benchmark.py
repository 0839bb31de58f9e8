"""Whole studies of tiny runs: run, killed, resumed, extended; failures are rows."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from support.processes import Command, wait_until
from support.studies import benchmark
from support.tiny import tiny_recipe
from vfmseg.models.checkpoint import read_tensors

COSTS = {"seconds", "images_per_s", "peak_memory_gib"}


def write_study(folder: Path, name: str = "tiny", **changes: Any) -> Path:
    base = tiny_recipe(training={"steps": 6, "overlays": 0, "checkpoint_every": 1, "validate_every": 1.0})
    base["trainer"]["progress"] = False
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    tree = {
        "name": name,
        "base": str(folder / "base.yaml"),
        "axes": {"tuning.method": ["full", "frozen"], "seed": [0, 1]},
        **changes,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return file


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "trials.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for file in sorted(out.glob("trials/*/result.json")):
        found[file.parent.name] = {k: v for k, v in json.loads(file.read_text()).items() if k not in COSTS}
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a study with a preparation and a target, and its results, run in one process."""
    folder = tmp_path_factory.mktemp("study")
    study = write_study(
        folder,
        prepare={"first": {"keys": {"training.steps": 3}}},
        axes={
            "start": {"random": {}, "first": {"encoder.weights": "prepared:first"}},
            "tuning.method": ["full", "frozen"],
        },
        skip=[{"when": {"start": "random", "tuning.method": "frozen"}, "reason": "learns nothing"}],
        targets={"dusk": {"scenes": {"domains": ["dusk"]}}},
    )
    benchmark(study, "--out", folder / "out")
    return study, folder / "out"


def test_study__has_a_row_for_every_combination(finished: tuple[Path, Path]) -> None:
    _, out = finished
    table = rows(out)
    assert [row["status"] for row in table] == ["done", "done", "left out", "done", "done"]
    assert [row["prepares"] for row in table] == ["first", "", "", "", ""]
    by_label = {(row["axis.start"], row["axis.tuning.method"]): row for row in table}
    assert by_label["random", "frozen"]["reason"] == "learns nothing"
    scored = by_label["first", "full"]
    assert 0 <= float(scored["val/miou"]) <= 1
    assert 0 <= float(scored["target/dusk/val/miou"]) <= 1
    assert float(scored["cost/cpu_hours"]) > 0
    assert scored["cost/attempts"] == "1"
    assert scored["torch"]
    assert by_label["", ""]["target/dusk/val/miou"] == ""  # nobody asked how a preparation fares
    # a trial starts from what its preparation has learned
    prepared = by_label["", ""]["id"]
    frozen = yaml.safe_load((out / "trials" / by_label["first", "frozen"]["id"] / "recipe.yaml").read_text())
    assert (
        Path(frozen["encoder"]["weights"]) == out / "trials" / prepared / "checkpoints/best/model.safetensors"
    )


def test_study__that_is_done_runs_nothing_and_one_with_more_runs_what_is_new(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    study, out = finished
    before = {file: file.stat().st_mtime_ns for file in out.glob("trials/*/result.json")}
    assert "0 trials done in 0 s, 4 done before" in benchmark(study, "--out", out).stdout
    tree = yaml.safe_load(study.read_text())
    tree["axes"]["tuning.method"].append("bitfit")
    longer = tmp_path / "tiny.yaml"
    longer.write_text(yaml.safe_dump(tree, sort_keys=False))
    assert "2 trials done" in benchmark(longer, "--out", out).stdout
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_trial__that_fails_is_a_row_and_not_the_end(tmp_path: Path) -> None:
    study = write_study(
        tmp_path,
        axes={"model": {"good": {}, "gone": {"encoder.weights": "/nowhere/weights.safetensors"}}},
    )
    benchmark(study, "--out", tmp_path / "out", code=1)
    good, gone = rows(tmp_path / "out")
    assert good["status"] == "done"
    assert gone["status"] == "failed"
    assert "/nowhere/weights.safetensors" in gone["reason"]
    log = tmp_path / "out" / "trials" / gone["id"] / "log.txt"
    assert "Traceback" in log.read_text()
    said = benchmark(study, "--out", tmp_path / "out", code=1)
    assert "1 trials failed before and are left: --retry runs them again" in said.stderr
    assert "1 failed" in said.stdout


def test_folder__of_another_study_or_of_something_else(finished: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = finished
    other = write_study(tmp_path, name="other")
    said = benchmark(other, "--out", out, code=2)
    assert "holds the results of the study 'tiny', not of 'other'" in said.stderr
    assert "is not empty and holds no study" in benchmark(other, "--out", tmp_path, code=2).stderr
    (tmp_path / "file").touch()
    said = benchmark(other, "--out", tmp_path / "file" / "out", code=2)
    assert str(tmp_path / "file") in said.stderr


def write_long_study(folder: Path) -> Path:
    return write_study(folder, axes={"tuning.method": ["full", "bitfit"]}, keys={"training.steps": 30})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of the study that others kill."""
    folder = tmp_path_factory.mktemp("whole")
    benchmark(write_long_study(folder), "--out", folder / "out")
    return folder / "out"


@pytest.mark.parametrize("victim", ["driver", "trial"])
def test_killed__a_study_goes_on_and_gives_the_same(victim: str, uninterrupted: Path, tmp_path: Path) -> None:
    study, out = write_long_study(tmp_path), tmp_path / "out"
    driver = Command(["benchmark", study, "--out", out], tmp_path / "driver")
    trial = driver.wait_for(lambda: list(out.glob("trials/*/checkpoints/last")))[0].parents[1]
    worker = int((trial / "lock").read_text().split()[1])
    os.kill(driver.pid if victim == "driver" else worker, signal.SIGKILL)
    if victim == "driver":
        assert driver.wait() == -signal.SIGKILL
        wait_until(lambda: not Path(f"/proc/{worker}").exists())  # it must not go on by itself
        assert len(results(out)) < 2
        benchmark(study, "--out", out)
    else:
        assert driver.wait() == 0, driver.stderr
    assert "resume" in (trial / "log.txt").read_text()
    assert results(out) == results(uninterrupted)
    for name in results(out):
        last = Path("trials") / name / "checkpoints" / "last"
        of_whole = read_tensors(uninterrupted / last)
        for key, tensor in read_tensors(out / last).items():
            assert tensor.equal(of_whole[key])


def test_stopped__a_study_saves_what_runs_and_goes_on(tmp_path: Path) -> None:
    study = write_study(tmp_path, axes={"tuning.method": ["full", "bitfit"]}, keys={"training.steps": 60})
    command = [sys.executable, "-m", "vfmseg", "benchmark", str(study), "--out", str(tmp_path / "out")]
    # as a user's: nothing shared, nothing forked
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    begun = wait_until(lambda: list((tmp_path / "out").glob("trials/*/metrics.csv")))
    os.killpg(
        driver.pid, signal.SIGTERM
    )  # as Slurm: also to the trial, which the driver then tells once more
    assert driver.wait(timeout=60) == 128 + signal.SIGTERM
    assert not list((tmp_path / "out").glob("trials/*/result.json"))
    assert not list((tmp_path / "out").glob("trials/*/failure.json"))
    assert (begun[0].parent / "checkpoints" / "last").exists()
    assert not list((tmp_path / "out").glob("trials/*/checkpoints/**/*.partial"))
    benchmark(study, "--out", tmp_path / "out")
    assert "resume" in (begun[0].parent / "log.txt").read_text()
    assert len(results(tmp_path / "out")) == 2


def test_target__that_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    study = write_study(
        tmp_path,
        axes={"tuning.method": ["full"]},
        targets={"night": {"name": "folder", "path": str(tmp_path / "nowhere")}},
    )
    benchmark(study, "--out", tmp_path / "out", code=1)
    (row,) = rows(tmp_path / "out")
    assert row["status"] == "failed"
    assert "nowhere" in row["reason"]
    assert not (tmp_path / "out" / "trials" / row["id"] / "checkpoints").exists()


def test_target__has_its_classes_as_on_the_command_line(tmp_path: Path) -> None:
    study = write_study(
        tmp_path,
        axes={"tuning.method": ["full"]},
        targets={"dusk": {"scenes": {"domains": ["dusk"]}, "classes": {"car": None}}},
    )
    benchmark(study, "--out", tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    result = tmp_path / "out" / "trials" / row["id"] / "targets" / "dusk" / "result.json"
    assert json.loads(result.read_text())["ignored_classes"] == "car"


def test_frozen_trials__share_features_and_no_number_changes(
    tmp_path: Path,
) -> None:
    decoders = {
        "linear": {"decoder.name": "linear"},
        "masks": {
            "decoder.name": "mask2former",
            "decoder.num_queries": 5,
            "decoder.num_blocks": 1,
            "decoder.embed_dim": 16,
            "decoder.num_heads": 2,
        },
    }
    changes = {
        "keys": {"tuning.method": "frozen", "training.validate_every": 0.5},
        "axes": {"decoder": decoders, "training.learning_rate": [1e-3, 1e-2]},
        "targets": {"dusk": {"scenes": {"domains": ["dusk"]}}},
    }
    alone = write_study(tmp_path, "alone", **changes, budget={"features_gib": 0})
    shared = write_study(tmp_path, "shared", **changes)
    for study, name in ((alone, "alone"), (shared, "shared")):
        benchmark(study, "--out", tmp_path / name)
        assert not (tmp_path / name / "features").exists()
    assert results(tmp_path / "shared") == results(tmp_path / "alone")
    for file in (tmp_path / "alone").glob("trials/*/checkpoints/last/model.safetensors"):
        ours, theirs = (
            read_tensors(tmp_path / name / file.relative_to(tmp_path / "alone"))
            for name in ("shared", "alone")
        )
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    table = rows(tmp_path / "shared")
    # 12 micro-batches and three validations of three images: the first of each shape is computed to compare
    read = [int(row["features/read"]) for row in table]
    assert read[0] > 0, "its own second validation"
    assert min(read[1:]) > read[0] + 8
    assert all(row["features/ended"] == "" for row in table)
    for row in table:
        saved = float(row["features/saved_seconds"])
        assert float(row["cost/seconds_alone"]) == pytest.approx(float(row["cost/seconds"]) + saved, abs=1e-5)
    assert "features/read" not in rows(tmp_path / "alone")[0]
