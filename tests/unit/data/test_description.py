"""The YAML file of a folder data set: what it may say, and all its mistakes at once."""

from __future__ import annotations

import numpy as np
import pytest

from support.errors import raises
from vfmseg.data.description import default_colours, read_description
from vfmseg.data.proposal import propose_description
from vfmseg.errors import DataError


def test_read_description__names_as_list():
    found = read_description("names: [a, b]", "x")
    assert found.label_map.label_space.names == ("a", "b")
    assert found.label_map.raw_to_id == {0: 0, 1: 1, 255: 255}
    assert found.label_map.label_space.is_thing == (False, False)
    assert (found.path, found.patterns, found.val_fraction, found.seed) == ("", {}, 0.0, 0)


def test_read_description__ids_need_not_be_contiguous():
    found = read_description("names: {7: road, 3: sky}", "x")
    assert found.label_map.label_space.names == ("sky", "road")
    assert found.label_map.label_space.category_ids == (3, 7)
    assert found.label_map.raw_to_id == {3: 0, 7: 1, 255: 255}


def test_read_description__label_map_is_complete():
    """An id in names is then no raw value of its own: a raw 0 that means nothing must not become class 0."""
    found = read_description("names: [a, b]\nlabel_map: {1: 0, 2: 1, 3: 1, 4: ignore}", "x")
    assert found.label_map.raw_to_id == {1: 0, 2: 1, 3: 1, 4: 255, 255: 255}


def test_read_description__masks_of_0_and_255():
    found = read_description("names: [background, object]\nlabel_map: {0: 0, 255: 1}", "x")
    assert found.label_map.raw_to_id == {0: 0, 255: 1}


def test_read_description__ignore_index_one_or_several():
    assert read_description("names: [a]\nignore_index: 11", "x").label_map.raw_to_id == {0: 0, 11: 255}
    several = read_description("names: [a]\nignore_index: [11, 255]", "x")
    assert several.label_map.raw_to_id == {0: 0, 11: 255, 255: 255}


def test_read_description__colours():
    text = "names: [a, b]\ncolours: {0: [1, 2, 3], 1: [4, 5, 6], ignore: [[0, 0, 0], [9, 9, 9]]}"
    found = read_description(text, "x").label_map
    assert found.colours == {(1, 2, 3): 0, (4, 5, 6): 1, (0, 0, 0): 255, (9, 9, 9): 255}
    assert found.label_space.colours == ((1, 2, 3), (4, 5, 6))
    as_list = read_description("names: [a, b]\ncolours: [[1, 2, 3], [4, 5, 6]]", "x").label_map
    assert as_list.colours == {(1, 2, 3): 0, (4, 5, 6): 1}
    one = read_description("names: [a]\ncolours: {0: [1, 2, 3], ignore: [0, 0, 0]}", "x").label_map
    assert one.colours == {(1, 2, 3): 0, (0, 0, 0): 255}


def test_read_description__things_by_name_or_id():
    found = read_description("names: {0: road, 4: car, 9: dog}\nthings: [car, 9]", "x")
    assert found.label_map.label_space.is_thing == (False, True, True)


def test_read_description__splits():
    text = "names: [a]\ntrain: ['*', '!x*']\nval: images/val\nval_fraction: 0.25\nseed: 3\npath: d.zip"
    found = read_description(text, "x")
    assert found.patterns == {"train": ("*", "!x*"), "val": ("images/val",)}
    assert (found.val_fraction, found.seed, found.path) == (0.25, 3, "d.zip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: images", "names is missing: list the classes"),
        ("names: []", "names is missing"),
        ("names: {a: b}", "names has the ids ['a']; ids are integers from 0 to 65535"),
        ("names: [a, a]", "names holds a more than once; to merge raw values use label_map"),
        (f"names: [{', '.join(f'c{i}' for i in range(255))}]", "names holds 255 classes; at most 254"),
        ("names: {0: a, 255: b}", "255 is both a class in names and ignore_index. For masks of 0 and 255"),
        ("names: {0: , 1: b}", "names has None for 0; a name is text, in quotes where"),
        ("names: [a, on]", "names has True for 1; a name is text"),
        ("names: [[a], b]", "names has ['a'] for 0; a name is text"),
        (
            "names: [a]\nlabel_map: {1: 0}\nignore_index: [1, 2]",
            "1 has a class in label_map, and ignore_index says",
        ),
        ("names: [a]\nlabel_map: [1]", "label_map is [1]; it should be"),
        ("names: [a]\nlabel_map: {x: 0}", "label_map has the raw value 'x'"),
        ("names: [a]\nlabel_map: {1: 7}", "label_map sends 1 to 7, which is no id in names"),
        ("names: [a]\nignore_index: x", "ignore_index is 'x'; it should be an integer from 0 to 65535"),
        ("names: [a]\nignore_index: 70000", "ignore_index is 70000"),
        (
            "names: [a, b]\ncolours: [[1, 2, 3]]",
            "colours should hold one [red, green, blue] for each of the 2",
        ),
        ("names: [a]\ncolours: {1: [1, 2, 3]}", "do not have the same ids; they differ in 0, 1"),
        ("names: [a]\ncolours: {0: [1, 2, 300]}", "colours holds [1, 2, 300]; a colour is"),
        ("names: [a, b]\ncolours: [[1, 2, 3], [1, 2, 3]]", "colours holds [1, 2, 3] more than once"),
        ("names: [a]\ncolours: {0: [1, 2, 3], ignore: 5}", "colours holds 5; a colour is"),
        ("names: [a]\nthings: car", "things is 'car'; it should be a list"),
        ("names: [road]\nthings: [rod]", "things holds 'rod', which names does not. Did you mean road?"),
        ("names: [road]\nthings: [road: 1]", "things holds \"{'road': 1}\", which names does not"),
        ("names: [a]\ntrain: 5", "train is 5; it should be a folder, a list file, a pattern"),
        ("names: [a]\nval: []", "val is []"),
        ("names: [a]\nval_fraction: 1.5", "val_fraction is 1.5; it should be a share from 0 to below 1"),
        ("names: [a]\nseed: -1", "seed is -1"),
        ("names: [a]\npath: [x]", "path is ['x']; it should be text"),
        ("names: [a]\nnmes: [b]", "'nmes' is no key here. Did you mean names"),
    ],
)
def test_read_description__mistakes(text: str, message: str):
    with raises(DataError, "d.yaml has 1 mistake:\n", message):
        read_description(text, "d.yaml")


def test_read_description__all_mistakes_at_once():
    with raises(DataError, "has 3 mistakes:", "'nmaes' is no key", "names is missing", "seed is 'x'"):
        read_description("nmaes: [a]\nseed: x", "d.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "names: {0: a, 1: b, 0: c}",
            "d.yaml: the key names.0 stands in line 1 and again in line 1. Only the last would count: keep one",
        ),
        (
            "names: [a, b]\nlabel_map:\n  3: 0\n  3: 1",
            "d.yaml: the key label_map.3 stands in line 3 and again in line 4",
        ),
        ("names: [2024-02-30]", "d.yaml is not YAML: day is out of range"),
        ("names: [a", "d.yaml is not YAML: "),
    ],
)
def test_read_description__no_yaml(text: str, message: str):
    with raises(DataError, message):
        read_description(text, "d.yaml")


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b"])
def test_read_description__no_mapping(text: str):
    with raises(DataError, "d.yaml should hold `key: value` lines"):
        read_description(text, "d.yaml")


def test_default_colours__distinct():
    assert len(set(default_colours(254))) == 254


def test_propose_description__values_make_a_valid_description():
    text = propose_description(
        'my: # "zip"', [np.array([[0, 3], [3, 255]], np.uint8), np.array([[7]], np.uint16)]
    )
    assert "# values in 2 labels: 0, 3, 7, 255" in text
    assert "3: class_3  # the most pixels" in text
    found = read_description(text, "x")
    assert found.path == 'my: # "zip"'
    assert found.label_map.raw_to_id == {0: 0, 3: 1, 7: 2, 255: 255}


def test_propose_description__masks_of_0_and_255_ask_what_255_means():
    text = propose_description("d", [np.array([[0, 255]], np.uint8)])
    assert "label_map: {0: 0, 255: ignore}" in text
    assert read_description(text, "x").label_map.raw_to_id == {0: 0, 255: 1}


def test_propose_description__colours_make_a_valid_description():
    text = propose_description("d", [np.array([[(1, 2, 3), (0, 0, 9)], [(0, 0, 9), (0, 0, 9)]], np.uint8)])
    assert read_description(text, "x").label_map.colours == {(0, 0, 9): 0, (1, 2, 3): 1}


def test_propose_description__values_that_look_like_no_classes():
    text = propose_description("d", [np.arange(1000, dtype=np.uint16)[None]])
    assert "# 999 values are more than the 254 classes possible: are they class ids?" in text
    colours = np.random.default_rng(0).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    assert "only 64 are listed; so many mean that the labels were resized" in propose_description(
        "d", [colours]
    )
