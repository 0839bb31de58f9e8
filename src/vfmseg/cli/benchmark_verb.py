"""``vfmseg benchmark``: a study file in, a folder of trials and a ranking out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfmseg.studies.lanes import Lane
    from vfmseg.studies.runner import Tally
    from vfmseg.studies.study_file import Study
    from vfmseg.studies.trials import Trial

TAKES_RECIPE_KEYS = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "study", help="a study file, or the name of one that comes with vfmseg (`vfmseg list studies`)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of results (default: studies/NAME)")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the trials and what they would take; run nothing"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="trials at once on this machine (default: 1)"
    )
    parser.add_argument("--retry", action="store_true", help="run trials again that failed before")
    parser.add_argument("--json", action="store_true", help="with --dry-run: print one JSON array")
    parser.usage = f"{parser.prog} STUDY [options] [--recipe.key value ...]"
    parser.epilog = (
        "Recipe keys are laid over those of every trial, such as --data.path DIR; "
        "`vfmseg fit --help` lists them."
    )


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Plan, run what is missing, and say how it went."""
    from vfmseg.cli.recipe_options import parse
    from vfmseg.errors import RecipeError
    from vfmseg.studies.study_file import read_study, with_overrides
    from vfmseg.studies.trials import plan

    if options.jobs < 1:
        raise RecipeError(f"--jobs is {options.jobs}; at least one trial must run at a time.")
    found, notes, _ = parse(words)
    study = with_overrides(read_study(options.study), found)
    for note in notes:
        _say(note)
    trials = plan(study, needs_data=not options.dry_run)
    if options.dry_run:
        print(_listing(study, trials))
        return 0
    return _run(study, trials, options)


def _run(study: Study, trials: tuple[Trial, ...], options: argparse.Namespace) -> int:
    from vfmseg.studies.clock import duration
    from vfmseg.studies.runner import open_results, run_trials
    from vfmseg.studies.store import write_table

    folder = Path(options.out) if options.out else Path("studies") / study.name
    open_results(study, folder)
    tally = run_trials(study, trials, folder, _lanes(options.jobs), retry=options.retry, say=_say)
    table = write_table(study, trials, folder)
    print(_summary(tally, duration(tally.seconds)))
    print(f"table: {table}")
    return 1 if tally.failed or tally.waiting or tally.elsewhere else 0


def _lanes(jobs: int) -> list[Lane]:
    """Return as many lanes as trials run at once, which share cores and GPUs."""
    from vfmseg.studies.lanes import ProcessLane

    if jobs == 1:
        return [ProcessLane({})]
    import torch

    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    environments = [
        {"OMP_NUM_THREADS": threads, **({"CUDA_VISIBLE_DEVICES": visible[i % count]} if count else {})}
        for i in range(jobs)
    ]
    return [ProcessLane(environment) for environment in environments]


def _listing(study: Study, trials: tuple[Trial, ...]) -> str:
    runs = [trial for trial in trials if trial.recipe is not None]
    left_out = [trial for trial in trials if trial.recipe is None]
    width = max((len(trial.label) for trial in trials), default=0)
    lines = [f"{trial.id}  {trial.label:{width}}" for trial in runs]
    lines += [f"{'-':12}  {trial.label:{width}}  left out: {trial.skipped}" for trial in left_out]
    lines.append(f"{study.name}: {len(runs)} trials" + (f", {len(left_out)} left out" if left_out else ""))
    return "\n".join(lines)


def _summary(tally: Tally, spent: str) -> str:
    parts = [f"{len(tally.done)} trials done in {spent}"]
    for count, word in (
        (len(tally.before), "done before"),
        (len(tally.failed), "failed"),
        (len(tally.elsewhere), "run by another process"),
        (len(tally.waiting), "left for later"),
    ):
        if count:
            parts.append(f"{count} {word}")
    return ", ".join(parts)


def _say(message: str) -> None:
    import sys

    print(message, file=sys.stderr, flush=True)
