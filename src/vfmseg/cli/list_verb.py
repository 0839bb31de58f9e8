"""``vfmseg list``: what there is to choose from."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TAKES_RECIPE_KEYS = False
KINDS = ("encoders", "tunings", "decoders", "datasets", "recipes", "studies")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("kind", choices=KINDS, help="what to show")
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Print the list."""
    rows = _ROWS[options.kind]()
    print(json.dumps(rows, indent=2) if options.json else _table(rows, _BELOW.get(options.kind, ())))
    return 0


def _encoders() -> list[dict[str, Any]]:
    from vfmseg.models.encoders.catalog import ENCODERS

    return [
        {
            "name": info.short,
            "parameters_M": info.parameters_m,
            "blocks": info.num_blocks,
            "dim": info.embed_dim,
            "size": info.native_size,
            "patch": info.native_patch,
            "licence": info.licence,
            "gated": "gated" if info.gated else "open",
            "weights": info.source,
        }
        for info in ENCODERS.values()
    ]


def _words(module: str, table: str) -> list[dict[str, Any]]:
    import importlib

    words: Mapping[str, str] = getattr(importlib.import_module(module), table)
    return [{"name": name, "what": what} for name, what in words.items()]


def _datasets() -> list[dict[str, Any]]:
    from vfmseg.data.catalog import DATASETS, tasks_of

    return [
        {
            "name": name,
            "title": info.title,
            "tasks": ", ".join(tasks_of(name)),
            "classes": info.num_classes or "yours",
            "splits": ", ".join(info.splits),
            "licence": info.licence,
            "files": ", ".join(info.files),
            "from": info.homepage,
        }
        for name, info in DATASETS.items()
    ]


def _recipes() -> list[dict[str, Any]]:
    from vfmseg.runs.recipe_reader import find_recipe, list_recipes

    return [_first_line(name, find_recipe(name)) for name in list_recipes()]


def _studies() -> list[dict[str, Any]]:
    from vfmseg.studies.study_file import find_study, list_studies

    return [_first_line(name, find_study(name)) for name in list_studies()]


def _first_line(name: str, path: Path) -> dict[str, Any]:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return {"name": name, "what": first.lstrip("# ").rstrip(":")}


_ROWS = {
    "encoders": _encoders,
    "tunings": lambda: _words("vfmseg.models.tuning.catalog", "TUNINGS"),
    "decoders": lambda: _words("vfmseg.models.decoders.catalog", "DECODERS"),
    "datasets": _datasets,
    "recipes": _recipes,
    "studies": _studies,
}


_BELOW = {"datasets": ("files", "from")}
"""What stands below a row and not in a column of its own, which would be wider than any terminal."""
_WIDTH = 160


def _table(rows: Sequence[Mapping[str, Any]], below: Sequence[str]) -> str:
    """Return rows as aligned columns; numbers to the right, the last column free, ``below`` in lines of their own."""
    names = [name for name in rows[0] if name not in below]
    cells = [names, *[[str(row[name]) for name in names] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    numeric = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    lines = []
    for words, row in zip(cells, [{}, *rows], strict=True):
        padded = [
            word.rjust(width) if right else word.ljust(width)
            for word, width, right in zip(words, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
        for name in below:
            if row.get(name):
                indent = " " * (widths[0] + 2) + f"{name}: "
                lines += textwrap.wrap(
                    row[name],
                    _WIDTH,
                    initial_indent=indent,
                    subsequent_indent=" " * len(indent),
                    break_long_words=False,
                    break_on_hyphens=False,
                )
    return "\n".join(lines)
