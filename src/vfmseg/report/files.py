"""Text in, a file out that is there whole or not at all; a JSON file in, its content or what to do about it out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vfmseg.errors import CheckpointError, ResourceError
from vfmseg.models.writing import partial_of


def write_whole(path: Path, text: str) -> None:
    """Write a text file, and the folders it lies in; what stood there before stays until it is complete.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", newline="")
        os.replace(partial, path)
    except OSError as error:
        raise ResourceError(
            f"{path} could not be written: {error.strerror}. Free some space, or make the folder writable, and type "
            "`vfmseg report` again."
        ) from error
    finally:
        if path.parent.is_dir():
            partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; None where there is no file.

    Raises:
        CheckpointError: It is not JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise unreadable(path, f"it is not JSON ({error})") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object that a JSON file holds; None where there is no file.

    Raises:
        CheckpointError: It is not JSON, or no object.
    """
    content = read_json(path)
    if content is not None and not isinstance(content, dict):
        raise unreadable(path, f"it holds a {type(content).__name__}, not an object")
    return content


def unreadable(path: Path, reason: str, *, needed: bool = False) -> CheckpointError:
    """Return the error that says what is wrong with a file of the run, and the way out.

    Args:
        path: The file.
        reason: The second half of a sentence, without its full stop.
        needed: There is no report without the file.
    """
    way_out = "Restore it" if needed else "Restore it, or remove it to get a report without it"
    return CheckpointError(f"{str(path)!r} cannot be read: {reason}. {way_out}.")
