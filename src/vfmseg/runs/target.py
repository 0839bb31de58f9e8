"""Words of a command line, or keys of a study file, in; one target out: data to score a model on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from vfmseg.errors import RecipeError

_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Target:
    """Data to score a model on."""

    name: str
    """What tables and its folder are called; letters, digits, underscores, and after the first dots and dashes."""
    data: Mapping[str, Any]
    """What differs from the recipe's `data`."""
    split: str
    """Of that data."""
    classes: Mapping[str, str | None] = field(default_factory=dict)
    """Its class -> the model's, where their names differ; None: ignored. Others are matched by name."""
    unknown: str | None = None
    """What marks its unknown objects, where reliability is asked for; None: as the question says."""


def is_name(name: str) -> bool:
    """Return whether a target can be called so; its results lie in a folder of that name."""
    return _NAME.fullmatch(name) is not None


def parse_target(text: str, *, split: str) -> Target:
    """Read ``NAME=PATH``, or ``NAME={key: value, ...}``: keys of the recipe's `data`, `split`, `classes` and `unknown`.

    Args:
        text: as typed.
        split: where the text says none.

    Raises:
        RecipeError: with both forms, and what is wrong.
    """
    name, equals, value = text.partition("=")
    how = (
        "Write --target NAME=PATH, or --target 'NAME={name: bdd100k, path: PATH, split: val}' with any keys of the "
        "recipe's data."
    )
    if not equals or not value or not is_name(name):
        raise RecipeError(
            f"--target {text!r} does not name a target and its data. {how} A name has letters, digits and underscores, "
            "and after the first also dots and dashes."
        )
    if not value.startswith("{"):
        return Target(name, {"path": value}, split)
    try:
        keys = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--target {text!r}: {value} is no YAML mapping ({error}). {how}") from None
    return target_of(name, keys, split=split)


def target_of(name: str, keys: Mapping[str, Any], *, split: str) -> Target:
    """Return the target that a mapping says: keys of the recipe's `data`, `split`, `classes` and `unknown`.

    Args:
        name: of the target.
        keys: as in :func:`parse_target`, or in a study file.
        split: where the keys say none.

    Raises:
        RecipeError: `classes` is no mapping.
    """
    classes = keys.get("classes", {})
    if not isinstance(classes, dict):
        raise RecipeError(
            f"--target {name}: classes is {classes!r}; write the target's class and the model's, as in "
            "classes: {sedan: car, sky: null} (null: ignored)."
        )
    return Target(
        name,
        {key: v for key, v in keys.items() if key not in ("split", "classes", "unknown")},
        str(keys.get("split", split)),
        {str(theirs): None if ours is None else str(ours) for theirs, ours in classes.items()},
        _unknown_of(keys.get("unknown")),
    )


def _unknown_of(value: Any) -> str | None:
    """Return what marks unknown objects as ``--unknown`` has it: ``254``, ``[254, 253]`` or a folder."""
    if value is None:
        return None
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
