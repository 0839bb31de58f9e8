"""Feature maps of a plain vision transformer in, maps at strides 4, 8, 16 and 32 out.

From the last map alone: what stands in for the ViT-Adapter, and then for the pixel decoder, on the way from
Mask2Former to EoMT (arXiv 2503.19108, sec. 3.1). The paper says "transposed convolutions and convolutions"; that
every stride has blocks of its own is inferred from the parameter counts of its Table 1. From the maps after several
blocks: what Rein's decoder is given (arXiv 2312.04265, sec. 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.errors import RecipeError
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


class TappedPyramid(nn.Module):
    """Take the patches after several blocks and resize each map to a stride of its own; nothing is learned.

    The encoder's final norm is not used, and blocks after the last tap are not run. What a tuning does after a
    block (Rein's refinement) is in its map.

    Args:
        patch_size: pixels a side.
        taps: a block for each stride, ascending, from 0.
        strides: of the maps wanted, in pixels.
    """

    def __init__(self, patch_size: int, taps: Sequence[int], strides: Sequence[int] = (4, 8, 16, 32)) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.factors = [patch_size / stride for stride in strides]

    def forward(self, encoder: Encoder, pixels: Tensor) -> list[Tensor]:
        """Run ``encoder`` on ``pixels`` (B, 3, H, W); returns one map (B, C, h, w) per stride, sizes rounded down.

        Raises:
            RecipeError: the image is smaller than the largest stride.
        """
        if min(encoder.grid_size) * min(self.factors) < 1:
            raise RecipeError(
                f"decoder.taps makes a map at stride {round(encoder.patch_size / min(self.factors))}, but "
                f"encoder.image_size is {encoder.image_size[0]}x{encoder.image_size[1]}; take a larger one"
            )
        maps = []
        tapped = encoder.tokens_after(pixels, [tap + 1 for tap in self.taps])
        for tokens, factor in zip(tapped, self.factors, strict=True):
            grid = encoder.to_grid(tokens)
            if factor != 1:
                grid = F.interpolate(grid, scale_factor=factor, mode="bilinear", align_corners=False)
            maps.append(grid)
        return maps


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
