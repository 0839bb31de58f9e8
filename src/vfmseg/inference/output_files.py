"""Pictures and JSON of predictions in, files out: each there whole or not at all, however many images it speaks of."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from vfmseg.errors import ResourceError


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while writing into ``folder`` into one clear error.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ResourceError(f"{folder} could not be written: {error}. Choose another --out.") from error


def place(folder: Path, name: str) -> Path:
    """Return the path of file ``name``, which may hold subfolders, and make its folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class Spool:
    """A long JSON list that waits on disk, in a file without a name that vanishes with the process.

    Args:
        folder: whose disk is used; there.
    """

    def __init__(self, folder: Path) -> None:
        self._file: TextIO = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115 - see close
        self._is_empty = True

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record to the list."""
        self._file.write(("\n" if self._is_empty else ",\n") + json.dumps(record, allow_nan=False))
        self._is_empty = False

    def copy_to(self, stream: TextIO) -> None:
        """Write the list as JSON, a record a line."""
        stream.write("[")
        self._file.seek(0)
        shutil.copyfileobj(self._file, stream)
        stream.write("]" if self._is_empty else "\n]")

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def __enter__(self) -> Spool:
        """Return itself; closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()


def write_spooled(path: Path, content: Spool | Mapping[str, Any]) -> None:
    """Write JSON whole or not at all.

    Args:
        path: of the file; its folder exists.
        content: a list, or a mapping whose values may be lists that wait on disk.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            if isinstance(content, Spool):
                content.copy_to(stream)
            else:
                _write_mapping(stream, content)
            stream.write("\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_mapping(stream: TextIO, content: Mapping[str, Any]) -> None:
    for number, (key, value) in enumerate(content.items()):
        stream.write(f"{',' if number else '{'}\n{json.dumps(key)}: ")
        if isinstance(value, Spool):
            value.copy_to(stream)
        else:
            stream.write(json.dumps(value, allow_nan=False))
    stream.write("\n}")
