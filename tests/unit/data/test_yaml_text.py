"""YAML as people write it; a key twice is found wherever it stands."""

from __future__ import annotations

import pytest

from support.errors import raises
from vfmseg.data import spec
from vfmseg.data.yaml_text import load_yaml
from vfmseg.errors import DataError


def test_load_yaml__mistake():
    with raises(DataError, "x.yaml is not YAML", "line 1"):
        load_yaml("a: [1", "x.yaml")


@pytest.mark.parametrize(
    ("text", "key", "first", "second"),
    [
        ("a: 1\nb: 2\na: 3", "a", 1, 3),
        ("a:\n  b: 1\nc:\n  b: 1\n  b: 2", "c.b", 4, 5),
        ("a: [{x: 1}, {x: 1,\n x: 2}]", "a[1].x", 1, 2),
        ("a.b: 1\na:\n  b: 2", "a.b", 1, 3),
        ("names: {1: a,\n 0x1: b}", "names.1", 1, 2),
        ("a: {yes: 1,\n 'x': 2,\n true: 3}", "a.True", 1, 3),
        ("a: &m {x: 1,\n x: 2}\nb: *m", "a.x", 1, 2),
    ],
)
def test_load_yaml__a_key_twice(text: str, key: str, first: int, second: int):
    said = (
        f"x.yaml: the key {key} stands in line {first} and again in line {second}. Only the last would count"
    )
    with raises(DataError, said):
        load_yaml(text, "x.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: {x: 1}\nb: {x: 1}", {"a": {"x": 1}, "b": {"x": 1}}),
        ("a.b: 1\na: {c: 2}", {"a.b": 1, "a": {"c": 2}}),
        ("a: &m {x: 1}\nb: {<<: *m, x: 2}\nc: *m", {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 1}}),
        ("a: &m [1, *m]", None),
        ("{1: a, '1': b}", {1: "a", "1": "b"}),
    ],
)
def test_load_yaml__nothing_twice(text: str, value: object):
    found = load_yaml(text, "x.yaml")
    assert found["a"][1] is found["a"] if text.startswith("a: &m [") else found == value


@pytest.mark.parametrize("path", sorted(spec.CLASSES_FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_load_yaml__class_tables_hold_no_key_twice(path):
    assert load_yaml(path.read_text(encoding="utf-8"), str(path))["classes"]


def test_read_label_map__a_key_twice(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spec, "CLASSES_FOLDER", tmp_path)
    (tmp_path / "mine.yaml").write_text("classes:\n- id: 1\n  name: a\n  id: 2\n")
    with raises(DataError, "mine.yaml: the key classes[0].id stands in line 2 and again in line 4"):
        spec.read_label_map("mine")
