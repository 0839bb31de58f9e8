"""Patterns such as ``["*", "!0001TP*"]`` and a list of paths -> the paths that are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from vfmseg.errors import DataError

_SHOWN: Final = 4


def select(names: Sequence[str], patterns: Sequence[str], title: str) -> set[str]:
    """Return the names that patterns choose.

    ``*`` stands for any characters, also ``/``; a pattern without ``/`` is compared with file names, one
    without ``*`` may also name a folder; a pattern may leave out the folders at the top; ``!pattern`` takes
    names away. Exclusions alone start from all names.

    Raises:
        DataError: a pattern fits no name.
    """
    positive = [p for p in patterns if not p.startswith("!")]
    chosen = set() if positive else set(names)
    for pattern in [*positive, *(p for p in patterns if p.startswith("!"))]:
        wanted = pattern.removeprefix("!").removeprefix("./").rstrip("/")
        hits = {name for name in names if _fits(name, wanted)}
        if not hits:
            raise DataError(
                f"{title}: the pattern {pattern!r} fits no image. Images are, for example, "
                f"{', '.join(names[:_SHOWN]) or 'none'}."
            )
        chosen = chosen - hits if pattern.startswith("!") else chosen | hits
    return chosen


def _fits(name: str, pattern: str) -> bool:
    if "/" not in pattern and fnmatchcase(name.rpartition("/")[2], pattern):
        return True
    return any(
        fnmatchcase(f"/{name}", f"{before}/{pattern}{after}") for before in ("", "*") for after in ("", "/*")
    )
