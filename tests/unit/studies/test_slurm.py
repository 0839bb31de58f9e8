"""The script for Slurm, run with an sbatch that is played; and one trial by its id."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.studies.folder import trial_folder
from vfmseg.studies.study_file import read_study
from vfmseg.studies.trials import plan

SBATCH = """\
#!/bin/bash
cat > "$PLAYED/task"
printf '%s\\n' "$@" >> "$PLAYED/options"
tasks=$(printf '%s\\n' "$@" | sed -n 's/--array=1-//p')
for task in $(seq "$tasks"); do SLURM_ARRAY_TASK_ID=$task bash "$PLAYED/task" >> "$PLAYED/commands"; done
echo "$((100 + $(grep -c -- --array "$PLAYED/options")));cluster"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(tiny_recipe()))
    tree = {
        "base": str(tmp_path / "base.yaml"),
        "prepare": {"first": {"keys": {"training.steps": 3}}},
        "axes": {"start": {"random": {}, "first": {"encoder.weights": "prepared:first"}}, "seed": [0, 1]},
    }
    file = tmp_path / "it's tiny.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return file


def played(script: str, folder: Path) -> tuple[list[str], list[str], str]:
    """Return sbatch's options, the commands of its tasks, and what the script says."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "sbatch").write_text(SBATCH)
    (folder / "bin" / "sbatch").chmod(0o755)
    environment = {**os.environ, "PLAYED": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    words = ["bash", "-c", script, "script", "--gres=gpu:1"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return (
        (folder / "options").read_text().splitlines(),
        (folder / "commands").read_text().splitlines(),
        done.stdout,
    )


def test_script__submits_preparations_first_and_then_one_task_a_trial(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/echo")
    out = tmp_path / "out"
    assert (
        main(["benchmark", str(study), "--out", str(out), "--slurm", "--training.learning_rate", "0.01"]) == 0
    )
    options, commands, said = played(capsys.readouterr().out, tmp_path / "played")
    assert said == "1 tasks: job 101\n4 tasks: job 102\n"
    assert [one for one in options if one.startswith(("--array", "--dep"))] == [
        "--array=1-1",
        "--array=1-4",
        "--dependency=afterany:101",
    ]
    assert options.count("--gres=gpu:1") == 2
    assert options.count(f"--chdir={Path.cwd()}") == 2  # where relative paths were meant
    trials = plan(read_study(study))
    assert len(commands) == 5
    for command in commands:
        assert command.startswith(f"-m vfmseg benchmark {study} --out {out} --trial ")
        assert command.endswith(" --training.learning_rate 0.01")
    ids = [command.split("--trial ")[1].split()[0] for command in commands]
    assert len(set(ids)) == 5
    assert not set(ids) & {trial.id for trial in trials}  # the rate makes other recipes


def test_script__leaves_out_what_is_done_and_splits_what_is_long(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/echo")
    monkeypatch.setattr("vfmseg.studies.slurm._MOST_TASKS", 2)
    out = tmp_path / "out"
    first, *rest = [trial.id for trial in plan(read_study(study))]
    words = ["benchmark", str(study), "--out", str(out), "--slurm"]
    assert main(words) == 0
    capsys.readouterr()
    for trial in (first, rest[0]):
        trial_folder(out, trial).mkdir(parents=True)
        (trial_folder(out, trial) / "result.json").write_text("{}")
    assert main(words) == 0
    options, commands, _ = played(capsys.readouterr().out, tmp_path / "played")
    assert [one for one in options if one.startswith(("--array", "--dep"))] == ["--array=1-2", "--array=1-1"]
    assert [command.split("--trial ")[1] for command in commands] == rest[1:]
    for trial in rest[1:]:
        trial_folder(out, trial).mkdir()
        (trial_folder(out, trial) / "failure.json").write_text("{}")
    assert main(words) == 2
    assert "Nothing of it's tiny is left to run" in (said := capsys.readouterr().err)
    assert "3 failed; --retry" in said


def test_script__leaves_out_what_starts_from_a_failed_preparation(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["benchmark", str(study), "--out", str(out), "--slurm"]
    assert main(words) == 0
    first = trial_folder(out, plan(read_study(study))[0].id)
    first.mkdir(parents=True)
    (first / "failure.json").write_text("{}")
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr()
    assert "2 trials start from a preparation that failed and are left: --retry" in said.err
    assert "# it's tiny: 2 trials and 0 preparations" in said.out
    assert main([*words, "--retry"]) == 0
    assert "# it's tiny: 4 trials and 1 preparations" in capsys.readouterr().out


def test_trial__that_is_not_there_or_whose_preparation_is_not_done(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = plan(read_study(study))
    words = ["benchmark", str(study), "--out", str(tmp_path / "out"), "--trial"]
    assert main([*words, "nothing"]) == 2
    assert "has no trial 'nothing'" in capsys.readouterr().err
    assert main([*words, trials[-1].id]) == 2
    assert f"starts from the preparation {trials[0].id}, which is not done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "2", "--ray"], "--jobs and --ray exclude each other"),
        (["--slurm", "--trial", "x"], "--slurm and --trial exclude each other"),
        (["--cpus_per_trial", "2"], "it needs --ray"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--ray", "nowhere"], "--ray nowhere is no address"),
        (["--ray", "auto", "--gpus_per_trial", "1.5"], "--gpus_per_trial is 1.5"),
    ],
)
def test_places__that_contradict_each_other(
    words: list[str], message: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", str(study), "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "trials").exists()
