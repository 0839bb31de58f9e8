"""Grids, positions and SAM's windows at other sizes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.resample import (
    patch_grid,
    resample_positions,
    resample_relative_positions,
    window_size,
)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([8, 14, 16, 32]))
def test_grid__of_whole_patches(h, w, patch):
    assert patch_grid((h * patch, w * patch), patch) == (h, w)


def test_grid__refuses_and_names_the_nearest():
    expected = (
        r"encoder.image_size 518x640 is not a multiple of encoder.patch_size 16; the nearest that are: "
        r"\[512, 640\] and \[528, 640\]"
    )
    with pytest.raises(RecipeError, match=expected):
        patch_grid((518, 640), 16)


def test_grid__smaller_than_a_patch():
    with pytest.raises(RecipeError, match=r"the nearest that are: \[16, 16\] and \[16, 16\]"):
        patch_grid((8, 8), 16)


def test_grid__nothing():
    with pytest.raises(
        RecipeError, match=r"encoder\.image_size 0x16 and encoder\.patch_size 16: both must be positive"
    ):
        patch_grid((0, 16), 16)


def ramp(h, w):
    """Return positions (1, h*w, 2) that say where they are: row and column of the cell, in [0, 1]."""
    rows, columns = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
    return torch.stack([rows, columns], -1).reshape(1, h * w, 2)


@given(h=st.integers(2, 12), w=st.integers(2, 12))
def test_positions__crop_keeps_the_scale_of_the_longer_side(h, w):
    longer = max(h, w)
    table = resample_positions(ramp(6, 6), (6, 6), (h, w), num_prefix=0, positions="crop")
    square = resample_positions(ramp(6, 6), (6, 6), (longer, longer), num_prefix=0, positions="crop")
    expected = square.reshape(longer, longer, 2)[:h, :w].reshape(1, h * w, 2)
    assert torch.equal(table, expected)


@given(h=st.integers(2, 12), w=st.integers(2, 12))
def test_positions__stretch_spans_the_whole_image(h, w):
    table = resample_positions(ramp(6, 6), (6, 6), (h, w), num_prefix=0, positions="stretch").reshape(h, w, 2)
    inner = ramp(h, w).reshape(h, w, 2)
    assert (table - inner).abs().max() < 0.1  # bicubic bends a ramp a little at the border
    assert (table[:, :, 0].diff(dim=0) > 0).all()


@given(h=st.integers(2, 9), w=st.integers(2, 9), prefix=st.integers(0, 5))
def test_positions__prefix_rows_stay(h, w, prefix):
    table = torch.randn(1, prefix + 16, 3)
    for positions in ("crop", "stretch"):
        new = resample_positions(table, (4, 4), (h, w), num_prefix=prefix, positions=positions)
        assert new.shape == (1, prefix + h * w, 3)
        assert torch.equal(new[:, :prefix], table[:, :prefix])


def test_positions__same_grid_is_the_same_table():
    table = torch.randn(1, 17, 3)
    assert resample_positions(table, (4, 4), (4, 4), num_prefix=1, positions="crop") is table


def test_positions__cropped_ones_cannot_grow_again():
    expected = r"the positions were cropped to 2x4 patches and cannot be made 4x4; build the encoder anew"
    with pytest.raises(RecipeError, match=expected):
        resample_positions(torch.zeros(1, 8, 3), (2, 4), (4, 4), num_prefix=0, positions="crop")
    stretched = resample_positions(torch.zeros(1, 8, 3), (2, 4), (4, 4), num_prefix=0, positions="stretch")
    assert stretched.shape == (1, 16, 3)


@given(rows=st.integers(3, 40), length=st.integers(3, 40))
def test_relative_positions__linear(rows, length):
    table = torch.randn(rows, 4)
    expected = F.interpolate(table.T[None], size=length, mode="linear", align_corners=False)[0].T
    torch.testing.assert_close(resample_relative_positions(table, length), expected)


@given(st.integers(1, 200))
def test_window__whole_or_refused(side):
    whole = 14 * side % 64 == 0
    if whole:
        assert window_size(14, 64, (side, side), 16) == 14 * side / 64
    else:
        with pytest.raises(RecipeError, match="SAM's attention windows scale with the image"):
            window_size(14, 64, (side, side), 16)


def test_window__grows_with_the_longer_side():
    assert window_size(14, 64, (32, 64), 16) == 14
    assert window_size(0, 64, (33, 33), 16) == 0


def test_window__names_sizes_that_work():
    expected = (
        r"at 640x640 pixels and patch size 16 a window would be 8.75 patches. The longer side must be a "
        r"multiple of 512 pixels: take encoder.image_size 512 or 1024, or another encoder.patch_size"
    )
    with pytest.raises(RecipeError, match=expected):
        window_size(14, 64, (40, 40), 16)
