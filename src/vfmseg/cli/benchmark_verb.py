"""``vfmseg benchmark``: a study file in, a folder of trials and a ranking out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vfmseg.cli import benchmark_dry_run, benchmark_where

if TYPE_CHECKING:
    from vfmseg.studies.runner import Tally
    from vfmseg.studies.store import Row
    from vfmseg.studies.study_file import Study

TAKES_RECIPE_KEYS = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "study", help="a study file, or the name of one that comes with vfmseg (`vfmseg list studies`)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of results (default: studies/NAME)")
    benchmark_dry_run.add_options(parser)
    benchmark_where.add_options(parser)
    parser.add_argument(
        "--race",
        action="store_true",
        help="stop models early that are surely not among the best half, at 1/8, 1/4 and 1/2 of the steps",
    )
    parser.add_argument("--retry", action="store_true", help="run trials again that failed before")
    parser.usage = f"{parser.prog} STUDY [options] [--recipe.key value ...]"
    parser.epilog = (
        "Recipe keys are laid over those of every trial, such as --data.path DIR; "
        "`vfmseg fit --help` lists them."
    )


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Plan, run what is missing, and say how it went."""
    from vfmseg.cli.recipe_options import parse
    from vfmseg.studies.study_file import read_study, with_overrides
    from vfmseg.studies.trials import plan

    benchmark_where.check(options)
    benchmark_dry_run.check(options)
    _refuse_race_apart(options)
    found, notes, _ = parse(words)
    study = with_overrides(read_study(options.study), found)
    for note in notes:
        _say(note)
    if options.dry_run:
        trials = plan(study, needs_data=False)
        print(benchmark_dry_run.listing(study, trials, options, _folder(study, options)))
        return 0
    return _run(study, options, words)


def _folder(study: Study, options: argparse.Namespace) -> Path:
    return Path(options.out) if options.out else Path("studies") / study.name


def _run(study: Study, options: argparse.Namespace, words: list[str]) -> int:
    from vfmseg.studies.clock import duration
    from vfmseg.studies.known_plan import planned
    from vfmseg.studies.plan_file import write_plan
    from vfmseg.studies.runner import open_results, run_trials
    from vfmseg.studies.store import table, write_rows

    folder = _folder(study, options)
    trials, made_from = planned(study, folder)
    open_results(study, folder)
    if options.trial is None and made_from is not None:
        write_plan(study, trials, folder, fingerprint=made_from)
    if options.slurm:
        print(benchmark_where.script(study, trials, folder, words, retry=options.retry, say=_say))
        return 0
    wanted = benchmark_where.chosen(study, trials, folder, options.trial)
    retry = options.retry or options.trial is not None
    with benchmark_where.lanes(options, folder, _say) as lanes:
        if options.race:
            from vfmseg.studies.racing import race_trials

            tally, _ = race_trials(study, wanted, folder, lanes, retry=retry, say=_say)
        else:
            tally = run_trials(study, wanted, folder, lanes, retry=retry, say=_say)
    if options.trial is not None:  # many of them at once, as tasks of Slurm: the table is the next run's
        print(_summary(tally, duration(tally.seconds)))
        return _code(tally)
    rows = table(study, trials, folder)
    _note_damaged(tally, rows)
    written = write_rows(rows, folder)
    print(_summary(tally, duration(tally.seconds)))
    if abs(tally.saved_seconds) >= 1:
        did = "saved" if tally.saved_seconds > 0 else "cost"
        print(f"features of frozen encoders, shared by trials, {did} {duration(abs(tally.saved_seconds))}")
    print(f"table: {written}")
    from vfmseg.report.study import write_study_report  # statistics take a second to load

    print(f"report: {write_study_report(folder)}")
    return _code(tally)


def _refuse_race_apart(options: argparse.Namespace) -> None:
    """Refuse a race whose trials would not run side by side."""
    from vfmseg.errors import RecipeError

    for name, is_chosen in (("--slurm", options.slurm), ("--trial", options.trial is not None)):
        if options.race and is_chosen:
            raise RecipeError(
                f"--race decides while trials run, which {name} leaves to others. Leave one of them out; --jobs and "
                "--ray go with --race."
            )


def _code(tally: Tally) -> int:
    return 1 if tally.failed or tally.damaged or tally.waiting or tally.elsewhere else 0


def _note_damaged(tally: Tally, rows: Sequence[Row]) -> None:
    """Say, and count, what only the table has found to be damaged, as it reads all files of a trial."""
    from vfmseg.studies.runner import say_damaged

    found = {row["id"]: row["reason"] for row in rows if row["status"] == "damaged"}
    say_damaged({one: reason for one, reason in found.items() if one not in tally.damaged}, _say)
    tally.damaged |= found
    tally.done = [one for one in tally.done if one not in found]
    tally.before = [one for one in tally.before if one not in found]


def _summary(tally: Tally, spent: str) -> str:
    parts = [f"{len(tally.done)} trials done in {spent}"]
    for count, word in (
        (len(tally.before), "done before"),
        (len(tally.stopped), "stopped by the race"),
        (len(tally.failed), "failed"),
        (len(tally.damaged), "damaged"),
        (len(tally.elsewhere), "run by another process"),
        (len(tally.waiting), "left for later"),
    ):
        if count:
            parts.append(f"{count} {word}")
    return ", ".join(parts)


def _say(message: str) -> None:
    import sys

    print(message, file=sys.stderr, flush=True)
