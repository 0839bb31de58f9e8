"""Raw label values become class ids by table; what the table does not know is an error that counts it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.errors import raises
from vfmseg.data.annotations import (
    LabelTable,
    is_all_void,
    is_constant,
    pack_colour,
    pack_colours,
    resize_nearest,
    to_targets,
    unpack_colour,
)
from vfmseg.data.spec import LabelMap
from vfmseg.errors import LabelError
from vfmseg.types import LabelSpace

SPACE = LabelSpace(("a", "b"), ((1, 1, 1), (2, 2, 2)), (False, True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_to_ids__maps_merges_and_ignores(dtype: type):
    table = LabelTable(LabelMap(SPACE, {3: 0, 5: 1, 7: 1, 200: 255}))
    ids = table.to_ids(np.array([[3, 5], [7, 200]], dtype), "x")
    assert ids.dtype == np.uint8
    assert ids.tolist() == [[0, 1], [1, 255]]


def test_to_ids__values_above_255():
    table = LabelTable(LabelMap(SPACE, {1000: 0, 65535: 1}))
    assert table.to_ids(np.array([[1000, 65535]], np.uint16), "x").tolist() == [[0, 1]]


def test_to_ids__unknown_values_are_counted_the_most_frequent_first():
    table = LabelTable(LabelMap(SPACE, {0: 0, 1: 1, 255: 255}, remedy="Do this."))
    raw = np.array([[0, 9, 9], [255, 8, 1]], np.uint8)
    with raises(LabelError, "a.zip: m.png holds", "9 (2 pixels), 8 (1 pixels). Known are 0-1, 255. Do this."):
        table.to_ids(raw, "a.zip: m.png")


def test_to_ids__many_unknown_values_are_cut():
    table = LabelTable(LabelMap(SPACE, {0: 0}))
    with raises(LabelError, "and 4 more values"):
        table.to_ids(np.arange(10, dtype=np.uint8)[None], "x")


def test_to_ids__colours():
    colours = {(10, 0, 0): 0, (0, 20, 0): 1, (0, 0, 30): 255}
    table = LabelTable(LabelMap(SPACE, {}, colours))
    raw = np.array([[(0, 0, 30), (10, 0, 0), (0, 20, 0)]], np.uint8)
    assert table.to_ids(raw, "x").tolist() == [[255, 0, 1]]


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0)])
def test_to_ids__unknown_colour(colour: tuple[int, int, int]):
    table = LabelTable(LabelMap(SPACE, {}, {(10, 0, 0): 0, (0, 20, 0): 1}, "Do this."))
    text = f"m.png holds colours that no class has: {list(colour)} (3 pixels)"
    with raises(LabelError, text, "Do this."):
        table.to_ids(np.full((1, 3, 3), colour, np.uint8), "m.png")


def test_to_ids__rgb_label_without_colours():
    table = LabelTable(LabelMap(SPACE, {0: 0, 1: 1}, remedy="Do this."))
    with raises(LabelError, "m.png is stored as RGB, and the colours of the classes are not known. Do this."):
        table.to_ids(np.array([[(1, 2, 3)]], np.uint8), "m.png")
    with raises(
        LabelError, "m.png is stored as RGB with three equal channels. Save one of them as a grey PNG"
    ):
        table.to_ids(np.array([[(1, 1, 1)]], np.uint8), "m.png")


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_pack_colour__and_back(colour: tuple[int, int, int]):
    assert unpack_colour(pack_colour(colour)) == colour
    assert pack_colours(np.array([[colour]], np.uint8)).tolist() == [[pack_colour(colour)]]


def test_to_targets__shares_memory():
    ids = np.zeros((2, 3), np.uint8)
    targets = to_targets(ids)
    ids[0, 0] = 7
    assert targets.id_map[0, 0] == 7
    assert targets.id_map.dtype == torch.uint8


def test_is_all_void__only_if_no_pixel_has_a_class():
    void = np.full((2, 2), 255, np.uint8)
    assert is_all_void(to_targets(void))
    void[1, 1] = 0
    assert not is_all_void(to_targets(void))


def test_is_constant__values_and_colours():
    assert is_constant(np.full((2, 3), 4, np.uint8))
    assert not is_constant(np.array([[4, 5]], np.uint16))
    assert is_constant(np.full((2, 3, 3), (1, 2, 3), np.uint8))
    assert not is_constant(np.array([[(1, 2, 3), (1, 2, 4)]], np.uint8))


@pytest.mark.parametrize(("old", "new"), [((3, 5), (7, 4)), ((6, 8), (3, 4)), ((4, 4), (4, 4))])
def test_resize_nearest__same_as_torch(old: tuple[int, int], new: tuple[int, int]):
    raw = np.random.default_rng(0).integers(0, 255, old).astype(np.uint8)
    expected = torch.nn.functional.interpolate(torch.from_numpy(raw)[None, None], new, mode="nearest")
    np.testing.assert_array_equal(resize_nearest(raw, new), expected[0, 0].numpy())
