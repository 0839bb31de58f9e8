"""The small YAML file that describes a folder data set -> classes, label map and splits; or all its mistakes.

::

    path: camvid.zip            # folder or archive, relative to this file; the file's own folder if left out
    train: ["*", "!0001TP*"]    # optional: folder, list file or patterns; found by itself if left out
    val: "0001TP*"
    names: {0: sky, 1: road}    # or a list
    label_map: {0: 0, 3: 1, 4: ignore}   # optional: raw value -> id in names; then every value must be listed
    ignore_index: 255           # raw value without a class
    colours: {0: [70, 130, 180], 1: [128, 64, 128], ignore: [[0, 0, 0]]}   # needed for RGB masks only
    things: [car]               # optional: countable classes
    val_fraction: 0.1           # optional, where there is no split: this share, drawn with `seed`
    seed: 0
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vfmseg.data.spec import MAX_CLASSES, LabelMap, load_yaml
from vfmseg.errors import DataError, nearest
from vfmseg.types import IGNORE_INDEX, LabelSpace

KEYS: Final = (
    "path", "train", "val", "test", "names", "label_map", "ignore_index", "colours", "things", "val_fraction", "seed",
)  # fmt: skip
_SPLITS: Final = ("train", "val", "test")
_MAX_RAW: Final = 65535
_GOLDEN_RATIO: Final = 0.618034
Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What the YAML file says, checked."""

    path: str
    """Folder or archive as written; relative to the file. Empty: the file's own folder."""
    patterns: Mapping[str, tuple[str, ...]]
    """Split -> patterns, for the splits that are given."""
    label_map: LabelMap
    val_fraction: float
    """0 where not asked for."""
    seed: int


def read_description(text: str, title: str) -> Description:
    """Parse and check the YAML text of a folder data set.

    Args:
        text: the file's content.
        title: what messages call the file.

    Raises:
        DataError: not YAML, or with mistakes; one message lists all of them.
    """
    raw = load_yaml(text, title)
    if not isinstance(raw, dict):
        raise DataError(f"{title} should hold `key: value` lines, such as `names: [background, object]`.")
    problems = [f"{key!r} is no key here.{nearest(str(key), KEYS)}" for key in raw if key not in KEYS]
    names = _names(raw.get("names"), problems)
    ids = list(names)
    colours, ignored_colours = _colours(raw.get("colours"), names, problems)
    ignored = _integers(raw.get("ignore_index", IGNORE_INDEX), "ignore_index", problems)
    raw_to_id = dict.fromkeys(ignored, IGNORE_INDEX)
    raw_to_id.update(_raw_to_id(raw.get("label_map"), ids, ignored, problems))
    things = _things(raw.get("things", []), names, problems)
    patterns = {split: _patterns(raw[split], split, problems) for split in _SPLITS if split in raw}
    val_fraction, seed = raw.get("val_fraction", 0.0), raw.get("seed", 0)
    if isinstance(val_fraction, bool) or not isinstance(val_fraction, int | float) or not 0 <= val_fraction < 1:
        problems.append(f"val_fraction is {val_fraction!r}; it should be a share from 0 to below 1.")
    if not _is_integer(seed) or seed < 0:
        problems.append(f"seed is {seed!r}; it should be an integer from 0 up.")
    if not isinstance(raw.get("path", ""), str):
        problems.append(f"path is {raw['path']!r}; it should be text.")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise DataError(f"{title} has {len(problems)} mistake{'s' * (len(problems) > 1)}:{listed}")
    shown = colours or dict(zip(ids, default_colours(len(ids)), strict=True))
    space = LabelSpace(tuple(names.values()), tuple(shown[i] for i in ids), tuple(i in things for i in ids))
    by_colour = {colour: i for i, colour in colours.items()}
    if ignored_colours:
        void = next(value for value in range(_MAX_RAW, 0, -1) if value not in raw_to_id)
        raw_to_id[void] = IGNORE_INDEX
        by_colour.update(dict.fromkeys(ignored_colours, void))
    if by_colour:  # colours name ids directly, whatever label_map says about indices
        by_colour, raw_to_id = _separate_colours(by_colour, ids, raw_to_id)
    label_map = LabelMap(space, raw_to_id, by_colour)
    return Description(
        path=raw.get("path", ""), patterns=patterns, label_map=label_map, val_fraction=float(val_fraction), seed=seed
    )


def default_colours(count: int) -> list[Colour]:
    """Return distinct RGB colours: hues one golden ratio apart, brightness alternating."""
    colours = []
    for i in range(count):
        red, green, blue = colorsys.hsv_to_rgb(i * _GOLDEN_RATIO % 1, 0.75, (0.95, 0.7)[i % 2])
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours
