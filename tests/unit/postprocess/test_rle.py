"""Run lengths are those of pycocotools, character for character, and decode to the mask they came from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from vfmseg.postprocess.rle import decode, encode_instances, encode_mask, encode_masks, pack_masks
from vfmseg.types import Instances


@st.composite
def masks(draw):
    """Draw a mask: noise of any density in a rectangle, which may touch the borders."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top, height)), draw(st.integers(left, width))
    density = draw(st.sampled_from([0.02, 0.5, 0.95, 1.0]))
    mask = np.zeros((height, width), bool)
    part = np.random.default_rng(draw(st.integers(0, 10_000))).random((bottom - top, right - left))
    mask[top:bottom, left:right] = part < density
    return mask


def theirs(mask):
    found = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode("ascii")}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
@given(mask=masks())
def test_encode_mask__equals_pycocotools_and_comes_back(mask):
    found = encode_mask(mask)
    assert found == theirs(mask)
    (back,) = decode([found])
    assert back.dtype == bool
    assert np.array_equal(back, mask)
    assert np.array_equal(reference.decode({**found, "counts": found["counts"].encode()}), mask)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((5, 7), bool),
        np.ones((5, 7), bool),
        np.ones((1, 1), bool),
        np.zeros((1, 1), bool),
        np.eye(6, dtype=bool),
        np.arange(35).reshape(5, 7) % 2 == 0,
        np.tile(np.arange(600) % 300 < 200, (2000, 1)),  # counts of many digits
        np.pad(np.ones((3, 1000), bool), ((1500, 500), (3, 0))),
    ],
    ids=["empty", "full", "pixel", "no pixel", "diagonal", "chess", "stripes", "bar"],
)
def test_encode_mask__shapes_of_note(mask):
    assert encode_mask(mask) == theirs(mask)
    assert np.array_equal(decode([encode_mask(mask)])[0], mask)


def test_encode_mask__memory_layout_and_type_do_not_matter():
    mask = np.random.default_rng(0).random((30, 20)) < 0.3
    assert encode_mask(np.asfortranarray(mask)) == theirs(mask)
    assert encode_mask(mask[::-1, ::2]) == theirs(mask[::-1, ::2])
    assert encode_mask(mask.astype(np.uint8)) == theirs(mask)


def test_encode_masks__tensors_and_arrays():
    stack = np.random.default_rng(1).random((3, 12, 9)) < 0.4
    assert encode_masks(stack) == encode_masks(torch.from_numpy(stack)) == [theirs(mask) for mask in stack]


@pytest.mark.parametrize("size", [(12, 16), (5, 13), (1, 1)])
def test_encode_instances__unpacks_bits(size):
    stack = np.random.default_rng(2).random((4, *size)) < 0.5
    found = Instances(pack_masks(list(stack), size), torch.zeros(4, dtype=torch.int64), torch.ones(4), size)
    assert encode_instances(found) == [theirs(mask) for mask in stack]


def test_pack_masks__nothing():
    assert pack_masks([], (4, 9)).shape == (0, 4, 2)
    empty = Instances(pack_masks([], (4, 9)), torch.zeros(0, dtype=torch.int64), torch.zeros(0), (4, 9))
    assert encode_instances(empty) == []


def test_encode_mask__no_pixels():
    with pytest.raises(ValueError, match="a mask of 0 x 5 has no pixels"):
        encode_mask(np.zeros((0, 5), bool))


def test_decode__bytes_as_pycocotools_gives_them():
    mask = np.random.default_rng(3).random((8, 9)) < 0.5
    (found,) = decode([reference.encode(np.asfortranarray(mask.astype(np.uint8)))])
    assert np.array_equal(found, mask)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            encode_mask(np.eye(4, dtype=bool))["counts"],
            r"runs of 16 pixels do not fill a mask of 4 x 5, .* 20",
        ),
        ("", "runs of 0 pixels"),
        ("P", "cut off"),
        ("\x7f1", "damaged"),
        ("!1", "damaged"),
        ("P" * 14 + "0", "too many digits"),
    ],
)
def test_decode__damaged_strings(counts, message):
    with pytest.raises(ValueError, match=message):
        decode([{"size": [4, 5], "counts": counts}])
