"""What the metrics refuse in the same words: names that do not fit, sizes that differ, classes that no one has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vfmseg.errors import LabelError


def of_image(name: str) -> str:
    """Return ``" of image 'a.png'"``, or nothing where the image has no name."""
    return f" of image {name!r}" if name else ""


def checked_names(names: Sequence[str], num_classes: int) -> tuple[str, ...]:
    """Return the names as a tuple, one per class and all different, as they become keys of the flat row.

    Raises:
        LabelError: There are more or fewer names than classes, or two classes have one name.
    """
    if len(names) != num_classes:
        raise LabelError(
            f"{num_classes} classes were counted, but {len(names)} class names were given. "
            "Give one name per class, in the order of the ids."
        )
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise LabelError(
            f"Two classes are called {twice[0]!r}: scores are reported by name, so every class needs "
            "its own. Rename one in the data set's class list."
        )
    return tuple(names)


def refuse_other_size(predicted: Sequence[int], true: Sequence[int], name: str) -> None:
    """Raise LabelError unless the (H, W) of the prediction is that of the label."""
    if tuple(predicted) != tuple(true):
        raise LabelError(
            f"The prediction{of_image(name)} has size {tuple(predicted)}, its label {tuple(true)}: "
            "scores are counted at the label's own size. Resize the prediction to it first."
        )


def refuse_unknown_classes(classes: NDArray[np.int64], num_classes: int, what: str, name: str) -> None:
    """Raise LabelError if one of the (S,) classes is not in ``0..num_classes - 1``.

    Args:
        classes: (S,) classes of segments.
        num_classes: K.
        what: Whose segments they are: ``"label"`` or ``"prediction"``.
        name: What to call the image.
    """
    strange = np.unique(classes[(classes < 0) | (classes >= num_classes)]).tolist()
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (" ..." if len(strange) > 5 else "")
        raise LabelError(
            f"The {what}{of_image(name)} has segments of class {shown}, which does not exist: the classes are "
            f"0..{num_classes - 1}. The {what} was made for another label space than the one being scored."
        )
