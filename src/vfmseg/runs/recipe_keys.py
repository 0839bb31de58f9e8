"""The recipe's dataclasses in, every dotted key with its default and documentation out, for help, docs and hints."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable
from typing import Any

from vfmseg.runs.decoder_recipe import DECODER_RECIPES, LinearRecipe
from vfmseg.runs.recipe import Recipe


def keys() -> dict[str, tuple[str, str]]:
    """Return every dotted recipe key with its (default, documentation), in the order of the recipe."""
    found = dict(_collect(Recipe, ""))
    found["decoder.name"] = (
        LinearRecipe().name,
        f"`vfmseg list decoders`. One of: {', '.join(DECODER_RECIPES)}.",
    )
    return found | _decoder_keys()


def _decoder_keys() -> dict[str, tuple[str, str]]:
    """Return the keys that decoders have beside their name, saying which has what where they differ."""
    of_key: dict[str, dict[str, tuple[str, str]]] = {}
    for decoder, kind in DECODER_RECIPES.items():
        for key, default_and_text in _collect(kind, "decoder."):
            if key != "decoder.name":
                of_key.setdefault(key, {})[decoder] = default_and_text
    with_keys = {decoder for said in of_key.values() for decoder in said}
    found = {}
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


def _grouped(of_decoder: dict[str, str]) -> dict[str, str]:
    """Return each text with the names of the decoders that have it."""
    found: dict[str, str] = {}
    for decoder, text in of_decoder.items():
        found[text] = f"{found[text]}, {decoder}" if text in found else decoder
    return found


def _collect(kind: Any, prefix: str) -> Iterable[tuple[str, tuple[str, str]]]:
    """Yield the keys of a dataclass and of those inside it; the decoder's are left to :func:`_decoder_keys`."""
    import inspect

    documentation = _field_documentation(inspect.getsource(kind))
    hints = typing.get_type_hints(kind)
    for one in dataclasses.fields(kind):
        hint = hints[one.name]
        if dataclasses.is_dataclass(hint):
            yield from _collect(hint, f"{prefix}{one.name}.")
        elif f"{prefix}{one.name}" != "decoder":
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
