"""Turns the mask logits of a letterboxed image into their values in one tile of the image, and bounds of them.

The published way back resizes every mask to the crop, cuts off the padding and resizes the rest to the image.
Both steps are linear and treat rows and columns separately, so each pixel is a weighted sum of a small,
rectangular patch of the grid, with weights that are not negative and sum to 1. Hence a tile can be computed
without its surroundings, and the extremes of the patch bound the pixel before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.types import MaskLogits, Size

TILE_SIDE = 128
"""Side of a tile on a CPU: small enough that most tiles concern few masks and stay in the cache."""
_ACCELERATOR_FLOATS = 1 << 27
"""Mask logits worked on at once elsewhere, where few and large steps count."""


class Letterbox(Protocol):
    """Where an image lies in its crop: at the top left. All sizes (height, width)."""

    @property
    def image_size(self) -> Size:
        """Of the image."""

    @property
    def crop_size(self) -> Size:
        """Of the model's input."""

    @property
    def resized_size(self) -> Size:
        """Of the image inside the crop."""


@dataclass(frozen=True)
class _Axis:
    """Each pixel of an axis as a weighted sum of T consecutive grid lines."""

    first: NDArray[np.int64]
    """(n,) the first of the T grid lines, ascending."""
    matrix: Tensor
    """(n, grid) float32 weights."""
    span: int
    """T."""

    def cells(self, start: int, stop: int) -> slice:
        """Return which first lines the pixels [start, stop) have."""
        return slice(int(self.first[start]), int(self.first[stop - 1]) + 1)

    def part(self, pixels: slice) -> NDArray[np.float32]:
        """Return (pixels, lines) weights of some pixels over the lines that they are made of."""
        cells = self.cells(pixels.start, pixels.stop)
        return self.matrix[pixels, cells.start : cells.stop + self.span - 1].numpy()

    def mix(self, lines: Tensor, pixels: slice, dim: int) -> Tensor:
        """Return some pixels of lines along ``dim`` that begin at the first one needed, by gathering."""
        first = torch.from_numpy(self.first[pixels])
        taps = first[:, None] + torch.arange(self.span)
        weights = self.matrix[pixels].gather(1, taps).to(lines.device)
        places = (taps - first[0]).to(lines.device)
        shape = [-1 if axis == dim else 1 for axis in range(lines.ndim)]
        mixed = lines.index_select(dim, places[:, 0]).mul_(weights[:, 0].reshape(shape))
        for tap in range(1, self.span):
            mixed.addcmul_(lines.index_select(dim, places[:, tap]), weights[:, tap].reshape(shape))
        return mixed


@dataclass(frozen=True)
class Tile:
    """A rectangle of the image, and the grid cells that its pixels are made of."""

    rows: slice
    """Of the image."""
    columns: slice
    """Of the image."""
    cell_rows: slice
    """Of ``MaskTiles.highest`` and ``lowest``."""
    cell_columns: slice
    """Of ``MaskTiles.highest`` and ``lowest``."""

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


class MaskTiles:
    """Masks at the grid, and how the pixels of the image are made of them."""

    def __init__(self, mask_logits: Tensor, plan: Letterbox) -> None:
        """Take masks (Q, h, w) at the patch grid, or any size, of the crop of ``plan``."""
        sizes = zip(mask_logits.shape[-2:], plan.crop_size, plan.resized_size, plan.image_size, strict=True)
        self._rows, self._columns = (_axis(*lengths) for lengths in sizes)
        self._image_size = plan.image_size
        height, width = (int(axis.first[-1]) + axis.span for axis in (self._rows, self._columns))
        self._masks = mask_logits[:, :height, :width].float()  # what shows padding only is left out

    @property
    def device(self) -> torch.device:
        """Where the masks are."""
        return self._masks.device

    @property
    def is_on_host(self) -> bool:
        """Whether bounds save time: on an accelerator, asking costs a transfer, and pixels cost little."""
        return self._masks.device.type == "cpu"

    @cached_property
    def highest(self) -> Tensor:
        """(Q, cell rows, cell columns): no pixel of the cell lies above it."""
        return self._extremes(torch.maximum)

    @cached_property
    def lowest(self) -> Tensor:
        """(Q, cell rows, cell columns): no pixel of the cell lies below it."""
        return self._extremes(torch.minimum)

    def _extremes(self, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the extreme of each patch of grid lines that pixels may be made of; rows, then columns."""
        found = self._masks
        for dim, span in ((1, self._rows.span), (2, self._columns.span)):
            count = found.shape[dim] - span + 1
            found = reduce(pick, [found.narrow(dim, first, count) for first in range(span)])
        return found

    def tiles(self) -> Iterator[Tile]:
        """Yield tiles that cover the image, row by row; on an accelerator, bands of it."""
        height, width = self._image_size
        tile_height = tile_width = TILE_SIDE
        if not self.is_on_host:
            tile_height = max(1, _ACCELERATOR_FLOATS // (max(1, len(self._masks)) * width))
            tile_width = width
        for top in range(0, height, tile_height):
            bottom = min(top + tile_height, height)
            for left in range(0, width, tile_width):
                right = min(left + tile_width, width)
                cells = self._rows.cells(top, bottom), self._columns.cells(left, right)
                yield Tile(slice(top, bottom), slice(left, right), *cells)

    def logits(self, tile: Tile, queries: Sequence[int]) -> Tensor:
        """Return the mask logits of some queries in a tile, (n, rows, columns) float32 in new memory."""
        grid = self._masks[
            :,
            tile.cell_rows.start : tile.cell_rows.stop + self._rows.span - 1,
            tile.cell_columns.start : tile.cell_columns.stop + self._columns.span - 1,
        ]
        if self.is_on_host:
            # NumPy's products stay in float32 whatever precision torch is told to multiply with.
            rows, columns = self._rows.part(tile.rows), self._columns.part(tile.columns)
            return torch.from_numpy(rows @ (grid.numpy()[queries] @ columns.T))
        if len(queries) < len(grid):
            grid = grid[torch.tensor(queries, dtype=torch.long, device=grid.device)]
        return self._rows.mix(self._columns.mix(grid, tile.columns, 2), tile.rows, 1)


def count_pixels(masks: Tensor) -> Tensor:
    """Return how many pixels each of the masks (n, rows, columns) bool has in a tile, (n,) int64."""
    if masks.device.type == "cpu" and masks.shape[1] <= 255:
        # Bytes can hold the sums of columns, and are added many at a time.
        per_column = np.add.reduce(masks.numpy().view(np.uint8), axis=1, dtype=np.uint8)
        return torch.from_numpy(per_column.sum(1, dtype=np.int64))
    return masks.sum((1, 2))


def check_one_image(prediction: MaskLogits) -> None:
    """Refuse predictions that are not those of one image, (Q, h, w) and (Q, K + 1)."""
    masks, classes = prediction.mask_logits.shape, prediction.class_logits.shape
    if len(masks) != 3 or len(classes) != 2 or masks[0] != classes[0]:
        raise ValueError(
            f"one image has mask logits (Q, h, w) and class logits (Q, K + 1), but these are {tuple(masks)} "
            f"and {tuple(classes)}. Hand in the images of a batch one by one."
        )


@lru_cache(maxsize=32)
def _axis(grid: int, crop: int, resized: int, size: int) -> _Axis:
    """Find what each pixel is made of, by resizing grids with one line of 1, the rest 0."""
    unit = torch.eye(grid)[None, :, None]  # (1, grid lines as channels, 1, grid)
    at_crop = F.interpolate(unit, (1, crop), mode="bilinear", align_corners=False)[..., :resized]
    at_image = F.interpolate(at_crop, (1, size), mode="bilinear", align_corners=False)[0, :, 0]
    response = at_image.T.contiguous()  # (n, grid)
    used = response.numpy() != 0
    first, last = used.argmax(1), grid - 1 - used[:, ::-1].argmax(1)
    span = int((last - first).max()) + 1
    first = np.minimum(first, grid - span)
    return _Axis(first, response, span)
