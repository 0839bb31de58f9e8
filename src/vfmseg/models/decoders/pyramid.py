"""The last feature map of a plain vision transformer in, maps at strides 4, 8, 16 and 32 out.

What stands in for the ViT-Adapter, and then for the pixel decoder, on the way from Mask2Former to EoMT
(arXiv 2503.19108, sec. 3.1). The paper says "transposed convolutions and convolutions"; that every stride
has blocks of its own is inferred from the parameter counts of its Table 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from vfmseg.models.decoders.scale_block import ScaleBlock
from vfmseg.models.encoders.base import Encoder


class FeaturePyramid(nn.Module):
    """Scale the encoder's last map up and down, each stride by its own chain of ScaleBlocks.

    A block doubles or halves, so with patches of 14 pixels the strides are 3.5, 7, 14 and 28: the nearest
    ones that need no resampling. The patch's own stride is the map itself.

    Args:
        encoder_dim: channels of the encoder's tokens, and of the maps.
        patch_size: pixels a side.
        strides: of the maps wanted, in pixels.
    """

    def __init__(self, encoder_dim: int, patch_size: int, strides: Sequence[int] = (4, 8, 16, 32)) -> None:
        super().__init__()
        self.scales = nn.ModuleList()
        for stride in strides:
            doublings = round(math.log2(patch_size / stride))
            blocks = (ScaleBlock(encoder_dim, down=doublings < 0) for _ in range(abs(doublings)))
            self.scales.append(nn.Sequential(*blocks))

    def forward(self, encoder: Encoder, pixels: Tensor) -> list[Tensor]:
        """Run ``encoder`` on ``pixels`` (B, 3, H, W); returns one map (B, C, h, w) per stride."""
        grid = encoder.forward_grid(pixels)
        return [scale(grid) for scale in self.scales]


class PyramidProjection(nn.Module):
    """Bring every map of a pyramid to the decoder's channels, and do no more.

    Args:
        feature_dim: channels of the maps it is given.
        embed_dim: C, channels of the maps it returns.
        num_levels: maps besides the finest.
    """

    def __init__(self, feature_dim: int, embed_dim: int, *, num_levels: int) -> None:
        super().__init__()
        self.mask_features = nn.Conv2d(feature_dim, embed_dim, 1)
        self.input_projections = nn.ModuleList(
            nn.Conv2d(feature_dim, embed_dim, 1) for _ in range(num_levels)
        )
        for convolution in (self.mask_features, *self.input_projections):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the mask features (B, C, h, w) and the other maps (B, C, h, w), coarse to fine.

        Args:
            pyramid: 1 + ``num_levels`` maps (B, feature_dim, h, w), fine to coarse.
        """
        fine, *others = pyramid
        levels = tuple(
            project(level) for project, level in zip(self.input_projections, others[::-1], strict=True)
        )
        return self.mask_features(fine), levels
