"""The table of a study: what is in a row, and what becomes of rows whose files are damaged."""

import csv
import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from support.tiny import tiny_recipe
from vfmseg.errors import ResourceError
from vfmseg.studies.plan_file import plan_of, read_plan, write_plan
from vfmseg.studies.store import refresh_table, rows_of, table, write_rows
from vfmseg.studies.study_file import Study, study_of
from vfmseg.studies.trials import Trial, plan


@pytest.fixture
def study(tmp_path: Path) -> tuple[Study, tuple[Trial, ...]]:
    (tmp_path / "base.yaml").write_text(json.dumps(tiny_recipe()))
    tree = {
        "base": str(tmp_path / "base.yaml"),
        "axes": {
            "model": {
                "small": {},
                "wide": {"encoder.overrides": {"embed_dim": 48}, "encoder.image_size": [64, 96]},
            },
            "tuning.method": ["full", "lora"],
        },
        "skip": [{"when": {"model": "wide", "tuning.method": "lora"}, "reason": "dear"}],
    }
    made = study_of(tree, name="tiny")
    return made, plan(made)


def finish(results: Path, trial: Trial, **more: Any) -> Path:
    folder = results / "trials" / trial.id
    folder.mkdir(parents=True)
    files = {
        "result.json": {"encoder": "vit", "best/miou": 0.5, "val/miou": 0.5, "val/iou/road": 0.25, "seed": 0},
        "speed.json": {"gflops": 1.5, "latency_ms": 7.0, "latency_device": "box"},
        "cost.json": {
            "seconds": 60.0,
            "cpu_hours": 0.02,
            "gpu_hours": 0.0,
            "energy_kwh": None,
            "attempts": 1,
        },
        "environment.json": {"host": "box", "torch": "2", "commit": None, "command": "vfmseg"},
    }
    for name, content in {**files, **more}.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_row__has_what_a_trial_was_and_cost(study: tuple[Study, tuple[Trial, ...]], tmp_path: Path) -> None:
    made, trials = study
    out = tmp_path / "out"
    finish(out, trials[0])
    full, lora, wide, left_out = table(made, trials, out)
    assert full["status"] == "done"
    assert [row["status"] for row in (lora, wide, left_out)] == ["waiting", "waiting", "left out"]
    # recipe keys in which trials differ, and no others; those of one tuning only do not differ
    assert {key for key in full if key.startswith("recipe.")} == {
        "recipe.encoder.image_size",
        "recipe.encoder.overrides.embed_dim",
        "recipe.tuning.method",
    }
    assert wide["recipe.encoder.overrides.embed_dim"] == 48
    assert wide["recipe.encoder.image_size"] == "[64,96]"
    assert full["recipe.encoder.image_size"] == 64
    assert (full["gflops"], full["latency_ms"]) == (1.5, 7.0)
    assert (full["cost/seconds"], full["val/iou/road"], full["host"]) == (60.0, 0.25, "box")
    # the folder alone gives the same
    write_plan(made, trials, out)
    (out / "study.json").write_text('{"name": "tiny", "axes": ["model", "tuning.method"], "ranked": "model"}')
    assert rows_of(read_plan(out), out) == rows_of(plan_of(made, trials), out)


def test_table__as_csv_and_parquet(study: tuple[Study, tuple[Trial, ...]], tmp_path: Path) -> None:
    made, trials = study
    finish(tmp_path, trials[0])
    path = write_rows(table(made, trials, tmp_path), tmp_path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["recipe.encoder.image_size"] for row in rows] == ["64", "64", "[64,96]", ""]
    columns = pyarrow.parquet.read_table(tmp_path / "trials.parquet").to_pydict()
    assert columns["recipe.encoder.image_size"] == ["64", "64", "[64,96]", None]  # words, as one is a word
    assert columns["val/miou"] == [0.5, None, None, None]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["result.json", "cost.json", "speed.json", "environment.json"])
def test_damaged__is_a_row_that_names_the_file(
    name: str, study: tuple[Study, tuple[Trial, ...]], tmp_path: Path
) -> None:
    made, trials = study
    folder = finish(tmp_path, trials[0])
    finish(tmp_path, trials[1])
    (folder / name).write_text('{"val/miou": 0.')
    first, second, *_ = table(made, trials, tmp_path)
    assert first["status"] == "damaged"
    assert f"{folder / name} is damaged" in first["reason"]
    assert f"Delete the trial's folder {folder} to have it run again" in first["reason"]
    assert second["status"] == "done"


def test_disk_full__leaves_the_table_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows([{"id": "a"}], tmp_path)

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(csv.DictWriter, "writerows", full)
    with pytest.raises(ResourceError, match="The disk is full"):
        write_rows([{"id": "b"}], tmp_path)
    assert path.read_text().split() == ["id", "a"]


def test_table__whose_parquet_was_not_written_is_written_anew(
    study: tuple[Study, tuple[Trial, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "out"
    results.mkdir()
    write_plan(*study, results)
    (results / "study.json").write_text('{"name": "mine"}')

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pyarrow.parquet, "write_table", stop)
        with pytest.raises(KeyboardInterrupt):
            refresh_table(results)
    refresh_table(results)
    assert pyarrow.parquet.read_table(results / "trials.parquet").num_rows == len(study[1])
