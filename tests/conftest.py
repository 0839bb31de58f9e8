"""What every test shares: ``support`` is importable, and nobody's real cache is read or written."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same examples on any machine
settings.load_profile("repeatable")

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def what_is_loaded_is_no_garbage() -> None:
    """Spare the collection of garbage, with which every run ends, the millions of objects of modules and tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def session_cache_folder() -> Iterator[Path]:
    """Give fixtures that outlive a test a cache folder, too."""
    before = os.environ.get("VFMSEG_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VFMSEG_CACHE"] = folder
        (Path(folder) / "scenes").mkdir()
        yield Path(folder)
    if before is None:
        del os.environ["VFMSEG_CACHE"]
    else:
        os.environ["VFMSEG_CACHE"] = before


@pytest.fixture(autouse=True)
def cache_folder(
    session_cache_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give each test a cache folder of its own, and return it; only scenes, the same for all, are drawn once."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "scenes").symlink_to(session_cache_folder / "scenes", target_is_directory=True)
    monkeypatch.setenv("VFMSEG_CACHE", str(folder))
    return folder
