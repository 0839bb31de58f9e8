"""A few raw labels of somebody's data set -> a YAML description to correct, as names cannot be guessed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vfmseg.data.annotations import pack_colours, unpack_colour
from vfmseg.data.spec import MAX_CLASSES, format_ranges
from vfmseg.types import IGNORE_INDEX

MAX_LABELS: Final = 48
"""Labels looked at: enough to meet most classes, quick at any size."""

_MAX_COLOURS: Final = 64


def propose_description(path: str, labels: Iterable[NDArray[np.uint8] | NDArray[np.uint16]]) -> str:
    """Return the text of a YAML file that fits the values seen.

    Args:
        path: of the data, as it should stand in the file.
        labels: raw labels, (H, W) values or (H, W, 3) colours.
    """
    values: dict[int, int] = {}
    colours: dict[int, int] = {}
    count = 0
    for count, label in enumerate(labels, start=1):  # noqa: B007
        is_rgb = label.ndim == 3
        flat = pack_colours(label) if is_rgb else label
        seen = colours if is_rgb else values
        for value, number in zip(
            *(part.tolist() for part in np.unique(flat, return_counts=True)), strict=True
        ):
            seen[value] = seen.get(value, 0) + number
    lines = [f"path: {json.dumps(path, ensure_ascii=False)}"]
    lines += _from_colours(colours, count) if colours else _from_values(values, count)
    return "\n".join(lines) + "\n"


def _from_values(values: dict[int, int], count: int) -> list[str]:
    found = sorted(values)
    note = f"# values in {count} labels: {format_ranges(found)}"
    if found == [0, IGNORE_INDEX]:
        return [
            note,
            "# 255 is taken as the object; should it mean `no label`, write label_map: {0: 0, 255: ignore}",
            "names: {0: background, 1: object}",
            "label_map: {0: 0, 255: 1}",
        ]
    classes = [value for value in found if value != IGNORE_INDEX]
    if len(classes) > MAX_CLASSES:
        return [
            note,
            f"# {len(classes)} values are more than the {MAX_CLASSES} classes possible: are they class ids?",
            "names:",
        ]
    largest = max(classes, key=lambda value: values[value], default=0)
    return [note, "names:", *(f"  {v}: class_{v}{'  # the most pixels' * (v == largest)}" for v in classes)]


def _from_colours(colours: dict[int, int], count: int) -> list[str]:
    by_pixels = sorted(colours, key=lambda code: -colours[code])
    note = [f"# {len(colours)} colours in {count} labels stored as RGB, the most pixels first"]
    if len(by_pixels) > _MAX_COLOURS:
        note.append(
            f"# only {_MAX_COLOURS} are listed; so many mean that the labels were resized or are JPEGs"
        )
    listed = list(enumerate(by_pixels[:_MAX_COLOURS]))
    return [
        *note,
        "names:",
        *(f"  {i}: class_{i}" for i, _ in listed),
        "colours:",
        *(f"  {i}: {list(unpack_colour(code))}" for i, code in listed),
    ]
