"""What ``vfmseg benchmark --dry-run`` prints: every trial with what it would take, or why it is left out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfmseg.studies.estimate import Estimate
    from vfmseg.studies.study_file import Study
    from vfmseg.studies.trials import Trial


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that go with ``--dry-run``."""
    parser.add_argument(
        "--dry-run", action="store_true", help="list the trials and about what they would take; run nothing"
    )
    parser.add_argument(
        "--tflops",
        type=float,
        metavar="N",
        help="with --dry-run: 10^12 operations a second of the device (default: from finished trials, or measured here)",
    )
    parser.add_argument(
        "--price_per_hour", type=float, metavar="X", help="with --dry-run: what an hour of the device costs"
    )
    parser.add_argument("--json", action="store_true", help="with --dry-run: print one JSON array")


def check(options: argparse.Namespace) -> None:
    """Refuse options that have no meaning.

    Raises:
        RecipeError: a rate or price that is none, or an option of --dry-run without it.
    """
    from vfmseg.errors import RecipeError

    for name in ("tflops", "price_per_hour"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise RecipeError(f"--{name} is {value:g}; it must be above 0, and finite.")
    given = [name for name in ("tflops", "price_per_hour", "json") if getattr(options, name)]
    if given and not options.dry_run:
        raise RecipeError(
            f"--{given[0]} says how --dry-run counts or prints; add --dry-run, or leave it out."
        )


def listing(study: Study, trials: Sequence[Trial], options: argparse.Namespace, folder: Path) -> str:
    """Return the trials as a table, or as JSON."""
    from vfmseg.studies.estimate import estimate

    results = folder if folder.is_dir() else None
    found = estimate(study, trials, results, tflops=options.tflops)
    if options.json:
        return json.dumps([_row(trial, found, options.price_per_hour) for trial in trials], indent=2)
    return _table(study, trials, found, options)


def _row(trial: Trial, found: Mapping[str, Estimate], price: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"id": trial.id, "prepares": trial.prepares, "levels": dict(trial.levels)}
    if trial.recipe is None:
        return row | {"left_out": trial.skipped}
    one = found[trial.id]
    row |= {"hours": round(one.hours, 4), "memory_gib": round(one.memory_gib, 2)}
    row["from"] = one.source
    return row if price is None else row | {"price": round(one.hours * price, 2)}


def _table(
    study: Study, trials: Sequence[Trial], found: Mapping[str, Estimate], options: argparse.Namespace
) -> str:
    from vfmseg.studies.clock import duration

    price = options.price_per_hour
    width = max((len(trial.label) for trial in trials), default=0)
    lines, hours = [], {}
    for trial in trials:
        if trial.recipe is None:
            lines.append(f"{'-':12}  {trial.label:{width}}  left out: {trial.skipped}")
            continue
        one = found[trial.id]
        hours[trial.id] = one.hours
        line = (
            f"{trial.id}  {trial.label:{width}}  {duration(3600 * one.hours):>11}  {one.memory_gib:6.1f} GiB"
        )
        lines.append(line if price is None else f"{line}  {one.hours * price:8.2f}")
    left_out = sum(trial.recipe is None for trial in trials)
    total = f"{study.name}: {len(hours)} trials"
    total += f", {left_out} left out" if left_out else ""
    total += f", about {duration(3600 * sum(hours.values()))}"
    if price is not None:
        total += f", {sum(hours.values()) * price:.2f} at {price:g} an hour"
    return "\n".join([*lines, total, _how(found.values(), options.tflops)])


def _how(found: Collection[Estimate], tflops: float | None) -> str:
    """Return where the figures come from, in a sentence or two."""
    like, others = (
        sum(one.source == source for one in found) for source in ("trials like it", "finished trials")
    )
    said = []
    if like:
        said.append(
            f"{like} of {len(found)} are estimates from finished trials of equal model, batch and data in this folder."
        )
    if like < len(found):
        how = (
            "and the rate of the finished trials"
            if others
            else f"and --tflops {tflops:g}"
            if tflops
            else "and a product measured on this device"
        )
        said.append(
            f"Time is an estimate from the arithmetic of the training steps {how}, right within a factor of two or so; "
            "memory is the device's, about."
        )
    return " ".join(said)
