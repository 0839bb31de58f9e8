"""Rooms import in one direction, heavy libraries have their doors, and help waits for none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vfmseg.cli.program import VERBS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "timm", "transformers", "lightning", "cv2", "tensorboard", "scipy")


def loaded_by(code: str) -> set[str]:
    """Return which heavy libraries a fresh Python has loaded after ``code``."""
    report = f"\nimport sys\nprint('loaded:', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].removeprefix("loaded:").split())


def test_import_contracts__are_kept() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_import_contracts__place_every_room() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c for c in contracts if c["name"] == "Data walks one way through the rooms")["layers"]
    names = {name.strip() for layer in layers for name in layer.split("|")}
    placed = {name.removeprefix("vfmseg.") for name in names if not name.startswith("(")}  # (room): to come
    package = ROOT / "src" / "vfmseg"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    files = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert placed == rooms | files


def test_heavy_libraries__are_seen_by_the_probe() -> None:
    assert loaded_by("import cv2") == {"cv2"}


def test_import_vfmseg__loads_nothing_heavy() -> None:
    assert loaded_by("import vfmseg") == set()


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help__loads_nothing_heavy(words: list[str]) -> None:
    code = f"""
import contextlib, io
from vfmseg.cli.program import main
with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
    main({words!r})
assert printed.getvalue()
"""
    assert loaded_by(code) == set()


@pytest.mark.parametrize("kind", ["encoders", "tunings", "decoders", "datasets", "recipes"])
def test_list__loads_nothing_heavy(kind: str) -> None:
    assert loaded_by(f"from vfmseg.cli.program import main\nassert main(['list', {kind!r}]) == 0") == set()


def test_mistakes__in_a_recipe_are_found_before_anything_heavy_is_loaded() -> None:
    words = ["fit", "-c", "scenes_linear_semantic", "--training.steps"]
    code = f"from vfmseg.cli.program import main\nassert main({words}) == 2"
    assert loaded_by(code) == set()
