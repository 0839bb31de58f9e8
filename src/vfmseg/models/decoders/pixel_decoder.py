"""A feature pyramid in, a better one out: Mask2Former's pixel decoder (arXiv 2112.01527, sec. 3.2.1).

The three coarser levels look at each other by deformable attention; the finest is mixed in once, at the end,
and becomes the map that masks are read from.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.models.decoders.deformable_attention import DeformableAttention, cell_centres
from vfmseg.models.decoders.masked_attention import sine_positions
from vfmseg.types import Size

NUM_LEVELS = 3
"""Levels that attend to each other: strides 32, 16, 8."""


class PixelDecoder(nn.Module):
    """Deformable attention within and between levels, then one step up to the finest map.

    Runs without autocast: sampling places and group norms lose too much in half precision.

    Args:
        feature_dim: channels of the maps it is given.
        embed_dim: C, channels of the maps it returns; a multiple of 4, ``num_heads`` and ``num_groups``.
        num_layers: rounds of attention.
        num_heads: attention heads.
        num_points: points that each head looks at per level.
        feedforward_dim: hidden channels of the feed-forward layers.
        num_groups: groups of the group norms.
    """

    def __init__(
        self,
        feature_dim: int,
        embed_dim: int = 256,
        *,
        num_layers: int = 6,
        num_heads: int = 8,
        num_points: int = 4,
        feedforward_dim: int = 1024,
        num_groups: int = 32,
    ) -> None:
        super().__init__()
        self.input_projections = nn.ModuleList(
            _projection(feature_dim, embed_dim, num_groups) for _ in range(NUM_LEVELS)
        )
        self.level_embedding = nn.Parameter(torch.randn(NUM_LEVELS, embed_dim))
        self.layers = nn.ModuleList(
            _Layer(embed_dim, num_heads, num_points, feedforward_dim) for _ in range(num_layers)
        )
        self.lateral = _mixture(feature_dim, embed_dim, num_groups)
        self.output = _mixture(embed_dim, embed_dim, num_groups, kernel_size=3)
        self.mask_features = nn.Conv2d(embed_dim, embed_dim, 1)
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)
        _zero_bias(self.mask_features)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the mask features (B, C, H/4, W/4) and the three levels (B, C, h, w), coarse to fine.

        Args:
            pyramid: four maps (B, feature_dim, h, w), fine to coarse: strides 4, 8, 16, 32.
        """
        # Its own precision: float32, unless the whole model was turned into another.
        dtype = self.mask_features.weight.dtype
        with _without_autocast(pyramid[0].device.type):
            fine, *others = (level.to(dtype) for level in pyramid)
            levels = self._attend(others[::-1])
            return self._mask_features(fine, levels[-1]), levels

    def _attend(self, coarse_to_fine: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Project the maps and let them look at each other; returns as many (B, C, h, w)."""
        maps = [project(m) for project, m in zip(self.input_projections, coarse_to_fine, strict=True)]
        sizes: list[Size] = [(m.shape[2], m.shape[3]) for m in maps]
        tokens = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)  # B N C
        positions = torch.cat(
            [
                sine_positions(size, tokens.shape[2], tokens) + of_level
                for size, of_level in zip(sizes, self.level_embedding, strict=True)
            ]
        )  # N C
        places = torch.cat([cell_centres(size, tokens) for size in sizes])  # N 2
        for layer in self.layers:
            tokens = layer(tokens, positions, places, sizes)
        levels = tokens.transpose(1, 2).split([h * w for h, w in sizes], dim=2)  # each B C hw
        return tuple(level.unflatten(2, size) for level, size in zip(levels, sizes, strict=True))

    def _mask_features(self, fine: Tensor, level: Tensor) -> Tensor:
        """Add ``level`` (B, C, h, w), enlarged, to the projected ``fine`` (B, feature_dim, H/4, W/4)."""
        enlarged = F.interpolate(level, size=fine.shape[2:], mode="bilinear", align_corners=False)
        features: Tensor = self.mask_features(self.output(self.lateral(fine) + enlarged).relu())
        return features


class _Layer(nn.Module):
    """Deformable attention over all levels, feed-forward; each added, then normed."""

    def __init__(self, embed_dim: int, num_heads: int, num_points: int, feedforward_dim: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(
            embed_dim, num_heads=num_heads, num_levels=NUM_LEVELS, num_points=num_points
        )
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(embed_dim, feedforward_dim), nn.ReLU(), nn.Linear(feedforward_dim, embed_dim)
        )
        self.feedforward_norm = nn.LayerNorm(embed_dim)
        for layer in self.feedforward:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, tokens: Tensor, positions: Tensor, places: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Refine ``tokens`` (B, N, C); ``positions`` (N, C) are added to what they ask, not to what they say."""
        seen = self.attention(tokens + positions, places, tokens, sizes)
        tokens = self.attention_norm(tokens + seen)
        out: Tensor = self.feedforward_norm(tokens + self.feedforward(tokens))
        return out


def _without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Switch autocast off; the meta device, on which operations are counted, has none to switch off."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _projection(channels_in: int, channels_out: int, num_groups: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 1)
    nn.init.xavier_uniform_(convolution.weight)
    _zero_bias(convolution)
    return nn.Sequential(convolution, nn.GroupNorm(num_groups, channels_out))


def _mixture(channels_in: int, channels_out: int, num_groups: int, *, kernel_size: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.GroupNorm(num_groups, channels_out))


def _zero_bias(convolution: nn.Conv2d) -> None:
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
