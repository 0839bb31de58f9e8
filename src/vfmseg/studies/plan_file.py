"""What a study planned in, ``plan.json`` in its folder of results out, and back: a report needs no study file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from vfmseg.errors import StudyError
from vfmseg.models.writing import whole_file
from vfmseg.runs.recipe_reader import recipe_tree
from vfmseg.studies.folder import ASKED, STUDY, TRIAL, TRIALS, read_json, trial_folder
from vfmseg.studies.levels import flat_keys
from vfmseg.studies.study_file import SEED, Study
from vfmseg.studies.trials import Trial

PLAN = "plan.json"


@dataclass(frozen=True)
class Planned:
    """A trial, or a combination that is left out, as the folder of results knows it."""

    id: str
    levels: Mapping[str, str]
    """Axis -> level; of a preparation, nothing."""
    skipped: str | None = None
    """Why it is left out."""
    prepares: str | None = None
    """Which preparation it is, or None."""
    needs: str | None = None
    """Id of the preparation it starts from."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Dotted recipe key -> its value, of those that differ between the study's trials."""


@dataclass(frozen=True)
class Plan:
    """What a folder of results is about."""

    name: str
    axes: tuple[str, ...]
    ranked: str
    """The axis whose levels are ranked."""
    reference: Mapping[str, str]
    """Axis -> level of the setting that others are compared with."""
    targets: Mapping[str, Mapping[str, Any]]
    trials: tuple[Planned, ...]
    fingerprint: str = ""
    """Of all that the plan was made from, see :func:`vfmseg.studies.known_plan.fingerprint`."""
    image_groups: str = ""
    """As in the study file."""

    @property
    def setting_axes(self) -> tuple[str, ...]:
        """The axes that make up a setting: all but the ranked one and the seed."""
        return tuple(axis for axis in self.axes if axis not in (self.ranked, SEED))


def plan_of(study: Study, trials: Sequence[Trial], *, fingerprint: str = "") -> Plan:
    """Return what a report needs to know of a study and its trials."""
    return Plan(
        study.name,
        tuple(study.axes),
        study.ranked,
        study.reference,
        study.targets,
        tuple(
            Planned(one.id, one.levels, one.skipped, one.prepares, one.needs, keys)
            for one, keys in zip(trials, varied_keys(trials), strict=True)
        ),
        fingerprint,
        study.image_groups,
    )


def varied_keys(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return the recipe keys of each trial that not all trials agree on; a list or mapping is written as JSON.

    A key that only some recipes have, as those of one decoder, counts where two of these differ.
    """
    flat = [{} if one.recipe is None else flat_keys(recipe_tree(one.recipe)) for one in trials]
    first: dict[str, Any] = {}
    varied: dict[str, None] = {}  # in the order of the recipe
    for one in flat:
        for key, value in one.items():
            if key not in varied and value != first.setdefault(key, value):
                varied[key] = None
    return [
        {key: _plain(one[key]) for key in one.keys() & varied.keys() if one[key] is not None} for one in flat
    ]


def write_plan(study: Study, trials: Sequence[Trial], results: Path, *, fingerprint: str = "") -> None:
    """Write ``plan.json``; what stood there before stays until it is complete.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with whole_file(results / PLAN) as partial:
        partial.write_bytes(msgspec.json.encode(plan_of(study, trials, fingerprint=fingerprint)))


def read_plan(results: Path) -> Plan:
    """Return the plan of a folder of results; without ``plan.json``, what its trials say of themselves.

    Raises:
        StudyError: the folder holds no study, or a file of it is damaged.
    """
    about = read_json(results / STUDY)
    if about is None:
        raise StudyError(
            f"{results} holds no study: there is no {STUDY}. Name the --out folder of `vfmseg benchmark`."
        )
    path = results / PLAN
    if path.is_file():
        try:
            return msgspec.json.decode(path.read_bytes(), type=Plan)
        except msgspec.DecodeError as error:
            raise StudyError(
                f"{path} is damaged ({error}). Delete it, or type the `vfmseg benchmark` of this study again, which "
                "writes it anew."
            ) from None
    found = [read_json(file) or {} for file in sorted((results / TRIALS).glob(f"*/{TRIAL}"))]
    trials = tuple(Planned(one["id"], one["levels"], None, one["prepares"]) for one in found)
    axes, ranked = tuple(about["axes"]), about["ranked"]
    first = next((one.levels for one in trials if one.prepares is None), {})
    reference = {axis: first[axis] for axis in axes if axis not in (ranked, SEED) and axis in first}
    return Plan(about["name"], axes, ranked, reference, _targets(results, trials), trials)


def _targets(results: Path, trials: Sequence[Planned]) -> dict[str, Any]:
    """Return the targets that the first scored trial was asked for."""
    for one in trials:
        if asked := read_json(trial_folder(results, one.id) / ASKED):
            return asked
    return {}


def _plain(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value
