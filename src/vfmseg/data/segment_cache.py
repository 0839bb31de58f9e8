"""Arrays read out of large annotation files -> files in the cache, mapped into memory when used again.

Mapped arrays belong to the system's file cache: all loader workers share them, and none of them holds any.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfmseg.data.cache import cache_dir

logger = logging.getLogger(__name__)


class Arrays(Mapping[str, NDArray[Any]]):
    """Named arrays, in memory or mapped from a folder; copies for other processes map the folder again."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], key: str, *, is_mapped: bool = False) -> None:
        self._arrays = dict(arrays)
        self._is_mapped = is_mapped
        self.key = key
        """Differs whenever the content may have changed."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            (_map, (self.key, _folder(self.key))) if self._is_mapped else (Arrays, (self._arrays, self.key))
        )


def load_arrays(key: str) -> Arrays | None:
    """Return the arrays cached under a key, or None."""
    folder = _folder(key)
    if not folder.is_dir():
        return None
    try:
        return _map(key, folder)
    except (OSError, ValueError, EOFError) as error:
        logger.warning("The cached annotations %s cannot be used (%s): reading them again.", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def save_arrays(key: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Keep arrays under a key and return them, mapped; in memory where the cache cannot be written."""
    folder = _folder(key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{key}."))
        try:
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            temporary.chmod(0o755)  # temporary folders are for their owner alone
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster, with the same arrays
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return _map(key, folder)
    except OSError as error:
        logger.warning(
            "The annotations could not be kept in %s (%s): they stay in memory and will be read again next time. "
            "Set VFMSEG_CACHE to a folder that can be written.",
            folder.parent,
            error.strerror or error,
        )
        return Arrays(arrays, key)


def _map(key: str, folder: Path) -> Arrays:
    arrays = {path.stem: _map_file(path) for path in sorted(folder.glob("*.npy"))}
    return Arrays(arrays, key, is_mapped=True)


def _map_file(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array cannot be mapped
        return np.load(path, allow_pickle=False)


def _folder(key: str) -> Path:
    return cache_dir() / "annotations" / key
