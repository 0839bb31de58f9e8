"""Queries in, queries refined by the features under their masks out: what all Mask2Former decoders share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.types import Size


class Attention(nn.Module):
    """Multi-head attention whose queries, keys and values may come from different tokens."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key = nn.Linear(embed_dim, embed_dim)
        self.value = nn.Linear(embed_dim, embed_dim)
        self.output = nn.Linear(embed_dim, embed_dim)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from (B, Q, C) to (B, N, C); ``mask`` (B, Q, N) bool, True = may attend."""
        query, key, value = (
            projected.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # B heads N D
            for projected in (self.query(queries), self.key(keys), self.value(values))
        )
        mask = None if mask is None else mask[:, None]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return out


class MaskedBlock(nn.Module):
    """Masked attention to the features, attention among queries, feed-forward; each added, then normed."""

    def __init__(self, embed_dim: int, num_heads: int, feedforward_dim: int) -> None:
        super().__init__()
        self.cross_attention = Attention(embed_dim, num_heads)
        self.cross_norm = nn.LayerNorm(embed_dim)
        self.self_attention = Attention(embed_dim, num_heads)
        self.self_norm = nn.LayerNorm(embed_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(embed_dim, feedforward_dim), nn.ReLU(), nn.Linear(feedforward_dim, embed_dim)
        )
        self.feedforward_norm = nn.LayerNorm(embed_dim)
        # The published cross-attention draws query, key and value as one matrix of 3C x C, Xavier-uniform.
        for layer in (self.cross_attention.query, self.cross_attention.key, self.cross_attention.value):
            bound = math.sqrt(6 / (4 * embed_dim))
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.cross_attention.output.bias)

    def forward(
        self, queries: Tensor, position: Tensor, keys: Tensor, values: Tensor, may_attend: Tensor
    ) -> Tensor:
        """Refine ``queries`` (B, Q, C); ``may_attend`` (B, Q, hw) says which features each looks at."""
        seen = self.cross_attention(queries + position, keys, values, may_attend)
        queries = self.cross_norm(queries + seen)
        placed = queries + position
        queries = self.self_norm(queries + self.self_attention(placed, placed, queries))
        out: Tensor = self.feedforward_norm(queries + self.feedforward(queries))
        return out


def mask_embedding_layers(embed_dim: int) -> nn.Sequential:
    """Return the layers from a query to its mask embedding, whose product with a feature is a mask logit."""
    return nn.Sequential(
        nn.Linear(embed_dim, embed_dim),
        nn.ReLU(),
        nn.Linear(embed_dim, embed_dim),
        nn.ReLU(),
        nn.Linear(embed_dim, embed_dim),
    )


def blocked_positions(mask_logits: Tensor) -> Tensor:
    """Return where queries must not look: outside their masks.

    Args:
        mask_logits: (B, Q, hw) float.

    Returns:
        (B, Q, hw) bool, True = blocked. A query whose mask is empty is blocked nowhere, as it would
        otherwise have nothing to look at.
    """
    blocked = mask_logits < 0
    return blocked & ~blocked.all(-1, keepdim=True)


def sine_positions(grid_size: Size, channels: int, like: Tensor) -> Tensor:
    """Return (hw, C) sine embeddings of the grid's rows (first half of the channels) and columns.

    Rows count from 1 to h and are scaled so that h is one full turn, as are columns; channel pairs 2j, 2j + 1
    are sine and cosine of the position over 10000^(2j / (C/2)) (DETR, arXiv 2005.12872, sec. A.4).

    Args:
        grid_size: (h, w).
        channels: C, a multiple of 4.
        like: gives device and dtype of the result; the angles are float32.
    """
    half = channels // 2
    exponent = torch.arange(0, half, 2, dtype=torch.float32, device=like.device) / half
    wavelength = 10000**exponent  # half/2

    def of_axis(size: int) -> Tensor:
        position = torch.arange(1, size + 1, dtype=torch.float32, device=like.device)
        angle = position[:, None] / (size + 1e-6) * 2 * math.pi / wavelength
        return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)  # size half

    h, w = grid_size
    rows, columns = of_axis(h)[:, None].expand(h, w, half), of_axis(w)[None].expand(h, w, half)
    return torch.cat([rows, columns], 2).flatten(0, 1).to(like.dtype)
