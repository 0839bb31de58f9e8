"""Feature maps in, masks and their classes out: Mask2Former's transformer decoder (arXiv 2112.01527, sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.errors import RecipeError
from vfmseg.models.decoders.masked_attention import (
    MaskedBlock,
    blocked_positions,
    mask_embedding_layers,
    sine_positions,
)
from vfmseg.types import MaskLogits


class MaskedTransformer(nn.Module):
    """Learned queries that look at one level after the other under their own masks, block by block.

    Args:
        num_classes: K.
        num_queries: Q, masks proposed per image.
        num_blocks: masked-attention blocks; there is a prediction before the first and after each.
        num_levels: levels that the blocks look at in turn, coarse to fine. A single level has no
            level embedding: it would tell it from nothing.
        embed_dim: C, channels of the maps and queries; a multiple of 4 and of ``num_heads``.
        num_heads: attention heads.
        feedforward_dim: hidden channels of the feed-forward layers.

    Raises:
        RecipeError: ``embed_dim`` does not divide.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        num_queries: int = 200,
        num_blocks: int = 9,
        num_levels: int = 3,
        embed_dim: int = 256,
        num_heads: int = 8,
        feedforward_dim: int = 2048,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads or embed_dim % 4:
            raise RecipeError(
                f"the decoder's embed_dim is {embed_dim} with num_heads {num_heads}; embed_dim must be a "
                "multiple of num_heads and of 4. Published: embed_dim 256, num_heads 8."
            )
        self.query_content: nn.Parameter | None = nn.Parameter(torch.randn(num_queries, embed_dim))
        self.query_position: nn.Parameter | None = nn.Parameter(torch.randn(num_queries, embed_dim))
        self.level_embedding = nn.Parameter(torch.randn(num_levels, embed_dim)) if num_levels > 1 else None
        blocks = [MaskedBlock(embed_dim, num_heads, feedforward_dim) for _ in range(num_blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.query_norm = nn.LayerNorm(embed_dim)
        self.mask_embedding = mask_embedding_layers(embed_dim)
        self.class_layer = nn.Linear(embed_dim, num_classes + 1)
        for block in blocks:
            _xavier(block)

    def forward(
        self,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        *,
        queries: Tensor | None = None,
        query_positions: Tensor | None = None,
    ) -> tuple[MaskLogits, ...]:
        """Return the predictions, masks at the size of ``mask_features``.

        In training, L = num_blocks + 1 of them, one before the first block and one after each; in
        evaluation only the last.

        Args:
            levels: ``num_levels`` maps (B, C, h, w), coarse to fine.
            mask_features: (B, C, H/4, W/4), whose products with the queries' mask embeddings are the masks.
            queries: (Q, C) or (B, Q, C), what the queries start as in place of the learned content.
            query_positions: (Q, C) or (B, Q, C) in place of the learned positions.
        """
        values = [self._values(level, i) for i, level in enumerate(levels)]  # each B hw C
        keys = [
            value + sine_positions((level.shape[2], level.shape[3]), value.shape[2], value)
            for value, level in zip(values, levels, strict=True)
        ]
        # Resizing is linear, so it may come before the product with the queries: once per level, not per
        # prediction, and without the full-size masks where nobody asks for them.
        reduced = [
            F.interpolate(mask_features.detach(), size=level.shape[2:], mode="bilinear", align_corners=False)
            for level in levels
        ]
        position = self.query_position if query_positions is None else query_positions
        content = self.query_content if queries is None else queries
        assert content is not None, "who takes the learned queries away hands others in"
        state = content.expand(len(mask_features), -1, -1)  # B Q C

        output = []
        for i, block in enumerate(self.blocks):
            normed = self.query_norm(state)
            embedding = self.mask_embedding(normed)
            if self.training:
                output.append(MaskLogits(_masks(embedding, mask_features), self.class_layer(normed)))
            turn = i % len(levels)
            blocked = blocked_positions(_masks(embedding.detach(), reduced[turn]).flatten(2))  # B Q hw
            state = block(state, position, keys[turn], values[turn], ~blocked)
        normed = self.query_norm(state)
        masks = _masks(self.mask_embedding(normed), mask_features)
        output.append(MaskLogits(masks, self.class_layer(normed)))
        return tuple(output)

    def _values(self, level: Tensor, index: int) -> Tensor:
        """Turn a map (B, C, h, w) into tokens (B, hw, C) that say which level they are of."""
        tokens = level.flatten(2).transpose(1, 2)
        return tokens if self.level_embedding is None else tokens + self.level_embedding[index]


def _masks(embedding: Tensor, features: Tensor) -> Tensor:
    """Return the products (B, Q, h, w) of every query's mask embedding with every feature (B, C, h, w)."""
    return (embedding @ features.flatten(2)).unflatten(2, features.shape[2:])


def _xavier(block: MaskedBlock) -> None:
    """Draw the matrices Xavier-uniform, query, key and value as one of 3C x C (DETR, arXiv 2005.12872, sec. A.4)."""
    for attention in (block.cross_attention, block.self_attention):
        bound = math.sqrt(6 / (4 * attention.output.in_features))
        for layer in (attention.query, attention.key, attention.value):
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(attention.output.weight)
        nn.init.zeros_(attention.output.bias)
    for module in block.feedforward:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
