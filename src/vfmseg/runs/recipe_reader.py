"""YAML and command-line words in, a checked Recipe out; or one error that lists everything that is wrong."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from vfmseg.data.yaml_text import load_yaml
from vfmseg.errors import DataError, RecipeError, nearest
from vfmseg.runs.choices import CHOICES
from vfmseg.runs.recipe import LoadedRecipe, Recipe, contradictions
from vfmseg.runs.recipe_keys import keys


def read_recipe(
    source: str | Path | Mapping[str, Any] | Recipe,
    overrides: Mapping[str, Any] | None = None,
    *,
    notes: tuple[str, ...] = (),
    needs_data: bool = True,
) -> LoadedRecipe:
    """Read a recipe and lay ``overrides`` over it.

    Args:
        source: a YAML file (found beside the caller or among the packaged ``configs/``), a nested mapping, or a recipe.
        overrides: nested or dotted (``{"training.steps": 10}``) values that win over the file.
        notes: passed on in the result.
        needs_data: False where data.path may be missing, as nothing is read from there.

    Raises:
        RecipeError: the file is missing or is no YAML mapping; or the recipe has unknown keys, wrong values or
            contradictions, all of them listed at once.
    """
    name = "recipe"
    if isinstance(source, Recipe):
        tree = recipe_tree(source)
    elif isinstance(source, Mapping):
        tree = _nested(source)
    else:
        path = find_recipe(source)
        _, below, inside = path.resolve().with_suffix("").as_posix().rpartition("/configs/")
        name, tree = inside.replace("/", "_") if below else path.stem, _file_tree(path)
    given = _nested(overrides or {})
    _lay_over(tree, given)
    for section, choice in CHOICES.items():
        if isinstance(tree.get(section), dict):
            tree[section].setdefault(choice.word, choice.default)
    try:
        recipe = _adapter().validate_python(tree)
    except ValidationError as error:
        raise RecipeError(_describe(error, source)) from None
    wrong = contradictions(recipe, needs_data=needs_data)
    if wrong:
        raise RecipeError(_listed(source, wrong))
    return LoadedRecipe(recipe, name, notes, given)


def recipe_file_tree(source: str | Path) -> dict[str, Any]:
    """Return what a recipe file says as a nested mapping; :func:`read_recipe` takes it for the file, time and again.

    Raises:
        RecipeError: the file is missing or is no YAML mapping.
    """
    return _file_tree(find_recipe(source))


def find_recipe(source: str | Path) -> Path:
    """Return the recipe file that ``source`` means: a path, or a name among the packaged recipes.

    Raises:
        RecipeError: there is no such file; names the nearest recipes.
    """
    path = Path(source)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    if path.is_file():
        return path
    for root in packaged_recipes_roots():
        for candidate in (root / path, root.parent / path, root / f"{path}.yaml"):
            if candidate.is_file():
                return candidate
    known = list_recipes()
    raise RecipeError(
        f"There is no recipe {str(source)!r}.{nearest(str(source), known)} "
        f"`vfmseg list recipes` shows the recipes that come with vfmseg; a path to your own YAML file works too."
    )


def packaged_recipes_roots() -> list[Path]:
    """Return the folders that hold the recipes of this installation (wheel, or source checkout)."""
    package = Path(__file__).resolve().parents[1]
    return [root for root in (package / "configs", package.parents[1] / "configs") if root.is_dir()]


def list_recipes() -> list[str]:
    """Return the packaged recipes as ``configs/...`` paths, sorted; data descriptions are not recipes."""
    found = {
        f"configs/{path.relative_to(root).as_posix()}"
        for root in packaged_recipes_roots()
        for path in root.rglob("*.yaml")
        if path.relative_to(root).parts[0] not in ("data", "studies")
    }
    return sorted(found)


def recipe_tree(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as nested dictionaries of plain YAML values."""
    tree: dict[str, Any] = _adapter().dump_python(recipe, mode="json")
    return tree


def recipe_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML that :func:`read_recipe` reads back to the same recipe."""
    return yaml.safe_dump(recipe_tree(recipe), sort_keys=False, allow_unicode=True)


@functools.cache
def _adapter() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)


def _file_tree(path: Path) -> dict[str, Any]:
    tree = _nested(_read_yaml(path))
    _resolve_data_path(tree, path)
    return tree


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"), str(path))
    except DataError as error:
        raise RecipeError(str(error)) from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not YAML: it is not UTF-8 text ({error}).") from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} must hold `key: value` lines, but holds a {type(tree).__name__}.")
    return tree


def _resolve_data_path(tree: dict[str, Any], recipe_file: Path) -> None:
    """Make relative paths of data that exist beside the recipe file absolute, so that a run can start anywhere."""
    data = tree.get("data")
    if not isinstance(data, dict):
        return
    sources = data.get("sources")
    for place in (data, *(sources if isinstance(sources, list) else ())):
        if isinstance(place, dict) and isinstance(place.get("path"), str) and place["path"]:
            raw = os.path.expanduser(os.path.expandvars(place["path"]))
            beside = recipe_file.parent / raw
            place["path"] = str(beside.resolve()) if not Path(raw).exists() and beside.exists() else raw


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``flat`` with dotted keys unfolded: ``{"a.b": 1}`` becomes ``{"a": {"b": 1}}``."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        inner = _nested(value) if isinstance(value, Mapping) else value
        *parents, leaf = str(key).split(".")
        node: dict[str, Any] = {}
        top = node
        for parent in parents:
            node[parent] = {}
            node = node[parent]
        node[leaf] = inner
        _merge(tree, top)
    return tree


def _lay_over(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Write ``over`` into ``tree``, key by key; a decoder or tuning of another name replaces the whole of it."""
    for section, choice in CHOICES.items():
        before, after = tree.get(section), over.get(section)
        if isinstance(before, dict) and isinstance(after, Mapping):
            word = before.get(choice.word, choice.default)
            if after.get(choice.word, word) != word:
                before.clear()
    _merge(tree, over)


def _merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        current = tree.get(key)
        if isinstance(current, dict) and isinstance(value, Mapping):
            _merge(current, value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value


def _describe(error: ValidationError, source: object) -> str:
    """Return all errors of a recipe as one message, each with the key that was typed and what is allowed."""
    known = keys()
    leaves: dict[str, list[str]] = {}
    for one in error.errors():
        location = [str(part) for part in one["loc"] if not _is_union_tag(str(part))]
        choice = CHOICES.get(location[0]) if location else None
        if choice and len(location) > 2 and location[1] in choice.kinds:
            del location[1]  # pydantic names the chosen member of the union
        path = ".".join(location)
        if one["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            message = f"unknown key {path!r}.{_nearest_key(path, known)}"
        elif one["type"] == "union_tag_invalid" and choice:
            given, path = one["input"][choice.word], choice.key
            message = (
                f"{path} {given!r} is unknown; allowed: {', '.join(choice.kinds)}."
                f"{nearest(str(given), choice.kinds)}"
            )
        elif one["type"] in ("dataclass_type", "model_attributes_type"):
            inside = [key for key in known if key.startswith(f"{path}.")]
            message = f"{path} = {one['input']!r}: a section has keys of its own, such as {inside[0]}"
        else:
            message = f"{path} = {one['input']!r}: {one['msg'][0].lower()}{one['msg'][1:]}"
        leaves.setdefault(path, []).append(message)
    lines = []
    for messages in leaves.values():
        # a value that fits no member of a union is reported once per member: join what would be allowed
        first, *others = messages
        extra = dict.fromkeys(m.split(": ", 1)[1] for m in others if ": " in m and m != first)
        lines.append(first + "".join(f", or {e}" for e in extra))
    return _listed(source, lines)


def _nearest_key(path: str, known: Mapping[str, object]) -> str:
    """Return the hint for an unknown key: another decoder's or tuning's, a neighbour, or the same word elsewhere."""
    if path in known:
        choice = CHOICES[path.partition(".")[0]]
        return f" Another {choice.section} has it: set {choice.key}, too."
    parent, _, leaf = path.rpartition(".")
    inside = f"{parent}." if parent else ""
    neighbours = {inside + key[len(inside) :].split(".")[0] for key in known if key.startswith(inside)}
    elsewhere = [key for key in known if key.rpartition(".")[2] == leaf]
    meant = elsewhere or _like(leaf, neighbours) or _like(leaf, known)
    return f" Did you mean {', '.join(meant)}?" if meant else ""


def _like(leaf: str, candidates: Iterable[str]) -> list[str]:
    """Return up to three dotted candidates whose last word is nearly ``leaf``, the nearest first."""
    by_leaf = {key.rpartition(".")[2]: key for key in sorted(candidates)}
    return [by_leaf[word] for word in difflib.get_close_matches(leaf.lower(), by_leaf, n=3, cutoff=0.6)]


_UNION_TAGS = ("int", "float", "bool", "str", "constrained-int", "constrained-float", "literal")


def _is_union_tag(part: str) -> bool:
    """Whether a piece of pydantic's location names a member of a union, not a key."""
    return "[" in part or part in _UNION_TAGS


def _listed(source: object, lines: list[str]) -> str:
    place = f"Recipe {source}" if isinstance(source, str | Path) else "The recipe"
    count = "1 thing is" if len(lines) == 1 else f"{len(lines)} things are"
    return f"{place}: {count} wrong.\n" + "\n".join(f"  - {line}" for line in lines)
