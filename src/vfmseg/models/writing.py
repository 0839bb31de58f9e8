"""A file to write in, a file that is there whole or not at all out, or one clear error that says why not."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from vfmseg.errors import ResourceError

_PARTIAL = ".partial"
_LEFT_SECONDS = 3600
"""Longer than any file takes between two bytes."""


class writing:  # noqa: N801 - reads as a word in a with statement
    """Turns what goes wrong while writing into ``folder`` into one clear error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate OSError and safetensors' and torch's wrappings of it."""
        if error is None:
            return
        text = str(error)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        full = full or "No space left" in text or "os error 28" in text or "file write failed" in text
        if full:
            raise ResourceError(
                f"The disk is full: {self.folder} could not be written. What was saved there before is untouched. "
                "Free some space, or choose another disk with --out, and go on: runs with --resume, studies with --retry."
            ) from error
        if isinstance(error, OSError | SafetensorError):
            raise ResourceError(
                f"{self.folder} could not be written: {text}. Choose another --out."
            ) from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, and rename it to ``path`` at the end: what stood there before stays until then.

    Processes that write the same file at once each write one of their own, and the last to end has written it. What a
    killed process has left of it is deleted after an hour.

    Args:
        path: its folder is there.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    partial = partial_of(path)
    with writing(path.parent):
        try:
            _delete_left(path)
            yield partial
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong before is what is said
                partial.unlink(missing_ok=True)
            raise


def _delete_left(path: Path) -> None:
    """Delete what has been written by nobody for so long that its process must have been killed."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*{_PARTIAL}"):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                left.unlink()


def partial_of(path: Path) -> Path:
    """Return what a file is called while this process writes it; no other process, on any machine, calls it so."""
    return path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}{_PARTIAL}")
