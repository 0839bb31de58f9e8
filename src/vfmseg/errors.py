"""The exception tree: every mistake a user can make ends in one of these, printed without a traceback.

::

    VfmsegError
    ├── RecipeError        a recipe, flag or combination that makes no sense
    ├── DataError          files, archives, labels
    │   ├── ArchiveError     missing, wrong, truncated archive or folder
    │   ├── ImageError       an image that cannot be decoded
    │   └── LabelError       a label of another size, an id that no class has
    ├── WeightsError       weights that do not fit; carries both lists of names
    ├── HubError           gated, offline or unknown hub model
    ├── StudyError         a study file, or a folder of its results, that makes no sense
    ├── CheckpointError    a run or checkpoint folder that cannot be used
    └── ResourceError      no GPU, disk full, out of memory

A message says what was wrong, what the value was, what is allowed and what to type next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VfmsegError(Exception):
    """Base of all errors that are the user's to mend. ``str(error)`` is the whole message."""


class RecipeError(VfmsegError):
    """A recipe, a flag, or a combination of choices that makes no sense."""


class DataError(VfmsegError):
    """Something is wrong with the data that was given."""


class ArchiveError(DataError):
    """An archive or folder is missing, is not the expected one, or is damaged."""


class ImageError(DataError):
    """An image file cannot be decoded."""


class LabelError(DataError):
    """A label has another size than its image, or an id that no class has."""


class WeightsError(VfmsegError):
    """Weights do not fit the model."""


class HubError(VfmsegError):
    """A model hub refused, could not be reached, or does not know the name."""


class StudyError(VfmsegError):
    """A study file, or a folder of its results, makes no sense."""


class CheckpointError(VfmsegError):
    """A run folder or checkpoint cannot be used."""


class ResourceError(VfmsegError):
    """The machine lacks something: a GPU, disk space, memory."""


def nearest(word: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return ``" Did you mean a, b?"`` for the known words nearest to ``word``, or an empty string."""
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=limit, cutoff=0.5)
    return f" Did you mean {', '.join(lowered[c] for c in close)}?" if close else ""
