"""A study and its folder of results in, its trials out: from ``plan.json`` where that still holds, else planned anew.

To resolve and check a recipe takes about a millisecond, so ten thousand finished trials would be ten seconds of waiting
before anything is decided. A plan that the same version made from the same study and recipe files has the same trials;
their recipes are resolved when they are asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

import msgspec

from vfmseg.errors import RecipeError, StudyError
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import recipe_file_tree, recipe_tree
from vfmseg.runs.version import vfmseg_version
from vfmseg.studies.levels import BASE
from vfmseg.studies.plan_file import PLAN, Plan, Planned
from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import Planner, Trial, plan


def planned(study: Study, results: Path) -> tuple[tuple[Trial, ...], str | None]:
    """Return the trials of a study, and the fingerprint to write with them; None where the written plan holds.

    Args:
        study: as read.
        results: folder of results; it may not be there yet.

    Raises:
        StudyError: see :func:`vfmseg.studies.trials.plan`.
    """
    made_from = fingerprint(study)
    known = _read(results / PLAN)
    if known is None or not made_from or known.fingerprint != made_from:
        return plan(study), made_from
    prepared = {one.prepares: one.id for one in known.trials if one.prepares is not None}
    planner = Planner(study, prepared=prepared)
    return tuple(_trial(one, planner) for one in known.trials), None


def fingerprint(study: Study) -> str:
    """Return a hash of all that decides the trials of a study; empty where a recipe file cannot be read."""
    try:
        files = {base: recipe_file_tree(base) for base in sorted(_bases(study))}
    except RecipeError:  # which the planner puts into words
        return ""
    said = dataclasses.asdict(dataclasses.replace(study, source=""))
    made_from = [vfmseg_version(), recipe_tree(Recipe()), said, files]
    return hashlib.sha256(json.dumps(made_from, default=str).encode()).hexdigest()


def _bases(study: Study) -> set[str]:
    levels = (keys for of_axis in study.axes.values() for keys in of_axis.values())
    return {
        study.base,
        *(one.base for one in study.prepare.values() if one.base),
        *(str(keys[BASE]) for keys in levels if BASE in keys),
    }


def _read(path: Path) -> Plan | None:
    """Return the plan; None where there is none, or it is damaged, as it is then written anew."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError):
        return None


def _trial(one: Planned, planner: Planner) -> Trial:
    resolve = None if one.skipped is not None else functools.partial(_resolve, one, planner)
    return Trial(one.id, one.levels, resolve, one.skipped, one.prepares, one.needs)


def _resolve(one: Planned, planner: Planner) -> Recipe:
    """Return the recipe of a trial that is known by its id only."""
    made = planner.trial(one.levels) if one.prepares is None else planner.preparation(one.prepares)
    if made.id != one.id or made.recipe is None:
        raise StudyError(
            f"Trial {one.id} of plan.json is {made.id} now: vfmseg or a recipe file has changed. Delete plan.json in the "
            "folder of results, and type the command again."
        )
    return made.recipe
