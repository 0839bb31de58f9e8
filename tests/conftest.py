"""What every test shares: ``support`` is importable, and nobody's real cache is read or written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache folder of its own, and return it."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VFMSEG_CACHE", str(folder))
    return folder
