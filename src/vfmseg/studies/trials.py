"""A study in, its trials out: one resolved recipe for every combination of levels, or the reason why there is none."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vfmseg.errors import RecipeError, StudyError
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree
from vfmseg.studies.levels import BASE, Keys, flat_keys, matches
from vfmseg.studies.study_file import Study

PREPARED = "prepared:"
"""How a path begins that means the checkpoint of a preparation: ``encoder.weights: prepared:long``."""
_WEIGHTS = ("encoder.weights", "init_from")
_WITHOUT_EFFECT = (
    ("data", "num_workers"),
    ("training", "loggers"),
    ("training", "overlays"),
    ("trainer", "progress"),
    ("trainer", "log_every_n_steps"),
)
"""Keys that change no number of a run, so they are not in a trial's id."""


@dataclass(frozen=True)
class Trial:
    """One run of a study, or a combination that is left out."""

    id: str
    """Hash of the resolved recipe; of the levels where there is none."""
    levels: Mapping[str, str]
    """Axis -> level; of a preparation, nothing."""
    recipe: Recipe | None
    """As resolved; weights from a preparation are ``prepared:ID``. None where it is left out."""
    skipped: str | None = None
    """Why it is left out."""
    prepares: str | None = None
    """Which preparation it is, or None."""
    needs: str | None = None
    """Id of the preparation it starts from."""

    @property
    def label(self) -> str:
        """Its levels in one word each."""
        if self.prepares is not None:
            return f"prepare {self.prepares}"
        return " ".join(self.levels.values())


def plan(study: Study, *, needs_data: bool = True) -> tuple[Trial, ...]:
    """Return the trials of a study, preparations first, then combinations in the order of its axes.

    A combination that makes no sense as a recipe is left out with the recipe reader's reason, if other combinations of
    each of its levels do make sense; two combinations that resolve to the same recipe are one trial's result twice.

    Args:
        study: as read.
        needs_data: False where data.path may be missing, as nothing is read from there.

    Raises:
        StudyError: a level of which no combination makes a recipe; a reference that is left out; two adjustments that say
            different things of one key.
    """
    prepared = {label: _preparation(study, label, needs_data=needs_data) for label in study.prepare}
    trials = [*prepared.values()]
    trials += [_trial(study, levels, prepared, needs_data) for levels in _combinations(study)]
    _refuse_dead_levels(study, trials)
    _refuse_missing_reference(study, trials)
    return tuple(trials)


def _combinations(study: Study) -> Iterator[dict[str, str]]:
    for chosen in itertools.product(*study.axes.values()):
        yield dict(zip(study.axes, chosen, strict=True))


def _preparation(study: Study, label: str, *, needs_data: bool) -> Trial:
    one = study.prepare[label]
    try:
        recipe = read_recipe(
            one.base or study.base,
            {**flat_keys(study.keys), **flat_keys(one.keys), **flat_keys(study.overrides)},
            needs_data=needs_data,
        ).recipe
    except RecipeError as error:
        raise StudyError(f"Study {study.source}: prepare.{label} makes no recipe.\n{error}") from None
    return Trial(_hash(recipe_tree(recipe)), {}, recipe, prepares=label)


def _trial(study: Study, levels: dict[str, str], prepared: Mapping[str, Trial], needs_data: bool) -> Trial:
    for exclusion in study.skip:
        if matches(exclusion.when, levels):
            return Trial(_hash(levels), levels, None, skipped=exclusion.reason)
    base, keys = _keys(study, levels)
    needs = None
    for key in _WEIGHTS:
        value = str(keys.get(key, ""))
        if value.startswith(PREPARED):
            label = value.removeprefix(PREPARED)
            if label not in prepared:
                known = ", ".join(prepared) or "none"
                raise StudyError(
                    f"Study {study.source}: {key} is {value}, but the study prepares no {label!r} (it prepares: {known})."
                )
            needs = prepared[label].id
            keys[key] = PREPARED + needs
    try:
        recipe = read_recipe(base, keys, needs_data=needs_data).recipe
    except RecipeError as error:
        return Trial(_hash(levels), levels, None, skipped=f"no recipe: {_reasons(error)}")
    return Trial(_hash(recipe_tree(recipe)), levels, recipe, needs=needs)


def _keys(study: Study, levels: Mapping[str, str]) -> tuple[str, Keys]:
    """Return the base recipe and the dotted keys of a combination: the study's, those of each axis, adjustments.

    Raises:
        StudyError: two levels name a base, or two adjustments say different things of one key.
    """
    base, based_on = study.base, ""
    keys = flat_keys(study.keys)
    for axis, level in levels.items():
        of_level = flat_keys(study.axes[axis][level])
        if BASE in of_level:
            if based_on:
                raise StudyError(
                    f"Study {study.source}: axes {based_on} and {axis} both name a `base` for "
                    f"{' '.join(levels.values())}."
                )
            base, based_on = str(of_level.pop(BASE)), axis
        keys |= of_level
    adjusted: dict[str, Any] = {}
    for adjustment in study.adjust:
        if not matches(adjustment.when, levels):
            continue
        own = flat_keys(adjustment.keys)
        for key, value in own.items():
            if key in adjusted and adjusted[key] != value:
                raise StudyError(
                    f"Study {study.source}: adjustments contradict each other for {' '.join(levels.values())}: {key} is "
                    f"{adjusted[key]!r} in one and {value!r} in another."
                )
        adjusted |= own
    return base, keys | adjusted | flat_keys(study.overrides)


def _refuse_dead_levels(study: Study, trials: list[Trial]) -> None:
    """Raise StudyError where a level makes no recipe in any combination: then it is a mistake, not a gap in the grid."""
    for axis, levels in study.axes.items():
        for level in levels:
            mine = [trial for trial in trials if trial.levels.get(axis) == level]
            reasons = [trial.skipped for trial in mine if trial.skipped]
            if len(reasons) == len(mine):
                raise StudyError(
                    f"Study {study.source}: no combination with {axis} {level} is left to run. The first reason: "
                    f"{reasons[0]}"
                )


def _refuse_missing_reference(study: Study, trials: list[Trial]) -> None:
    at = [t for t in trials if t.prepares is None and matches(study.reference, t.levels)]
    if missing := [trial for trial in at if trial.skipped]:
        raise StudyError(
            f"Study {study.source}: the reference setting ({' '.join(study.reference.values())}) lacks "
            f"{', '.join(t.levels[study.ranked] for t in missing)}, which is left out: {missing[0].skipped} Other "
            "settings cannot be compared with it; name another `reference`."
        )


def _reasons(error: RecipeError) -> str:
    """Return what a recipe's error lists, in one line."""
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()[1:]]
    return "; ".join(lines) or str(error)


def _hash(tree: Mapping[str, Any]) -> str:
    kept = dict(tree)
    for section, key in _WITHOUT_EFFECT:
        if isinstance(kept.get(section), dict):
            kept[section] = {k: v for k, v in kept[section].items() if k != key}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
