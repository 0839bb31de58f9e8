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

from vfmseg.data.spec import MAX_CLASSES, LabelMap
from vfmseg.data.yaml_text import load_yaml
from vfmseg.errors import DataError, nearest
from vfmseg.types import IGNORE_INDEX, LabelSpace

KEYS: Final = (
    "path", "train", "val", "test", "names", "label_map", "ignore_index", "colours", "things",
    "val_fraction", "seed",
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
    mapped = _raw_to_id(raw.get("label_map"), ids, ignored, problems)
    if "ignore_index" in raw and raw.get("label_map") is not None:
        both = sorted(value for value in ignored if mapped.get(value, IGNORE_INDEX) != IGNORE_INDEX)
        problems += [
            f"{value} has a class in label_map, and ignore_index says that it has none." for value in both
        ]
    raw_to_id.update(mapped)
    things = _things(raw.get("things", []), names, problems)
    patterns = {split: _patterns(raw[split], split, problems) for split in _SPLITS if split in raw}
    val_fraction, seed = raw.get("val_fraction", 0.0), raw.get("seed", 0)
    if (
        isinstance(val_fraction, bool)
        or not isinstance(val_fraction, int | float)
        or not 0 <= val_fraction < 1
    ):
        problems.append(f"val_fraction is {val_fraction!r}; it should be a share from 0 to below 1.")
    if not _is_integer(seed) or seed < 0:
        problems.append(f"seed is {seed!r}; it should be an integer from 0 up.")
    if not isinstance(raw.get("path", ""), str):
        problems.append(f"path is {raw['path']!r}; it should be text.")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise DataError(f"{title} has {len(problems)} mistake{'s' * (len(problems) > 1)}:{listed}")
    shown = colours or dict(zip(ids, default_colours(len(ids)), strict=True))
    space = LabelSpace(
        names=tuple(names.values()),
        colours=tuple(shown[i] for i in ids),
        is_thing=tuple(i in things for i in ids),
        category_ids=tuple(ids),
    )
    by_colour = {colour: ids.index(i) for i, colour in colours.items()}
    by_colour.update(dict.fromkeys(ignored_colours, IGNORE_INDEX))
    label_map = LabelMap(
        space,
        raw_to_id,
        by_colour,
        remedy=f"In {title} say which class they are, or that they are to be ignored: under names, label_map "
        "or ignore_index for values, under colours for RGB masks.",
    )
    return Description(
        path=raw.get("path", ""),
        patterns=patterns,
        label_map=label_map,
        val_fraction=float(val_fraction),
        seed=seed,
    )


def default_colours(count: int) -> list[Colour]:
    """Return distinct RGB colours: hues one golden ratio apart, brightness alternating."""
    colours = []
    for i in range(count):
        red, green, blue = colorsys.hsv_to_rgb(i * _GOLDEN_RATIO % 1, 0.75, (0.95, 0.7)[i % 2])
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def _names(raw: Any, problems: list[str]) -> dict[int, str]:
    """Return id -> name in ascending order of the ids."""
    if isinstance(raw, list):
        raw = dict(enumerate(raw))
    if not isinstance(raw, dict) or not raw:
        problems.append("names is missing: list the classes, as `names: {0: background, 1: object}`.")
        return {}
    wrong = [key for key in raw if not _is_integer(key) or not 0 <= key <= _MAX_RAW]
    if wrong:
        problems.append(f"names has the ids {wrong}; ids are integers from 0 to {_MAX_RAW}.")
    unclear = {key: raw[key] for key in raw if raw[key] is None or isinstance(raw[key], bool | list | dict)}
    problems += [
        f"names has {value!r} for {key}; a name is text, in quotes where YAML takes it for something else (on, no)."
        for key, value in unclear.items()
    ]
    names = {key: str(raw[key]) for key in sorted(set(raw) - set(wrong))}
    twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if twice:
        problems.append(f"names holds {', '.join(twice)} more than once; to merge raw values use label_map.")
    if len(names) > MAX_CLASSES:
        problems.append(f"names holds {len(names)} classes; at most {MAX_CLASSES} are possible.")
        return {}
    return names


def _raw_to_id(raw: Any, ids: list[int], ignored: tuple[int, ...], problems: list[str]) -> dict[int, int]:
    """Return raw value -> class number (position among the ids), from label_map or, without one, the ids."""
    if raw is None:
        clash = sorted(set(ids) & set(ignored))
        if clash:
            problems.append(
                f"{clash[0]} is both a class in names and ignore_index. For masks of 0 and 255 write "
                "`names: [background, object]` and `label_map: {0: 0, 255: 1}`."
            )
        return {i: number for number, i in enumerate(ids)}
    if not isinstance(raw, dict):
        problems.append(f"label_map is {raw!r}; it should be `{{raw value: id or ignore}}`.")
        return {}
    mapped = {}
    for key, value in raw.items():
        if not _is_integer(key) or not 0 <= key <= _MAX_RAW:
            problems.append(
                f"label_map has the raw value {key!r}; raw values are integers from 0 to {_MAX_RAW}."
            )
        elif value == "ignore":
            mapped[key] = IGNORE_INDEX
        elif _is_integer(value) and value in ids:
            mapped[key] = ids.index(value)
        else:
            problems.append(f"label_map sends {key} to {value!r}, which is no id in names and not `ignore`.")
    return mapped


def _colours(raw: Any, names: dict[int, str], problems: list[str]) -> tuple[dict[int, Colour], list[Colour]]:
    """Return id -> colour for all names (or none), and the colours that mean "no class"."""
    if raw is None:
        return {}, []
    if isinstance(raw, list):
        raw = dict(zip(names, raw, strict=False)) if len(raw) == len(names) else raw
    if not isinstance(raw, dict):
        problems.append(f"colours should hold one [red, green, blue] for each of the {len(names)} names.")
        return {}, []
    given = dict(raw)
    void = given.pop("ignore", [])
    if set(given) != set(names):
        differing = sorted(map(str, set(given) ^ set(names)))
        problems.append(f"colours and names do not have the same ids; they differ in {', '.join(differing)}.")
        return {}, []
    void = [void] if _colour(void) else void
    wrong = [
        c for c in (*given.values(), *(void if isinstance(void, list) else [void])) if _colour(c) is None
    ]
    if wrong:
        problems.append(f"colours holds {wrong[0]!r}; a colour is [red, green, blue], each 0 to 255.")
        return {}, []
    colours = {i: c for i in names if (c := _colour(given[i]))}
    ignored = [c for value in void if (c := _colour(value))]
    every = [*colours.values(), *ignored]
    if len(set(every)) < len(every):
        twice = next(c for c in every if every.count(c) > 1)
        problems.append(f"colours holds {list(twice)} more than once.")
    return colours, ignored


def _colour(raw: Any) -> Colour | None:
    if isinstance(raw, list) and len(raw) == 3 and all(_is_integer(v) and 0 <= v <= 255 for v in raw):
        return (raw[0], raw[1], raw[2])
    return None


def _things(raw: Any, names: dict[int, str], problems: list[str]) -> set[int]:
    if not isinstance(raw, list):
        problems.append(f"things is {raw!r}; it should be a list of names or ids.")
        return set()
    id_of: dict[Any, int] = {name: i for i, name in names.items()} | {i: i for i in names}
    raw = [item if isinstance(item, str | int) else str(item) for item in raw]
    unknown = [item for item in raw if item not in id_of]
    problems += [
        f"things holds {item!r}, which names does not.{nearest(str(item), names.values())}"
        for item in unknown
    ]
    return {id_of[item] for item in raw if item in id_of}


def _patterns(raw: Any, split: str, problems: list[str]) -> tuple[str, ...]:
    patterns = [raw] if isinstance(raw, str) else raw
    if not isinstance(patterns, list) or not patterns or not all(isinstance(p, str) and p for p in patterns):
        problems.append(
            f"{split} is {raw!r}; it should be a folder, a list file, a pattern or a list of patterns."
        )
        return ()
    return tuple(patterns)


def _integers(raw: Any, key: str, problems: list[str]) -> tuple[int, ...]:
    values = raw if isinstance(raw, list) else [raw]
    if not all(_is_integer(v) and 0 <= v <= _MAX_RAW for v in values):
        problems.append(f"{key} is {raw!r}; it should be an integer from 0 to {_MAX_RAW}, or a list of them.")
        return ()
    return tuple(values)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
