"""``vfmseg check-data``: a folder, archive, YAML file or recipe in, what is wrong with its data out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vfmseg.cli.recipe_options import add_recipe_options

if TYPE_CHECKING:
    from vfmseg.runs.recipe import LoadedRecipe

TAKES_RECIPE_KEYS = True

_PROGRESS_EVERY = 50
"""Samples between two updates of the line on the terminal."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "source",
        nargs="?",
        help="a folder or archive with images and labels, the YAML file that describes one, or a recipe; "
        "with --data.name NAME the folder with the downloads of that data set. It is examined for the recipe's task or "
        "--task; a folder of your own, where neither is given, for its semantic labels, or else for those it has",
    )
    parser.add_argument(
        "--split",
        action="append",
        choices=("train", "val", "test"),
        help="which split; may be repeated (default: all there are)",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="look at no more than N samples a split, evenly spread"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write all findings there; - prints them, not the text"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 also for warnings, not only for errors"
    )
    add_recipe_options(parser, required=False)


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Examine and print."""
    from vfmseg.errors import RecipeError, ResourceError

    if (options.source is None) == (options.config is None):
        raise RecipeError(
            "Say what to examine, one of: vfmseg check-data DIR_OR_ZIP, vfmseg check-data FILE.yaml, "
            "vfmseg check-data RECIPE, vfmseg check-data DIR --data.name ade20k."
        )
    if options.json not in (None, "-") and not Path(options.json).absolute().parent.is_dir():
        parent = Path(options.json).parent
        raise RecipeError(f"--json {options.json}: there is no folder {parent}. Make it first.")
    loaded = read(options.source, options.config, words)
    for note in loaded.notes:
        print(note, file=sys.stderr)
    data = loaded.recipe.data
    from vfmseg.runs.data_place import data_place

    name, path = data_place(data)

    from vfmseg.data.doctor import examine
    from vfmseg.data.doctor_text import render

    is_said = options.config is not None or is_recipe(options.source) or "task" in loaded.given
    report = examine(
        path,
        name=name,
        task=loaded.recipe.task if is_said else None,  # of a folder: whatever labels it has
        splits=options.split or (),
        limit=options.limit,
        allow_unpaired=data.allow_unpaired,
        skip_bad=data.skip_bad,
        skip_constant_labels=data.skip_constant_labels,
        allow_missing=data.allow_missing,
        val_fraction=data.val_fraction,
        progress=_show_progress if sys.stderr.isatty() else None,
    )
    if options.json == "-":
        print(_printable(report.to_json()), end="")
        return report.exit_code(options.strict)
    print(_printable(render(report)), end="")
    if options.json is not None:
        try:
            Path(options.json).write_text(_printable(report.to_json()), encoding="utf-8")
        except OSError as error:
            raise ResourceError(f"--json {options.json} cannot be written: {error.strerror}.") from error
    return report.exit_code(options.strict)


def read(source: str | None, config: str | None, words: list[str]) -> LoadedRecipe:
    """Return a recipe whose data section is what the words of the command line mean.

    Args:
        source: a folder, archive, YAML file or recipe; None where ``config`` is given.
        config: a recipe.
        words: recipe keys as options.

    Raises:
        RecipeError: whatever is wrong with the recipe or the options.
    """
    from vfmseg.cli.aliases import translate
    from vfmseg.cli.options import parse_overrides
    from vfmseg.errors import RecipeError
    from vfmseg.runs.recipe_reader import read_recipe

    found, notes = parse_overrides(words)
    overrides = translate(found)
    recipe = config or (source if source is not None and is_recipe(source) else None)
    if recipe is not None:
        return read_recipe(recipe, overrides, notes=tuple(notes))
    if "data.path" in overrides:
        raise RecipeError(f"Say one path to examine: {source}, or --data.path {overrides['data.path']}.")
    # the decoder is of no matter to the data, and a task that needs masks must not be refused for it
    tree = {"data": {"name": "folder", "path": source}, "decoder": {"name": "eomt"}}
    return read_recipe(tree, overrides, notes=tuple(notes))


def is_recipe(source: str) -> bool:
    """Tell whether a path or name means a recipe (also of a run folder) and not data or their description."""
    from vfmseg.data.description import KEYS
    from vfmseg.data.folder_plan import YAML_ENDINGS
    from vfmseg.data.source import read_text
    from vfmseg.data.yaml_text import load_yaml
    from vfmseg.errors import RecipeError
    from vfmseg.runs.recipe import Recipe
    from vfmseg.runs.recipe_reader import find_recipe

    path = Path(source)
    if path.is_dir():
        return (path / "recipe.yaml").is_file()
    if path.suffix.lower() in YAML_ENDINGS and path.is_file():
        tree = load_yaml(read_text(path), source)
        sections = {str(key).partition(".")[0] for key in tree} if isinstance(tree, dict) else set()
        return bool(sections & set(Recipe.__dataclass_fields__) - set(KEYS))
    if path.exists():
        return False
    try:
        find_recipe(source)
    except RecipeError:
        return False  # then it is a path that does not exist, which is said when it is opened
    return True


def _printable(text: str) -> str:
    r"""Write bytes of file names that are not UTF-8 as ``\udcdf``, which JSON knows, too."""
    return text.encode("utf-8", "backslashreplace").decode()


def _show_progress(done: int, total: int) -> None:
    if done % _PROGRESS_EVERY == 0 or done == total:
        print(f"\r{done:,} of {total:,}" + "\n" * (done == total), end="", file=sys.stderr, flush=True)
