"""Names of images and a regular expression in, groups of images out: frames of one video are drawn together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EXAMPLE = "/([^/_]+)_[^/]*$"


@dataclass(frozen=True, eq=False)
class ImageGroups:
    """Which images belong together."""

    labels: NDArray[np.int64]
    """(N,) number of each image's group, 0 to G - 1, in the order in which groups first occur."""
    unmatched: tuple[str, ...]
    """Names that the expression does not find: each is a group of its own."""

    @property
    def num_groups(self) -> int:
        """G."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    @property
    def matches_none(self) -> bool:
        """Whether no name is matched, so that groups are images."""
        return len(self.unmatched) == len(self.labels)


def wrong_pattern(pattern: str) -> str | None:
    """Return what is wrong with an expression, without a full stop; None if it has exactly one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        return f"{pattern!r} is no regular expression ({error})"
    if groups == 1:
        return None
    has = "no group" if not groups else f"{groups} groups"
    return (
        f"{pattern!r} has {has}; put in parentheses, once, what the names of images of one video share, such as "
        f"{_EXAMPLE!r}, and write other parentheses as (?:...)"
    )


def group_images(names: Sequence[str], pattern: str) -> ImageGroups:
    """Return the groups of images.

    Args:
        names: N names, as data sets call their images: the path in the archive or folder.
        pattern: A regular expression with one group, searched in each name. Images with equal text in the group are
            one group of images. An image that is not matched, or of which the group takes no part, is one by itself.
    """
    search = re.compile(pattern).search
    numbers: dict[
        tuple[bool, str], int
    ] = {}  # a name that is not matched may read like the text of another's group
    labels, unmatched = [], []
    for name in names:
        match = search(name)
        text = None if match is None else match.group(1)
        if text is None:
            unmatched.append(name)
        key = (False, name) if text is None else (True, text)
        labels.append(numbers.setdefault(key, len(numbers)))
    return ImageGroups(np.array(labels, dtype=np.int64), tuple(unmatched))
