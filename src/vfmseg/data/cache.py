"""Things worth keeping between runs -> files in the user's cache folder, written whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from vfmseg.errors import ResourceError

logger = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Return the cache folder: ``$VFMSEG_CACHE``, or ``~/.cache/vfmseg``. It need not exist yet."""
    chosen = os.environ.get("VFMSEG_CACHE")
    return Path(os.path.expanduser(chosen)) if chosen else Path.home() / ".cache" / "vfmseg"


def digest(text: str) -> str:
    """Return a short, stable name for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a file that appears at ``path`` complete or not at all.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def unpack_once(title: str, key: str, open_stream: Callable[[], IO[bytes]]) -> Path:
    """Decompress a stream that cannot be read at random into the cache, once, and return the file.

    Args:
        title: what is decompressed, for messages.
        key: changes whenever the content may have changed (path, size, modification time).
        open_stream: opens the decompressed bytes.

    Raises:
        ResourceError: the cache folder is full or cannot be written.
        OSError: without a number, and whatever else ``open_stream`` raises on damaged bytes.
    """
    target = cache_dir() / "unpacked" / digest(key)
    if target.is_file():
        return target
    logger.warning(
        "%s is compressed as a whole, which allows no random access: decompressing it once to %s",
        title,
        target,
    )

    def copy(file: IO[bytes]) -> None:
        with open_stream() as stream:
            shutil.copyfileobj(stream, file, length=1 << 20)

    try:
        write_atomically(target, copy)
    except PermissionError as error:
        raise ResourceError(_no_room(title, target, "the folder cannot be written")) from error
    except OSError as error:
        if error.errno is None:  # the stream is damaged
            raise
        raise ResourceError(_no_room(title, target, error.strerror or str(error))) from error
    return target


def _no_room(title: str, target: Path, why: str) -> str:
    return (
        f"{title} must be decompressed once to be read, but {target.parent}: {why}. "
        "Set VFMSEG_CACHE to a folder with room, or decompress the file yourself."
    )
