"""Where the trials of ``vfmseg benchmark`` run: on this machine, on Ray, as tasks of Slurm; or just one of them."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfmseg.studies.lanes import Lane
    from vfmseg.studies.study_file import Study
    from vfmseg.studies.trials import Trial


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where trials run."""
    parser.add_argument("--jobs", type=int, metavar="N", help="trials at once on this machine (default: 1)")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="run on Ray, as many trials at once as its nodes hold: a cluster's address (auto, HOST:PORT), or a Ray "
        "started here for the study",
    )
    parser.add_argument(
        "--cpus_per_trial", type=float, metavar="N", help="with --ray: cores of a trial (default: 1)"
    )
    parser.add_argument(
        "--gpus_per_trial",
        type=float,
        metavar="N",
        help="with --ray: GPUs of a trial; 0.5 puts two on one (default: 1 where there are GPUs)",
    )
    parser.add_argument(
        "--slurm",
        action="store_true",
        help="run nothing; print a script that submits what is not done to Slurm, one task a trial",
    )
    parser.add_argument("--trial", metavar="ID", help="run just this trial, as --dry-run calls it")


def check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        RecipeError: two places, or a share of none.
    """
    from vfmseg.errors import RecipeError

    if options.jobs is not None and options.jobs < 1:
        raise RecipeError(f"--jobs is {options.jobs}; at least one trial must run at a time.")
    places = {
        "--jobs": options.jobs is not None,
        "--ray": options.ray is not None,
        "--slurm": options.slurm,
        "--trial": options.trial is not None,
    }
    chosen = [name for name, is_chosen in places.items() if is_chosen]
    if len(chosen) > 1:
        raise RecipeError(
            f"{' and '.join(chosen)} exclude each other: each says where trials run. Choose one."
        )
    for name in ("cpus_per_trial", "gpus_per_trial"):
        if getattr(options, name) is not None and options.ray is None:
            raise RecipeError(f"--{name} says what a trial takes of a Ray cluster; it needs --ray.")


def chosen(study: Study, trials: tuple[Trial, ...], results: Path, name: str | None) -> tuple[Trial, ...]:
    """Return the trial of this id alone, or all where there is none.

    Raises:
        StudyError: there is no such trial, or it starts from a preparation that is not done.
    """
    from vfmseg.errors import StudyError, nearest
    from vfmseg.studies.folder import is_done, trial_folder

    if name is None:
        return trials
    known = {trial.id: trial for trial in trials if not trial.is_left_out}
    if name not in known:
        raise StudyError(
            f"The study {study.name} has no trial {name!r}.{nearest(name, known)} `--dry-run` lists them; recipe keys of "
            "the command line are part of what an id stands for."
        )
    needs = known[name].needs
    if needs is not None and not is_done(trial_folder(results, needs), {}):
        raise StudyError(
            f"Trial {name} starts from the preparation {needs}, which is not done: run --trial {needs} first."
        )
    return (known[name],)


def script(
    study: Study,
    trials: Sequence[Trial],
    results: Path,
    words: Sequence[str],
    *,
    retry: bool,
    say: Callable[[str], None],
) -> str:
    """Return the script for Slurm of what is not done; see :func:`vfmseg.studies.slurm.slurm_script`.

    Damaged trials, and those whose preparation failed, are said, and not in the script.

    Raises:
        StudyError: nothing is left to run.
    """
    from vfmseg.errors import StudyError
    from vfmseg.studies.runner import say_damaged, what_is_left
    from vfmseg.studies.slurm import slurm_script

    tally, todo = what_is_left(study, trials, results, retry=retry)
    say_damaged(tally.damaged, say)
    if blocked := [trial for trial in todo if trial.needs in tally.failed]:
        say(f"{len(blocked)} trials start from a preparation that failed and are left: --retry runs it again")
        todo = [trial for trial in todo if trial.needs not in tally.failed]
    if not todo:
        failed = f" ({len(tally.failed)} failed; --retry runs them again)" if tally.failed else ""
        raise StudyError(f"Nothing of {study.name} is left to run in {results}{failed}.")
    program = [sys.executable, "-m", "vfmseg", "benchmark", os.path.abspath(study.source)]
    return slurm_script(study, todo, results, program, words)


@contextlib.contextmanager
def lanes(options: argparse.Namespace, results: Path, say: Callable[[str], None]) -> Iterator[Sequence[Lane]]:
    """Give the lanes that trials run on; Ray, if it is asked for, is left at the end."""
    if options.ray is None:
        yield _process_lanes(options.jobs or 1)
        return
    from vfmseg.studies.ray_runner import ray_lanes
    from vfmseg.studies.shares import Share

    cpus = 1.0 if options.cpus_per_trial is None else options.cpus_per_trial
    with ray_lanes(options.ray, results, Share(cpus, options.gpus_per_trial), say=say) as found:
        yield found


def _process_lanes(jobs: int) -> list[Lane]:
    """Return as many lanes as trials run at once, which share cores and GPUs."""
    from vfmseg.studies.lanes import ProcessLane

    if jobs == 1:
        return [ProcessLane({})]
    import torch

    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // jobs)))
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    environments = [
        {"OMP_NUM_THREADS": threads, **({"CUDA_VISIBLE_DEVICES": visible[i % count]} if count else {})}
        for i in range(jobs)
    ]
    return [ProcessLane(environment) for environment in environments]
