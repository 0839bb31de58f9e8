"""``vfmseg list``: what there is to choose from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

TAKES_RECIPE_KEYS = False
KINDS = ("encoders", "tunings", "decoders", "datasets", "recipes")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("kind", choices=KINDS, help="what to show")
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Print the list."""
    rows = _ROWS[options.kind]()
    print(json.dumps(rows, indent=2) if options.json else _table(rows))
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
    from vfmseg.data.catalog import DATASETS

    return [
        {
            "name": name,
            "title": info.title,
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

    rows = []
    for name in list_recipes():
        first = find_recipe(name).read_text(encoding="utf-8").splitlines()[0]
        rows.append({"name": name, "what": first.lstrip("# ").rstrip(":")})
    return rows


_ROWS = {
    "encoders": _encoders,
    "tunings": lambda: _words("vfmseg.models.tuning.catalog", "TUNINGS"),
    "decoders": lambda: _words("vfmseg.models.decoders.catalog", "DECODERS"),
    "datasets": _datasets,
    "recipes": _recipes,
}


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as aligned columns; numbers to the right, the last column free."""
    names = list(rows[0])
    cells = [names, *[[str(row[name]) for name in names] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    numeric = [all(isinstance(row[name], int | float) for row in rows) for name in names]

    def line(words: Sequence[str]) -> str:
        padded = [
            word.rjust(width) if right else word.ljust(width)
            for word, width, right in zip(words, widths, numeric, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join(line(words) for words in cells)
