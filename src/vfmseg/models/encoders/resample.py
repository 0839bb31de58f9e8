"""Sizes and tables of one patch grid in, those of another out: grids, positions, SAM's windows."""

from __future__ import annotations

from math import gcd
from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from vfmseg.errors import RecipeError
from vfmseg.types import Size

Positions = Literal["crop", "stretch"]
"""Absolute positions of a non-square grid: the top-left part of the square grid of the longer side, as the
benchmark does (arXiv 2404.12172), or the whole square stretched to the grid, as timm does."""


def patch_grid(image_size: Size, patch_size: int) -> Size:
    """Return (h, w), the patches a side of an image of ``image_size`` pixels.

    Raises:
        RecipeError: a side is not a multiple of the patch size; names the nearest sizes that are.
    """
    if patch_size < 1 or min(image_size) < 1:
        raise RecipeError(
            f"encoder.image_size {image_size[0]}x{image_size[1]} and encoder.patch_size {patch_size}: "
            "both must be positive"
        )
    if image_size[0] % patch_size or image_size[1] % patch_size:
        below = [max(side // patch_size, 1) * patch_size for side in image_size]
        above = [-(-side // patch_size) * patch_size for side in image_size]
        raise RecipeError(
            f"encoder.image_size {image_size[0]}x{image_size[1]} is not a multiple of encoder.patch_size "
            f"{patch_size}; the nearest that are: [{below[0]}, {below[1]}] and [{above[0]}, {above[1]}]"
        )
    return image_size[0] // patch_size, image_size[1] // patch_size


def resample_positions(
    table: Tensor, old_grid: Size, new_grid: Size, *, num_prefix: int, positions: Positions
) -> Tensor:
    """Resample absolute positions (1, num_prefix + h*w, C) to ``new_grid``: bicubic, antialiased.

    Args:
        table: rows of prefix tokens first, then the patches row by row.
        old_grid: (h, w) of ``table``.
        new_grid: (h, w) wanted.
        num_prefix: rows of ``table`` that belong to prefix tokens; kept as they are.
        positions: what a non-square grid gets.

    Raises:
        RecipeError: ``crop`` from a grid that is itself not square (a part was cut off before).
    """
    if old_grid == new_grid:
        return table
    if positions == "stretch":
        return resample_abs_pos_embed(table, list(new_grid), list(old_grid), num_prefix)
    if old_grid[0] != old_grid[1]:
        raise RecipeError(
            f"the positions were cropped to {old_grid[0]}x{old_grid[1]} patches and cannot be made "
            f"{new_grid[0]}x{new_grid[1]}; build the encoder anew at that size, or with encoder.positions stretch"
        )
    longer = max(new_grid)
    square = resample_abs_pos_embed(table, [longer, longer], list(old_grid), num_prefix)
    patches = square[:, num_prefix:].unflatten(1, (longer, longer))[:, : new_grid[0], : new_grid[1]]
    return torch.cat([square[:, :num_prefix], patches.flatten(1, 2)], dim=1)


def resample_relative_positions(table: Tensor, length: int) -> Tensor:
    """Resample a table of relative positions (L, C) linearly to ``length`` rows."""
    if table.shape[0] == length:
        return table
    return F.interpolate(table.float().T[None], size=length, mode="linear")[0].T.to(table.dtype)


def window_size(native_window: int, native_side: int, new_grid: Size, patch_size: int) -> int:
    """Return SAM's attention window for ``new_grid``: it grows with the longer side of the grid.

    Args:
        native_window: patches a side of the window at the native grid; 0 (no window) stays 0.
        native_side: patches a side of the native grid.
        new_grid: (h, w) wanted.
        patch_size: pixels; for the message only.

    Raises:
        RecipeError: the window would not be a whole number of patches; names the sizes that work.
    """
    longer = max(new_grid)
    if native_window * longer % native_side:
        step = native_side // gcd(native_window, native_side) * patch_size
        below = max(longer * patch_size // step, 1) * step
        raise RecipeError(
            f"SAM's attention windows scale with the image: at {new_grid[0] * patch_size}x"
            f"{new_grid[1] * patch_size} pixels and patch size {patch_size} a window would be "
            f"{native_window * longer / native_side:g} patches. The longer side must be a multiple of {step} "
            f"pixels: take encoder.image_size {below} or {below + step}, or another encoder.patch_size"
        )
    return native_window * longer // native_side
