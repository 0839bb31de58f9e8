"""The levels of a study's axes: what they are called, which recipe keys they stand for, what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vfmseg.errors import StudyError, nearest

BASE = "base"
"""Among the keys of a level: the recipe it starts from, in place of the study's."""

Keys = dict[str, Any]
"""Dotted recipe keys, or nested mappings of them, and values."""


def read_levels(axis: str, levels: Any, known: Iterable[str]) -> Mapping[str, Keys]:
    """Return label -> keys of one axis.

    Raises:
        StudyError: it is empty, two levels have one name or one has none, or its levels name no recipe keys.
    """
    if not isinstance(levels, list | dict) or not levels:
        what = "is empty" if not levels else f"is {levels!r}"
        raise StudyError(
            f"axes.{axis} {what}: give it a list of values, or a mapping from names to recipe keys"
        )
    is_key = axis in known
    if isinstance(levels, list):
        if not is_key:
            raise StudyError(
                f"axes.{axis} is no recipe key, so a list says nothing.{nearest(axis, known)} Name levels: "
                "`axis: {level: {recipe.key: value}}`"
            )
        labels = _different_labels(axis, levels)
        return {label: {axis: level} for label, level in zip(labels, levels, strict=True)}
    _different_labels(axis, levels)
    found = {}
    for name, level in levels.items():
        if is_key and not isinstance(level, dict):
            level = {axis: level}
        if not isinstance(level, dict):
            raise StudyError(
                f"axes.{axis}.{name} must be recipe keys with values, such as {{encoder.name: dinov2-b}}"
            )
        if unknown := unknown_keys(
            f"axes.{axis}.{name}", {k: v for k, v in level.items() if k != BASE}, known
        ):
            raise StudyError("; ".join(unknown))
        found[label_of(name)] = level
    return found


def _different_labels(axis: str, levels: Iterable[Any]) -> list[str]:
    """Return what levels are called.

    Raises:
        StudyError: two are called the same, as 1 and "1" are; or one cannot be a row's name in tables.
    """
    labels = [label_of(level) for level in levels]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise StudyError(f"axes.{axis} has {', '.join(twice)} more than once")
    if bad := [label for label in labels if not label.strip() or not label.isprintable()]:
        raise StudyError(
            f"axes.{axis} has a level {bad[0]!r}, but tables need one line of text: name it, as in "
            "`axis: {level: {recipe.key: value}}`"
        )
    return labels


def unknown_keys(place: str, some: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """Return a sentence for each of ``some`` that is no recipe key."""
    found = []
    for key in flat_keys(some):
        # what lies below a key that is a mapping itself, such as encoder.overrides, is the recipe's to check
        if not any(key == one or key.startswith(f"{one}.") for one in known):
            found.append(f"{place}: {key!r} is no recipe key.{nearest(key, known)}")
    return found


def flat_keys(some: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted keys: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``; an empty mapping stays."""
    found: dict[str, Any] = {}
    for key, value in some.items():
        if isinstance(value, Mapping) and value:
            found |= flat_keys(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def wrong_when(place: str, when: Mapping[str, Any], axes: Mapping[str, Mapping[str, Keys]]) -> list[str]:
    """Return a sentence for each axis and level of ``when`` that is not there."""
    found = []
    for axis, wanted in when.items():
        if axis not in axes:
            found.append(f"{place}: {axis!r} is no axis.{nearest(axis, axes)} Axes: {', '.join(axes)}")
            continue
        if wanted == []:
            found.append(
                f"{place}: no level of {axis} is named, so it never holds. Levels: {', '.join(axes[axis])}"
            )
        found += [
            f"{place}: axis {axis} has no level {label!r}.{nearest(label, axes[axis])} Levels: {', '.join(axes[axis])}"
            for label in _labels(wanted)
            if label not in axes[axis]
        ]
    return found


def matches(when: Mapping[str, Any], levels: Mapping[str, str]) -> bool:
    """Return whether a combination has one of the levels that ``when`` names, on each axis it names."""
    return all(levels[axis] in _labels(wanted) for axis, wanted in when.items())


def _labels(wanted: Any) -> list[str]:
    return [label_of(one) for one in wanted] if isinstance(wanted, list) else [label_of(wanted)]


def label_of(level: Any) -> str:
    """Return how a level is called: as YAML would write it."""
    if isinstance(level, bool):
        return str(level).lower()
    return "null" if level is None else str(level)
