"""Words of a command line in, recipe overrides out: ``--a.b value``, ``--a.b=value``, ``--flag``."""

from __future__ import annotations

from typing import Any

from vfmseg.errors import RecipeError

_NUMBER_STARTS = tuple("+-.0123456789")


def parse_overrides(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return {dotted name: value} and notes on how slips were understood.

    Values are read as YAML (``[0, 1]``, ``true``, ``1e-4``, words). An option without a value is ``true``.

    Raises:
        RecipeError: a word that is no option and no option's value.
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("--") or word == "--":
            raise RecipeError(
                f"Unexpected word {word!r}. Options look like --encoder.name dinov2-b; a recipe is given with "
                "-c, files and folders before the first recipe key."
            )
        name, equals, text = word[2:].partition("=")
        if not equals:
            if (
                position < len(words)
                and words[position] == "-"
                and _is_value(words[position + 1 : position + 2])
            ):
                # one of the published command lines has a stray dash here
                notes.append(
                    f"--{name}: the lone '-' before {words[position + 1]!r} is taken as a slip and left out"
                )
                position += 1
            if _is_value(words[position : position + 1]):
                text = words[position]
                position += 1
            else:
                text = "true"
        found[name] = _value(text)
    return found, notes


def _is_value(words: list[str]) -> bool:
    return bool(words) and not words[0].startswith("--")


def _value(text: str) -> Any:
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: looks like a date or number, and is none: 2026-13-01
        return text
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-4 as a word
            return float(value) if value[:1] in _NUMBER_STARTS else value
        except ValueError:
            return value
    if value is None:
        return None if text in ("null", "~") else text
    if isinstance(value, bool) or text.startswith(("[", "{")):
        return value
    # 007, 1_000, 1.10 and 2026-05-01 may be names; where a number is meant, the recipe reads them just so
    is_plain = isinstance(value, int | float) and (str(value) == text or "e" in text.lower())
    return value if is_plain else text
