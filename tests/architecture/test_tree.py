"""What is true of every file: short, described, finished, and free of one machine's paths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vfmseg

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "vfmseg"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 300

LONG_FILES: dict[str, str] = {}
"""Files that may be longer than MAX_LINES -> why."""

FRONT_DOORS = {PACKAGE / "__init__.py", PACKAGE / "cli" / "__init__.py"}
"""The two ``__init__.py`` files that hold code: the Python names, and the program's entry point."""

TEXT_SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".html", ".css", ".js", ".svg", ".cfg", ""}


def _text_files() -> Iterator[Path]:
    for name in ("src", "tests", "configs", "docs", "benchmarks", ".ci"):
        yield from sorted(path for path in (ROOT / name).rglob("*") if path.is_file())
    yield from sorted(path for path in ROOT.iterdir() if path.is_file())


TEXT_FILES = [
    path for path in _text_files() if path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module__opens_with_a_sentence(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = ast.get_docstring(tree)
    if path.name == "__init__.py" and path not in FRONT_DOORS:
        assert not [node for node in tree.body if not isinstance(node, ast.Expr)], "rooms export nothing"
        return
    assert documentation, "the module's first sentence is missing"
    assert documentation.splitlines()[0].endswith((".", ":", ";", ",")) or len(documentation.splitlines()) > 1


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module__is_one_idea_long(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if _name(path) in LONG_FILES:
        assert lines > MAX_LINES, f"{_name(path)} is short now: take it off the list"
    else:
        assert lines <= MAX_LINES, "find the second idea and give it a file of its own"


def test_long_files__exist_and_have_a_reason() -> None:
    assert all((ROOT / name).is_file() and reason for name, reason in LONG_FILES.items())


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of one machine", r"(?<![\w.])/(?:work|tmp|root|home|Users)/\w"),
        ("unfinished work", r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"),
        ("a conflict marker", r"^(?:<{7}|>{7}) "),
    ],
)
def test_tree__holds_nowhere(what: str, pattern: str) -> None:
    searched = re.compile(pattern, re.MULTILINE)
    found = [
        f"{_name(path)}: {match[0]}"
        for path in TEXT_FILES
        if (match := searched.search(path.read_text(encoding="utf-8")))
    ]
    assert found == [], what


def test_test_files__have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_public_names__exist_and_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert sorted(vfmseg.__all__) == vfmseg.__all__
    for name in vfmseg.__all__:
        assert getattr(vfmseg, name).__doc__, name
        assert f"vfmseg.{name}(" in page, name
        assert name in dir(vfmseg)


def test_public_names__are_those_that_were_promised() -> None:
    assert set(vfmseg.__all__) == {"build", "fit", "load", "predict", "validate"}


def test_public_names__of_results_are_those_that_were_promised() -> None:
    from vfmseg.inference.instance import InstanceSegmentation
    from vfmseg.inference.panoptic import PanopticSegmentation
    from vfmseg.inference.semantic import SemanticSegmentation

    for kind, own in (
        (SemanticSegmentation, {"semantic", "confidence", "shares"}),
        (PanopticSegmentation, {"segments", "segments_info", "semantic"}),
        (InstanceSegmentation, {"instances"}),
    ):
        known = {name for name in (*dir(kind), *kind.__dataclass_fields__) if not name.startswith("_")}
        assert known >= own | {"image", "names", "size", "label_space", "plot", "save"}, kind


def test_public_names__others_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'vfmseg' has no attribute 'fitt'"):
        vfmseg.fitt  # noqa: B018


def test_errors__are_one_tree_that_is_drawn() -> None:
    from vfmseg import errors

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not errors.VfmsegError
    ]
    assert kinds
    for kind in kinds:
        assert issubclass(kind, errors.VfmsegError)
        assert kind.__doc__
        assert kind.__name__ in (errors.__doc__ or "")
