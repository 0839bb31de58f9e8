"""A study in, its trials out: one resolved recipe for every combination of levels, or the reason why there is none."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vfmseg.errors import RecipeError, StudyError
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe, recipe_file_tree, recipe_tree
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
    resolve: Callable[[], Recipe] | None = field(repr=False, compare=False)
    """Gives the recipe; None where it is left out."""
    skipped: str | None = None
    """Why it is left out."""
    prepares: str | None = None
    """Which preparation it is, or None."""
    needs: str | None = None
    """Id of the preparation it starts from."""

    @property
    def is_left_out(self) -> bool:
        """Whether there is nothing to run."""
        return self.resolve is None

    @functools.cached_property
    def recipe(self) -> Recipe | None:
        """As resolved; weights from a preparation are ``prepared:ID``. None where it is left out.

        Raises:
            StudyError: the plan that named the trial is no longer that of the study.
        """
        return None if self.resolve is None else self.resolve()

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
        StudyError: a level of which no combination makes a recipe, or of which all are those of another level; a
            reference that is left out; two adjustments that say different things of one key; a preparation that starts
            from another, or that nothing starts from.
    """
    planner = Planner(study, needs_data=needs_data)
    trials = [planner.preparation(label) for label in study.prepare]
    planner.prepared |= {trial.prepares: trial.id for trial in trials if trial.prepares is not None}
    trials += [planner.trial(levels) for levels in _combinations(study)]
    _refuse_dead_levels(study, trials)
    _refuse_equal_levels(study, trials)
    _refuse_idle_preparations(study, trials)
    _refuse_missing_reference(study, trials)
    return tuple(trials)


def _combinations(study: Study) -> Iterator[dict[str, str]]:
    for chosen in itertools.product(*study.axes.values()):
        yield dict(zip(study.axes, chosen, strict=True))


class Planner:
    """Makes the trials of a study one by one; recipe files are read once.

    Args:
        study: as read.
        needs_data: False where data.path may be missing, as nothing is read from there.
        prepared: label -> id of the preparations that trials may start from.
    """

    def __init__(
        self, study: Study, *, needs_data: bool = True, prepared: Mapping[str, str] | None = None
    ) -> None:
        self.prepared = dict(prepared or {})
        self._study, self._needs_data = study, needs_data
        self._file_tree = functools.cache(recipe_file_tree)

    def preparation(self, label: str) -> Trial:
        """Return the trial of a preparation.

        Raises:
            StudyError: it makes no recipe.
        """
        study, one = self._study, self._study.prepare[label]
        keys = {**flat_keys(study.keys), **flat_keys(one.keys), **flat_keys(study.overrides)}
        for key in _WEIGHTS:
            if str(keys.get(key, "")).startswith(PREPARED):
                raise StudyError(
                    f"Study {study.source}: {key} of prepare.{label} is {keys[key]}, but a preparation cannot start from "
                    "another: give it weights of its own."
                )
        try:
            recipe = self._recipe(one.base or study.base, keys)
        except RecipeError as error:
            raise StudyError(f"Study {study.source}: prepare.{label} makes no recipe.\n{error}") from None
        return Trial(_hash(recipe_tree(recipe)), {}, lambda: recipe, prepares=label)

    def trial(self, levels: Mapping[str, str]) -> Trial:
        """Return the trial of a combination.

        Raises:
            StudyError: it starts from a preparation that is not there, or its adjustments contradict each other.
        """
        study = self._study
        for exclusion in study.skip:
            if matches(exclusion.when, levels):
                return Trial(_hash(levels), levels, None, skipped=exclusion.reason)
        base, keys = _keys(study, levels)
        needs, first = None, ""
        for key in _WEIGHTS:
            value = str(keys.get(key, ""))
            if value.startswith(PREPARED):
                label = value.removeprefix(PREPARED)
                if label not in self.prepared:
                    known = ", ".join(self.prepared) or "none"
                    raise StudyError(
                        f"Study {study.source}: {key} is {value}, but the study prepares no {label!r} (it prepares: "
                        f"{known})."
                    )
                if needs not in (None, self.prepared[label]):  # init_from, the second of them
                    raise StudyError(
                        f"Study {study.source}: encoder.weights is {first} and init_from {value}: a trial starts from "
                        "one preparation. Leave one of them out."
                    )
                needs, first = self.prepared[label], value
                keys[key] = PREPARED + needs
        try:
            recipe = self._recipe(base, keys)
        except RecipeError as error:
            return Trial(_hash(levels), levels, None, skipped=f"no recipe: {_reasons(error)}")
        return Trial(_hash(recipe_tree(recipe)), levels, lambda: recipe, needs=needs)

    def _recipe(self, base: str, keys: Keys) -> Recipe:
        return read_recipe(self._file_tree(base), keys, needs_data=self._needs_data).recipe


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


def _refuse_equal_levels(study: Study, trials: list[Trial]) -> None:
    """Raise StudyError where two levels are the same recipes throughout: one result would count as two."""
    for axis in study.axes:
        called: dict[tuple[tuple[tuple[str, ...], str], ...], str] = {}
        by_level: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for trial in trials:
            if trial.prepares is None and not trial.is_left_out:
                rest = tuple(level for other, level in trial.levels.items() if other != axis)
                by_level.setdefault(trial.levels[axis], []).append((rest, trial.id))
        for level, ids in by_level.items():
            twin = called.setdefault(tuple(ids), level)
            if twin != level:
                raise StudyError(
                    f"Study {study.source}: {axis} {twin} and {axis} {level} are equal recipes in every combination, so "
                    "each result would count twice. Leave one out, or have them differ: keys of the command line, of "
                    "`adjust`, and of axes further down replace those of a level."
                )


def _refuse_idle_preparations(study: Study, trials: list[Trial]) -> None:
    needed = {trial.needs for trial in trials}
    for trial in trials:
        if trial.prepares is not None and trial.id not in needed:
            raise StudyError(
                f"Study {study.source}: no trial starts from prepare.{trial.prepares}. Have a level say "
                f"{{encoder.weights: '{PREPARED}{trial.prepares}'}}, or leave the preparation out."
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
