"""What ``vfmseg benchmark`` says, and ends with, where nothing is to be trained."""

import json
import os
from pathlib import Path

import pytest
import yaml

from support.tiny import tiny_recipe
from vfmseg.cli import benchmark_where
from vfmseg.cli.program import main
from vfmseg.studies.study_file import read_study
from vfmseg.studies.trials import plan


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, Path, list[Path]]:
    """Return a study, its results as if all were done, and the folders of its three trials."""
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(tiny_recipe()))
    study = tmp_path / "tiny.yaml"
    axes = {"tuning.method": ["full", "frozen", "lora"]}
    study.write_text(yaml.safe_dump({"base": str(tmp_path / "base.yaml"), "axes": axes}))
    out = tmp_path / "out"
    folders = [out / "trials" / trial.id for trial in plan(read_study(study))]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"best/miou": 0.5, "val/miou": 0.5}))
    (out / "study.json").write_text(json.dumps({"name": "tiny"}))
    return study, out, folders


def test_finished__is_said_and_ends_well(
    finished: tuple[Path, Path, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    study, out, _ = finished
    assert main(["benchmark", str(study), "--out", str(out)]) == 0
    assert "0 trials done in 0 s, 3 done before\n" in capsys.readouterr().out


def test_damaged__is_said_counted_and_ends_with_1(
    finished: tuple[Path, Path, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    study, out, folders = finished
    (folders[0] / "result.json").write_text('{"best/miou": 0.')
    (folders[1] / "speed.json").write_text("")  # which only the table reads
    assert main(["benchmark", str(study), "--out", str(out)]) == 1
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines[0].startswith(f"{folders[0] / 'result.json'} is damaged (")
    assert lines[0].endswith(f"Delete the trial's folder {folders[0]} to have it run again.")
    assert [line for line in lines if str(folders[1] / "speed.json") in line]
    assert len([line for line in lines if "is damaged" in line]) == 2
    assert "0 trials done in 0 s, 1 done before, 2 damaged\n" in said.out


def test_damaged__is_said_with_the_script_for_slurm_and_alone(
    finished: tuple[Path, Path, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    study, out, folders = finished
    (folders[0] / "result.json").write_text("")
    assert main(["benchmark", str(study), "--out", str(out), "--slurm"]) != 0  # nothing is left for a script
    assert f"{folders[0] / 'result.json'} is damaged" in capsys.readouterr().err
    assert main(["benchmark", str(study), "--out", str(out), "--trial", folders[0].name]) == 1
    said = capsys.readouterr()
    assert f"{folders[0] / 'result.json'} is damaged" in said.err
    assert "0 trials done in 0 s, 1 damaged\n" in said.out


@pytest.mark.parametrize(("given", "threads"), [(None, "2"), ("3", "3")])
def test_jobs__share_cores_unless_the_user_has_said_how_many_threads(
    given: str | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(4))
    environments = [vars(lane)["_environment"] for lane in benchmark_where._process_lanes(2)]
    assert [environment["OMP_NUM_THREADS"] for environment in environments] == [threads, threads]
