"""What a study planned in, ``plan.json`` in its folder of results out, and back: a report needs no study file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from vfmseg.errors import StudyError
from vfmseg.studies.folder import ASKED, STUDY, TRIAL, TRIALS, read_json, trial_folder
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

    @property
    def setting_axes(self) -> tuple[str, ...]:
        """The axes that make up a setting: all but the ranked one and the seed."""
        return tuple(axis for axis in self.axes if axis not in (self.ranked, SEED))


def plan_of(study: Study, trials: Sequence[Trial]) -> Plan:
    """Return what a report needs to know of a study and its trials."""
    return Plan(
        study.name,
        tuple(study.axes),
        study.ranked,
        study.reference,
        study.targets,
        tuple(Planned(one.id, one.levels, one.skipped, one.prepares) for one in trials),
    )


def write_plan(study: Study, trials: Sequence[Trial], results: Path) -> None:
    """Write ``plan.json``; what stood there before stays until it is complete."""
    path = results / PLAN
    partial = path.with_suffix(".json.partial")
    partial.write_bytes(msgspec.json.encode(plan_of(study, trials)))
    partial.replace(path)


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
