"""A feature map in, the same map at twice (or half) the resolution out (EoMT, arXiv 2503.19108, sec. 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


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
            scaled = self._children(grid, self.conv1)
        mixed = self.conv2(F.gelu(scaled)).permute(0, 2, 3, 1)  # B h w C
        normed: Tensor = self.norm(mixed)
        return normed.permute(0, 3, 1, 2)

    @staticmethod
    def _children(grid: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
        """Apply ``conv`` to (B, C, h, w) as a linear layer; returns (B, C, 2h, 2w), channels-last."""
        weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 2 C) C
        bias = None if conv.bias is None else conv.bias.repeat(4)
        tokens = F.linear(grid.permute(0, 2, 3, 1), weight, bias)  # B h w 4C
        children = tokens.unflatten(3, (2, 2, -1)).transpose(2, 3)  # B h 2 w 2 C
        return children.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
