"""The plain Mask2Former decoder: one feature map in, masks and their classes out (arXiv 2404.12172, sec. 3).

Mask2Former (arXiv 2112.01527) without pixel decoder and without scales: queries look at the encoder's last
feature map, and masks are read from that same map at the patch grid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from vfmseg.errors import RecipeError, WeightsError
from vfmseg.models.decoders.base import Decoder
from vfmseg.models.decoders.masked_attention import (
    MaskedBlock,
    blocked_positions,
    mask_embedding_layers,
    sine_positions,
)
from vfmseg.models.encoders.base import Encoder
from vfmseg.types import MaskLogits


class Mask2FormerDecoder(Decoder):
    """Learned queries that look at the features under their own masks, block by block.

    Args:
        encoder_dim: channels of the encoder's tokens.
        num_classes: K.
        num_queries: Q, masks proposed per image.
        num_blocks: masked-attention blocks; there is a prediction before the first and after each.
        embed_dim: C, channels inside the decoder; a multiple of 4 and of ``num_heads``.
        num_heads: attention heads.
        feedforward_dim: hidden channels of the feed-forward layers.

    Raises:
        RecipeError: ``embed_dim`` does not divide.
    """

    kind: Literal["pixels", "masks"] = "masks"
    class_layer_name = "class_layer"

    def __init__(
        self,
        encoder_dim: int,
        num_classes: int,
        *,
        num_queries: int = 100,
        num_blocks: int = 9,
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
        self.input_projection = nn.Linear(encoder_dim, embed_dim)
        self.num_queries, self.query_dim = num_queries, embed_dim
        self.query_content: nn.Parameter | None = nn.Parameter(torch.randn(num_queries, embed_dim))
        self.query_position: nn.Parameter | None = nn.Parameter(torch.randn(num_queries, embed_dim))
        self.blocks = nn.ModuleList(
            MaskedBlock(embed_dim, num_heads, feedforward_dim) for _ in range(num_blocks)
        )
        self.query_norm = nn.LayerNorm(embed_dim)
        self.mask_embedding = mask_embedding_layers(embed_dim)
        self.class_layer = nn.Linear(embed_dim, num_classes + 1)

    def link_queries(self) -> None:
        """Take positions from a tuning's queries, and contents from a linear map of them (Rein, sec. 3.3)."""
        self.query_content = self.query_position = None
        dim = self.input_projection.out_features
        self.query_from_link = nn.Linear(dim, dim)

    def embeddings(self) -> Iterator[nn.Parameter]:
        """Yield the learned queries, unless a tuning makes them."""
        yield from (p for p in (self.query_content, self.query_position) if p is not None)

    def forward(
        self, encoder: Encoder, pixels: Tensor, queries: Tensor | None = None
    ) -> tuple[MaskLogits, ...]:
        """Return the predictions, masks at the patch grid.

        In training, L = num_blocks + 1 of them, one before the first block and one after each; in
        evaluation only the last.
        """
        grid = encoder.forward_grid(pixels)  # B C' h w
        h, w = grid.shape[2:]
        values = self.input_projection(grid.flatten(2).transpose(1, 2))  # B hw C
        keys = values + sine_positions((h, w), values.shape[2], values)
        content = self.query_content if queries is None else self.query_from_link(queries)
        position = self.query_position if queries is None else queries
        assert content is not None, "linked queries are handed in"
        state = content.expand(len(values), -1, -1)  # B Q C

        output = []
        for block in self.blocks:
            normed = self.query_norm(state)
            mask_logits = self._mask_logits(normed, values)  # B Q hw
            if self.training:
                output.append(MaskLogits(mask_logits.unflatten(2, (h, w)), self.class_layer(normed)))
            state = block(state, position, keys, values, ~blocked_positions(mask_logits))
        normed = self.query_norm(state)
        mask_logits = self._mask_logits(normed, values)
        output.append(MaskLogits(mask_logits.unflatten(2, (h, w)), self.class_layer(normed)))
        return tuple(output)

    def _mask_logits(self, normed_queries: Tensor, values: Tensor) -> Tensor:
        """Return (B, Q, hw) products of every query's mask embedding with every feature."""
        embedding: Tensor = self.mask_embedding(normed_queries)
        return embedding @ values.transpose(1, 2)


_PUBLISHED_NAMES: tuple[tuple[str, str], ...] = (
    (r"proj\.(.+)", r"input_projection.\1"),
    (r"q\.weight", r"query_content"),
    (r"q_pos_embed\.weight", r"query_position"),
    (r"q_norm\.(.+)", r"query_norm.\1"),
    (r"q_class\.(.+)", r"class_layer.\1"),
    (r"q_mlp\.0\.0\.(.+)", r"mask_embedding.0.\1"),
    (r"q_mlp\.1\.0\.(.+)", r"mask_embedding.2.\1"),
    (r"q_mlp\.2\.0\.(.+)", r"mask_embedding.4.\1"),
    (r"transformer_decoder\.(\d+)\.cross_attn\.out_proj\.(.+)", r"blocks.\1.cross_attention.output.\2"),
    (r"transformer_decoder\.(\d+)\.cross_attn_norm\.(.+)", r"blocks.\1.cross_norm.\2"),
    (r"transformer_decoder\.(\d+)\.self_attn\.q_proj\.(.+)", r"blocks.\1.self_attention.query.\2"),
    (r"transformer_decoder\.(\d+)\.self_attn\.k_proj\.(.+)", r"blocks.\1.self_attention.key.\2"),
    (r"transformer_decoder\.(\d+)\.self_attn\.v_proj\.(.+)", r"blocks.\1.self_attention.value.\2"),
    (r"transformer_decoder\.(\d+)\.self_attn\.out_proj\.(.+)", r"blocks.\1.self_attention.output.\2"),
    (r"transformer_decoder\.(\d+)\.self_attn_norm\.(.+)", r"blocks.\1.self_norm.\2"),
    (r"transformer_decoder\.(\d+)\.ffn\.([02])\.(.+)", r"blocks.\1.feedforward.\2.\3"),
    (r"transformer_decoder\.(\d+)\.final_layer_norm\.(.+)", r"blocks.\1.feedforward_norm.\2"),
)
_PUBLISHED_PACKED = re.compile(r"transformer_decoder\.(\d+)\.cross_attn\.in_proj_(weight|bias)")


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the decoder's tensors of the published benchmark (tue-mps/benchmark-vfm-ss) under our names.

    Args:
        state: the decoder's part of a published state dict, whole or in parts, gradients too: without
            ``encoder.*``, ``pixel_mean`` and ``pixel_std``, and without a prefix such as ``network.``.

    Raises:
        WeightsError: a name is not one of the published decoder's.
    """
    ours: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        packed = _PUBLISHED_PACKED.fullmatch(name)
        if packed:
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[f"blocks.{packed[1]}.cross_attention.{part}.{packed[2]}"] = piece
            continue
        for pattern, replacement in _PUBLISHED_NAMES:
            match = re.fullmatch(pattern, name)
            if match:
                ours[match.expand(replacement)] = tensor
                break
        else:
            unknown.append(name)
    if unknown:
        raise WeightsError(
            f"{len(unknown)} of {len(state)} names are not of the published Mask2Former decoder: "
            f"{', '.join(unknown[:5])}{' ...' if len(unknown) > 5 else ''}. Known are proj, q, q_pos_embed, "
            "q_norm, q_class, q_mlp and transformer_decoder.*: pass the decoder's tensors only, unprefixed."
        )
    return ours
