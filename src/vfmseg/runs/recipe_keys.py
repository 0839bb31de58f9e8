"""The recipe's dataclasses in, every dotted key with its default and documentation out, for help, docs and hints."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable
from typing import Any

from vfmseg.runs.choices import CHOICES, Choice
from vfmseg.runs.recipe import Recipe


def keys() -> dict[str, tuple[str, str]]:
    """Return every dotted recipe key with its (default, documentation), in the order of the recipe."""
    found: dict[str, tuple[str, str]] = {}
    for key, said in _collect(Recipe, ""):
        if key in CHOICES:
            found |= _keys_of_choice(CHOICES[key])
        else:
            found[key] = said
    return found


def _keys_of_choice(choice: Choice) -> dict[str, tuple[str, str]]:
    """Return the word of a section and all its other keys, saying which kind has what where they differ."""
    of_key: dict[str, dict[str, tuple[str, str]]] = {}
    for word, kind in choice.kinds.items():
        for key, default_and_text in _collect(kind, f"{choice.section}."):
            if key != choice.key:
                of_key.setdefault(key, {})[word] = default_and_text
    with_keys = {word for said in of_key.values() for word in said}
    allowed = f"One of: {', '.join(choice.kinds)}."
    told = f"`vfmseg list {choice.listed}`. {allowed}" if choice.listed else _what_kinds_are(choice)
    found = {choice.key: (choice.default, told)}
    for key, said in of_key.items():
        defaults, documentation = (_grouped({d: one[place] for d, one in said.items()}) for place in (0, 1))
        is_alike = len(documentation) == 1 and len(said) == len(with_keys)
        found[key] = (
            "; ".join(
                value if len(defaults) == 1 else f"{value} ({names})" for value, names in defaults.items()
            ),
            " ".join(text if is_alike else f"{names}: {text}" for text, names in documentation.items()),
        )
    return found


def _what_kinds_are(choice: Choice) -> str:
    """Return each word of a section with what its dataclass says of it."""
    said = {
        word: dict(_collect(kind, f"{choice.section}."))[choice.key] for word, kind in choice.kinds.items()
    }
    return " ".join(f"`{word}`: {text}" for word, (_, text) in said.items())


def _grouped(of_word: dict[str, str]) -> dict[str, str]:
    """Return each text with the words that have it."""
    found: dict[str, str] = {}
    for word, text in of_word.items():
        found[text] = f"{found[text]}, {word}" if text in found else word
    return found


def _collect(kind: Any, prefix: str) -> Iterable[tuple[str, tuple[str, str]]]:
    """Yield the keys of a dataclass and of those inside it; a section of CHOICES is one key."""
    import inspect

    documentation = _field_documentation(inspect.getsource(kind))
    hints = typing.get_type_hints(kind)
    for one in dataclasses.fields(kind):
        hint = hints[one.name]
        if dataclasses.is_dataclass(hint):
            yield from _collect(hint, f"{prefix}{one.name}.")
        elif f"{prefix}{one.name}" in CHOICES:
            yield one.name, ("", "")
        else:
            default = one.default_factory() if callable(one.default_factory) else one.default
            shown = default if isinstance(default, str) else json.dumps(default)
            said = documentation.get(one.name, "")
            yield f"{prefix}{one.name}", (shown, said + _choices(hint, said))


def _choices(hint: Any, said: str) -> str:
    """Return the words a field may hold, where it is a choice between words and not all have been said."""
    is_list = typing.get_origin(hint) is list
    choice = typing.get_args(hint)[0] if is_list else hint
    words = typing.get_args(choice) if typing.get_origin(choice) is typing.Literal else ()
    if len(words) < 2 or all(f"`{word}`" in said for word in words):
        return ""
    return f" {'Any' if is_list else 'One'} of: {', '.join(words)}."


def _field_documentation(source: str) -> dict[str, str]:
    """Return the string under each annotated field of a class, from its source."""
    import ast
    import inspect
    import itertools

    body = typing.cast(ast.ClassDef, ast.parse(inspect.cleandoc(source)).body[0]).body
    found = {}
    for statement, following in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found
