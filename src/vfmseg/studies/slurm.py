"""Trials that are not done in, a script for Slurm out: arrays of one task a trial, preparations first."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import Trial

_FOLDER = "slurm"
_MOST_TASKS = 1000
"""Tasks of one array: Slurm's own limit, MaxArraySize, is 1001 unless a site says otherwise."""
_SECONDS_TO_SAVE = 120


def slurm_script(
    study: Study, todo: Sequence[Trial], results: Path, program: Sequence[str], words: Sequence[str]
) -> str:
    """Return a bash script that submits the trials; their ids are listed in files in the folder of results.

    Args:
        study: for its name.
        todo: trials and preparations to run.
        results: folder of results, which all nodes see.
        program: words that start ``vfmseg benchmark STUDY`` from anywhere.
        words: recipe keys that were laid over the study.

    Raises:
        ResourceError: the lists cannot be written.
    """
    first = [trial.id for trial in todo if trial.prepares is not None]
    rest = [trial.id for trial in todo if trial.prepares is None]
    folder = (results / _FOLDER).resolve()
    lines = [
        "#!/bin/bash",
        f"# {study.name}: {len(rest)} trials and {len(first)} preparations that are not done.",
        "# Submit them with `bash FILE`; what stands behind it goes to sbatch, such as",
        "#   bash FILE --partition=NAME --gres=gpu:1 --cpus-per-task=8 --time=12:00:00",
        "# A trial that meets its time limit saves and ends. Make and submit the script again for what is left then.",
        "set -euo pipefail",
        f"mkdir -p {shlex.quote(str(folder / 'logs'))}",
    ]
    lines += _arrays(f"{study.name}-prepare", first, folder, program, words, "prepared", [])
    # afterany, not afterok: a preparation that fails is the end of its own trials only, which say so.
    after = ['--dependency="afterany$prepared"'] if first else []
    lines += _arrays(study.name, rest, folder, program, words, "submitted", after)
    return "\n".join(lines)


def _arrays(
    name: str,
    ids: Sequence[str],
    folder: Path,
    program: Sequence[str],
    words: Sequence[str],
    jobs: str,
    options: Sequence[str],
) -> list[str]:
    """Return the lines that submit these trials; the variable ``jobs`` then holds ``:JOB`` for every array."""
    lines = [f"{jobs}="] if ids else []
    for start in range(0, len(ids), _MOST_TASKS):
        part = ids[start : start + _MOST_TASKS]
        listed = _list(part, folder)
        common = [
            "--parsable",
            f"--job-name={shlex.quote(name)}",
            # paths of the command line and of recipes may be relative
            f"--chdir={shlex.quote(str(Path.cwd()))}",
            f"--array=1-{len(part)}",
            f"--signal=B:TERM@{_SECONDS_TO_SAVE}",
            f"--output={shlex.quote(str(folder / 'logs' / '%A_%a.txt'))}",
        ]
        lines += [
            f"job=$(sbatch {' '.join([*common, *options])} \"$@\" <<'TASK'",
            "#!/bin/bash",
            f'id=$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {shlex.quote(str(listed))})',
            # exec: Slurm's signal then reaches the trial and not the shell
            " ".join(["exec", shlex.join(program), "--out", shlex.quote(str(folder.parent)), '--trial "$id"'])
            + (f" {shlex.join(words)}" if words else ""),
            "TASK",
            ")",
            f'{jobs}+=":${{job%%;*}}"; echo "{len(part)} tasks: job ${{job%%;*}}"',
        ]
    return lines


def _list(ids: Sequence[str], folder: Path) -> Path:
    """Write a list of ids, under a name of its own: an array that waits still finds the one it was submitted with."""
    from vfmseg.models.writing import writing
    from vfmseg.runs.folder import write_text

    text = "".join(f"{one}\n" for one in ids)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path
