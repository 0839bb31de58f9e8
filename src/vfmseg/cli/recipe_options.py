"""What the verbs that take a recipe share: ``-c``, recipe keys as options, and their help."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from vfmseg.runs.recipe import LoadedRecipe


def add_recipe_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add ``-c`` and say that any recipe key is an option; the keys are listed in the epilog."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="RECIPE",
        required=required,
        help="a recipe file, or the name of one that comes with vfmseg (`vfmseg list recipes`)",
    )
    parser.usage = f"{parser.prog} [options] [--recipe.key value ...]"
    parser.epilog = _keys_help()


def read(
    config: str | None, words: list[str], *, extra: dict[str, object] | None = None, trains: bool = True
) -> LoadedRecipe | None:
    """Return the recipe with the options laid over it, or None where no recipe was given.

    Args:
        config: a recipe file or name.
        words: recipe keys and published options with their values.
        extra: what the verb itself lays over all that.
        trains: whether the verb is fit, where some published options mean something else.

    Raises:
        RecipeError: whatever is wrong with the recipe or the options.
    """
    from vfmseg.runs.recipe_reader import read_recipe

    found, notes, name = parse(words, trains=trains)
    if config is None:
        return None
    loaded = read_recipe(config, {**found, **(extra or {})}, notes=notes)
    return replace(loaded, name=name) if name else loaded


def parse(words: list[str], *, trains: bool = True) -> tuple[dict[str, Any], tuple[str, ...], str]:
    """Return dotted recipe keys and values, notes on how they were understood, and the run's name if one was given."""
    from vfmseg.cli.aliases import set_aside, translate
    from vfmseg.cli.options import parse_overrides

    found, notes = parse_overrides(words)
    aside = set_aside(found, trains=trains)
    return translate(aside.options), (*notes, *aside.notes), aside.run_name


def _keys_help() -> str:
    import textwrap

    from vfmseg.cli.aliases import ALIASES, RANDOM_WEIGHTS, REFUSED, SAID
    from vfmseg.runs.recipe_keys import keys

    lines = ["recipe keys, each an option (--training.steps 100):"]
    for key, (default, documentation) in keys().items():
        lines.append(f"  --{key}  [{default}]")
        lines += textwrap.wrap(documentation, 96, initial_indent="      ", subsequent_indent="      ")
    lines += [
        "",
        f"  --{RANDOM_WEIGHTS}",
        "      build any model without its weights (encoder.weights random)",
    ]
    lines += ["", "options of the published programs and what they mean here:"]
    lines += [f"  --{name}: {meaning}" for name, (meaning, _) in ALIASES.items()]
    lines += [f"  --{name}: {meaning}" for name, meaning in SAID.items()]
    lines += [f"  --{name}: refused; {meaning}" for name, meaning in REFUSED.items()]
    return "\n".join(lines)
