"""YAML in, a checked study out: what is varied, what is left out and why, and what is asked of the ranking."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from vfmseg.data.yaml_text import load_yaml
from vfmseg.errors import DataError, RecipeError, StudyError, nearest
from vfmseg.runs.recipe_keys import keys
from vfmseg.runs.recipe_reader import packaged_recipes_roots
from vfmseg.runs.target import is_name, target_of
from vfmseg.studies.image_groups import wrong_pattern
from vfmseg.studies.levels import Keys, label_of, read_levels, unknown_keys, wrong_when

_STRICT = ConfigDict(extra="forbid")
When = Annotated[dict[str, Any], Field(min_length=1)]
"""Axis -> a level of it, or a list of levels."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class Adjustment:
    """Keys of the combinations of some levels: a size that depends on the encoder, say."""

    when: When
    """Axis -> a level of it, or a list of levels."""
    keys: Keys
    """Recipe keys laid over those of the levels."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class Exclusion:
    """Combinations that are left out, with the reason that their rows of the table give."""

    when: When
    """Axis -> a level of it, or a list of levels."""
    reason: Annotated[str, Field(min_length=1)]
    """Why."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class Preparation:
    """A run that trials start from; it is in the table, but not in the ranking."""

    base: str = ""
    """Recipe; the study's where it is missing."""
    keys: Keys = field(default_factory=dict)
    """Recipe keys laid over it."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class Budget:
    """What a study may cost; it ends, and says what is left, before more is spent."""

    trials: Annotated[int, Field(gt=0)] | None = None
    """Trials run in one go."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours by the clock in one go; a trial that has begun is finished."""
    features_gib: Annotated[float, Field(ge=0)] = 10.0
    """Disk that features of frozen encoders may take in the folder of results while trials share them; 0 keeps none."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class _File:
    name: str = ""
    base: str = ""
    keys: Keys = field(default_factory=dict)
    axes: dict[str, Any] = field(default_factory=dict)
    adjust: list[Adjustment] = field(default_factory=list)
    skip: list[Exclusion] = field(default_factory=list)
    prepare: dict[str, Preparation] = field(default_factory=dict)
    targets: dict[str, str | Keys] = field(default_factory=dict)
    ranked: str = ""
    reference: dict[str, Any] = field(default_factory=dict)
    image_groups: str = ""
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True)
class Study:
    """A grid of recipes, and what is asked of it."""

    name: str
    """Names the results; a folder of results holds one study."""
    base: str
    """The recipe that all trials start from."""
    keys: Keys
    """Laid over it."""
    axes: Mapping[str, Mapping[str, Keys]]
    """Axis -> level -> the recipe keys it stands for."""
    adjust: tuple[Adjustment, ...]
    skip: tuple[Exclusion, ...]
    prepare: Mapping[str, Preparation]
    targets: Mapping[str, Keys]
    """Name -> keys of the recipe's `data`, and `split`: what every trial is scored on beside its own data."""
    ranked: str
    """The axis whose levels are ranked."""
    reference: Mapping[str, str]
    """Axis -> the level that other settings are compared with; neither the ranked axis nor `seed`."""
    budget: Budget
    image_groups: str = ""
    """Regular expression, its one group equal in the names of images that are resampled together; empty: each alone."""
    overrides: Keys = field(default_factory=dict)
    """Of the command line: laid over all trials and preparations, last."""
    source: str = ""
    """The file it was read from."""

    @property
    def setting_axes(self) -> tuple[str, ...]:
        """The axes that make up a setting: all but the ranked one and the seed."""
        return tuple(axis for axis in self.axes if axis not in (self.ranked, SEED))


SEED = "seed"
"""The axis whose levels are repetitions, not settings."""


def read_study(source: str | Path) -> Study:
    """Read a study file.

    Args:
        source: a YAML file, or the name of one that comes with vfmseg (``vfmseg list studies``).

    Raises:
        StudyError: it is missing or is no YAML mapping; or it has unknown keys, an axis that is empty or no recipe key,
            levels that are not there, or constraints that contradict each other: all of it listed at once.
    """
    path = find_study(source)
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"), str(path))
    except DataError as error:  # names the file
        raise StudyError(str(error)) from None
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not YAML: it is not UTF-8 text ({error}).") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(tree, dict):
        what = "is empty" if tree is None else f"holds a {type(tree).__name__}"
        raise StudyError(
            f"{path} {what}, but must hold `key: value` lines such as `base: RECIPE` and `axes: ...`."
        )
    return study_of(tree, name=path.stem, source=str(path))


def study_of(tree: Mapping[str, Any], *, name: str, source: str = "the study") -> Study:
    """Return the study that a mapping says; see :func:`read_study` for what is raised.

    Args:
        tree: as in a study file.
        name: where it names none.
        source: what errors call it.
    """
    try:
        file = TypeAdapter(_File).validate_python(dict(tree))
    except ValidationError as error:
        raise StudyError(_listed(source, [_sentence(one) for one in error.errors()])) from None
    if not file.base:
        raise StudyError(f"{source} has no `base`: the recipe that its trials start from.")
    if not file.axes:
        raise StudyError(f"{source} has no `axes`: what is varied, such as `axes: {{encoder.name: [a, b]}}`.")
    known, wrong = keys(), []
    is_folder = Path(file.name).name == file.name != ".."
    if not is_folder or not file.name.isprintable():  # results are in studies/NAME
        wrong.append(f"name: {file.name!r} is no name of a folder: leave out slashes and line breaks")
    axes: dict[str, Mapping[str, Keys]] = {}
    for axis, levels in file.axes.items():
        try:
            axes[axis] = read_levels(axis, levels, known)
        except StudyError as error:
            wrong.append(str(error))
    if wrong:  # what follows speaks of levels
        raise StudyError(_listed(source, wrong))
    ranked = file.ranked or next((axis for axis in axes if axis != SEED), SEED)
    if ranked not in axes:
        wrong.append(f"ranked: {ranked!r} is no axis.{nearest(ranked, axes)} Axes: {', '.join(axes)}")
    if ranked == SEED:
        wrong.append("ranked: seeds are repetitions; name the axis whose levels are compared")
    for number, adjustment in enumerate(file.adjust):
        wrong += wrong_when(f"adjust.{number}", adjustment.when, axes)
    for number, exclusion in enumerate(file.skip):
        wrong += wrong_when(f"skip.{number}", exclusion.when, axes)
    reference = {axis: label_of(level) for axis, level in file.reference.items()}
    wrong += wrong_when("reference", reference, axes) if reference else []
    wrong += [f"reference: {axis} is not part of a setting" for axis in reference if axis in (ranked, SEED)]
    wrong += unknown_keys("keys", file.keys, known)
    for where, some in (
        *((f"adjust.{i}", one.keys) for i, one in enumerate(file.adjust)),
        *((f"prepare.{label}", one.keys) for label, one in file.prepare.items()),
    ):
        wrong += unknown_keys(where, some, known)
    targets = {
        label: {"path": value} if isinstance(value, str) else value for label, value in file.targets.items()
    }
    for label, of_target in targets.items():
        wrong += _wrong_target(label, of_target, known)
    if file.image_groups and (mistake := wrong_pattern(file.image_groups)):
        wrong.append(f"image_groups: {mistake}")
    if wrong:
        raise StudyError(_listed(source, wrong))
    others = [axis for axis in axes if axis not in (ranked, SEED)]
    return Study(
        name=file.name or name,
        base=file.base,
        keys=file.keys,
        axes=axes,
        adjust=tuple(file.adjust),
        skip=tuple(file.skip),
        prepare=file.prepare,
        targets=targets,
        ranked=ranked,
        reference={axis: reference.get(axis, next(iter(axes[axis]))) for axis in others},
        budget=file.budget,
        image_groups=file.image_groups,
        source=source,
    )


def _wrong_target(label: str, given: Keys, known: Iterable[str]) -> list[str]:
    """Return what is wrong with a target, before anything is trained."""
    if not is_name(label):
        return [
            f"targets.{label}: a name has letters, digits and underscores, and after the first also dots and dashes"
        ]
    try:
        target = target_of(label, given, split="val")
    except RecipeError as error:
        return [f"targets.{label}: {error}"]
    return unknown_keys(f"targets.{label}", {f"data.{key}": v for key, v in target.data.items()}, known)


def find_study(source: str | Path) -> Path:
    """Return the study file that ``source`` means: a path, or a name among the packaged studies.

    Raises:
        StudyError: there is no such file; names the nearest.
    """
    path = Path(source)
    if path.is_file():
        return path
    for root in packaged_recipes_roots():
        for candidate in (root.parent / path, root / "studies" / path, root / "studies" / f"{path}.yaml"):
            if candidate.is_file():
                return candidate
    known = list_studies()
    raise StudyError(
        f"There is no study {str(source)!r}.{nearest(str(source), known)} `vfmseg list studies` shows those that come "
        "with vfmseg; a path to your own YAML file works too."
    )


def list_studies() -> list[str]:
    """Return the packaged studies as ``configs/studies/...`` paths, sorted."""
    return sorted(
        f"configs/studies/{path.name}"
        for root in packaged_recipes_roots()
        for path in (root / "studies").glob("*.yaml")
    )


def with_overrides(study: Study, overrides: Mapping[str, Any]) -> Study:
    """Return the study with recipe keys laid over all of its trials and preparations."""
    return dataclasses.replace(study, overrides=dict(overrides))


def _sentence(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        near = nearest(path.rpartition(".")[2], [one.name for one in dataclasses.fields(_File)])
        return f"unknown key {path!r}.{near}"
    message = error["msg"]
    return f"{path}: {message[0].lower()}{message[1:]}"


def _listed(source: str, lines: list[str]) -> str:
    count = "1 thing is" if len(lines) == 1 else f"{len(lines)} things are"
    return f"Study {source}: {count} wrong.\n" + "\n".join(f"  - {line}" for line in lines)
