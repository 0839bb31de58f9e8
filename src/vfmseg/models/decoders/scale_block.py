"""A feature map in, the same map at twice (or half) the resolution out, or at more (EoMT, arXiv 2503.19108, sec. 3.2)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.models.decoders.mixing import mix


class ScaleBlock(nn.Module):
    """Convolution of kernel and stride 2, GELU, depthwise 3x3 convolution, layer norm over the channels.

    A transposed convolution whose stride is its kernel size is a linear layer from every token to its four
    children, and so it is computed: maps stay channels-last in memory, as a vision transformer's tokens are,
    and neither the norm nor the next block has to copy them.

    Args:
        dim: C, channels in and out.
        down: halve the resolution (strided convolution) in place of doubling it (transposed convolution).
    """

    def __init__(self, dim: int, *, down: bool = False) -> None:
        super().__init__()
        self.conv1: nn.Conv2d | nn.ConvTranspose2d = (
            nn.Conv2d(dim, dim, 2, stride=2) if down else nn.ConvTranspose2d(dim, dim, 2, stride=2)
        )
        # With channels last in memory, the weight is the linear layer's matrix as it lies there.
        self.conv1.to(memory_format=torch.channels_last)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, grid: Tensor) -> Tensor:
        """Return (B, C, 2h, 2w) for ``grid`` (B, C, h, w); with ``down``, (B, C, ceil(h/2), ceil(w/2)).

        An odd side is filled up with zeros before it is halved, so that the map still covers the image.
        """
        if isinstance(self.conv1, nn.Conv2d):
            h, w = grid.shape[2:]
            scaled = self.conv1(F.pad(grid, (0, w % 2, 0, h % 2)))
        else:
            scaled = _children(grid, self.conv1)
        return mix(scaled.permute(0, 2, 3, 1).contiguous(), self.conv2, self.norm).permute(0, 3, 1, 2)

    def centres(self, parts: Tensor) -> Tensor:
        """Return (N, C): the mean of the four cells in the middle of each doubled part, which see nothing outside it.

        Args:
            parts: (N, C, 2, 2), parts of a grid.

        Raises:
            TypeError: the block halves.
        """
        if isinstance(self.conv1, nn.Conv2d):
            raise TypeError("a block that halves has no cells in the middle of a part of 2 x 2.")
        mixed = F.conv2d(F.gelu(_children(parts, self.conv1)), self.conv2.weight, groups=parts.shape[1])
        normed: Tensor = self.norm(mixed.permute(0, 2, 3, 1))  # N 2 2 C
        return normed.mean((1, 2))


class Upscaling(nn.Sequential):
    """Scale blocks that double the patch grid, one after another."""

    def at_patches(self, grid: Tensor) -> Tensor:
        """Return (B, C, h, w): the result for ``grid`` (B, C, h, w), brought back to its size by bilinear resizing.

        That is the mean of the four cells in the middle of each patch, and past the last doubling only they are
        computed: they depend on the 2 x 2 cells before it, where those are of their own patch.
        """
        *earlier, last = cast(list[ScaleBlock], list(self))
        if not earlier:
            return F.avg_pool2d(last(grid), 2)
        h, w = grid.shape[2:]
        for block in earlier:
            grid = block(grid)
        side = grid.shape[2] // h
        middle = slice(side // 2 - 1, side // 2 + 1)
        parts = grid.permute(0, 2, 3, 1).unflatten(2, (w, side)).unflatten(1, (h, side))  # B h s w s C
        parts = parts[:, :, middle, :, middle].transpose(2, 3).flatten(0, 2)  # Bhw 2 2 C
        centres = last.centres(parts.permute(0, 3, 1, 2))  # Bhw C
        return centres.unflatten(0, (-1, h, w)).permute(0, 3, 1, 2)


def _children(grid: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """Apply ``conv`` to (B, C, h, w) as a linear layer; returns (B, C, 2h, 2w), channels-last."""
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 2 C) C
    bias = None if conv.bias is None else conv.bias.repeat(4)
    tokens = F.linear(grid.permute(0, 2, 3, 1), weight, bias)  # B h w 4C
    children = tokens.unflatten(3, (2, 2, -1)).transpose(2, 3)  # B h 2 w 2 C
    return children.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
