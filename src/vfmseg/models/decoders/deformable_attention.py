"""Queries and a feature pyramid in, features sampled where each query points out (arXiv 2010.04159, eq. 3).

Plain PyTorch: every level is sampled with one ``grid_sample`` over all images and heads, weighed and summed
before the next is touched. Samples are many times larger than what they are made of, so training keeps none
of them: the backward pass takes them again, level by level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vfmseg.errors import RecipeError
from vfmseg.types import Size


class DeformableAttention(nn.Module):
    """Each head of each query looks at a few points of every level, at offsets from the query's own place.

    Args:
        embed_dim: C, channels of queries, features and result.
        num_heads: attention heads.
        num_levels: levels of the pyramid.
        num_points: points per head and level.
        value_ratio: channels of the sampled values over C.

    Raises:
        RecipeError: the channels of the values do not divide into heads.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        num_heads: int,
        num_levels: int,
        num_points: int = 4,
        value_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        value_dim = int(value_ratio * embed_dim)
        if value_dim % num_heads:
            raise RecipeError(
                f"deformable attention has {value_dim} value channels ({value_ratio} of {embed_dim}) and "
                f"{num_heads} heads; the channels must be a multiple of the heads."
            )
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(embed_dim, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(embed_dim, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(embed_dim, value_dim)
        self.output_proj = nn.Linear(value_dim, embed_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with equal weights and heads that point along equally spread directions, 1, 2, … cells far."""
        angle = 2 * math.pi * torch.arange(self.num_heads) / self.num_heads
        direction = torch.stack([angle.cos(), angle.sin()], 1)
        direction = direction / direction.abs().amax(1, keepdim=True)  # heads 2, on the unit square
        distance = torch.arange(1, self.num_points + 1)
        offsets = direction[:, None, None] * distance[:, None]  # heads 1 points 2
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, places: Tensor, features: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Return what the queries see, (B, Q, C).

        Args:
            queries: (B, Q, C).
            places: (Q, 2) x, y of each query in [0, 1]; see :func:`cell_centres`.
            features: (B, N, C), the levels row by row, one after the other.
            sizes: (h, w) of each level.
        """
        per_head = (self.num_heads, self.num_levels, self.num_points)
        values = self.value_proj(features).unflatten(2, (self.num_heads, -1))  # B N heads D
        offsets = self.sampling_offsets(queries).unflatten(2, (*per_head, 2))  # B Q heads levels points 2
        scores = self.attention_weights(queries).unflatten(2, (self.num_heads, -1))
        weights = scores.softmax(-1).unflatten(3, per_head[1:])  # B Q heads levels points
        # Half precision cannot tell neighbouring places of a large map apart.
        exact = torch.promote_types(queries.dtype, torch.float32)
        scale = torch.tensor([(w, h) for h, w in sizes], dtype=exact).to(queries.device, non_blocking=True)
        locations = places.to(exact)[:, None, None, None] + offsets.to(exact) / scale[:, None]
        sampled = sample_levels(values, sizes, locations, weights)
        out: Tensor = self.output_proj(sampled)
        return out


def sample_levels(values: Tensor, sizes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums (B, Q, heads * D) of ``values`` at ``locations``, bilinear, zero outside.

    Args:
        values: (B, N, heads, D), the levels row by row, one after the other.
        sizes: (h, w) of each level.
        locations: (B, Q, heads, levels, points, 2) x, y; 0 to 1 spans a level from edge to edge.
        weights: (B, Q, heads, levels, points).
    """
    batch, num_heads = locations.shape[0], locations.shape[2]
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # B*heads Q levels points 2
    shares = weights.to(locations.dtype).transpose(1, 2).flatten(0, 1)  # B*heads Q levels points
    total = locations.new_zeros(())
    for i, level in enumerate(values.to(locations.dtype).split([h * w for h, w in sizes], dim=1)):
        maps = level.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, sizes[i])  # B*heads D h w
        inputs = (maps, grids[:, :, i], shares[:, :, i])
        if torch.is_grad_enabled():
            total = total + checkpoint(_sample, *inputs, use_reentrant=False, preserve_rng_state=False)
        else:
            total = total + _sample(*inputs)
    by_head = total.unflatten(0, (batch, num_heads)).flatten(1, 2)  # B heads*D Q
    return by_head.transpose(1, 2).to(values.dtype)


def _sample(maps: Tensor, grid: Tensor, shares: Tensor) -> Tensor:
    """Return (B, D, Q): ``maps`` (B, D, h, w) at ``grid`` (B, Q, points, 2), weighed by ``shares`` (B, Q, points)."""
    sampled = F.grid_sample(maps, grid, align_corners=False)  # B D Q points
    return (sampled * shares[:, None]).sum(-1)


def cell_centres(size: Size, like: Tensor) -> Tensor:
    """Return (h*w, 2) x, y of the centres of a grid's cells, row by row; 0 to 1 from edge to edge.

    Args:
        size: (h, w).
        like: gives the device; the places are float32.
    """
    h, w = size
    y = (torch.arange(h, dtype=torch.float32, device=like.device) + 0.5) / h
    x = (torch.arange(w, dtype=torch.float32, device=like.device) + 0.5) / w
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], 2).flatten(0, 1)
