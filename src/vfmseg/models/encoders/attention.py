"""timm's attention modules in, one attention out that masks the rows of the queries only.

EoMT (arXiv 2503.19108, sec. 3.3) puts queries among the tokens and masks what each may attend to. Only
their rows have a mask; handing every row to a masked kernel costs half as much again, and keeps the free
rows from the fused kernels. So the rows of the queries and all others are attended to apart, on the same
keys and values; the result is the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, ResPostBlock
from torch import Tensor, nn

_BLOCKS = (Block, ResPostBlock, EvaBlock, EvaBlockPostNorm)


class QueryMaskedAttention(nn.Module):
    """Self-attention with the layers, and so the parameter names, of a timm attention module.

    Args:
        source: the module that is replaced; its layers are taken over, not copied.
    """

    def __init__(self, source: Attention | AttentionRope | EvaAttention) -> None:
        super().__init__()
        self.num_heads = source.num_heads
        self.head_dim = source.head_dim
        self.qkv = source.qkv
        self.q_bias: nn.Parameter | None = None
        self.v_bias: nn.Parameter | None = None
        if isinstance(source, EvaAttention):
            self.q_bias, self.v_bias = source.q_bias, source.v_bias
        if source.qkv is None:
            self.q_proj, self.k_proj, self.v_proj = source.q_proj, source.k_proj, source.v_proj
        self.rotate_half = isinstance(source, (AttentionRope, EvaAttention)) and source.rotate_half
        self.q_norm, self.k_norm = source.q_norm, source.k_norm
        self.attn_drop, self.proj_drop = source.attn_drop, source.proj_drop
        self.norm, self.gate, self.proj = source.norm, source.gate, source.proj

    def forward(
        self,
        tokens: Tensor,
        rope: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attend; called by timm's block, whence the names of the arguments.

        Args:
            tokens: (B, N, C).
            rope: rotary table of the patches, sines then cosines: (h*w, 2D), or (heads, h*w, 2D).
            attn_mask: (B, Q, h*w) bool, True = query may attend to patch; the queries are the first tokens,
                the patches the last. Not timm's N x N mask.
            is_causal: part of timm's call; images have no order, so always False.
        """
        query, key, value = self._project(tokens)  # B heads N D
        query, key = self.q_norm(query), self.k_norm(key)
        if rope is not None:
            query, key = self._rotate(query, rope).type_as(value), self._rotate(key, rope).type_as(value)
        attended = self._attend(query, key, value, attn_mask)
        attended = self.norm(attended.transpose(1, 2).flatten(2))  # B N C
        if self.gate is not None:
            attended = attended * self.gate(tokens).sigmoid()
        out: Tensor = self.proj_drop(self.proj(attended))
        return out

    def _project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.qkv is None:
            query, key, value = self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens)
        else:
            query, key, value = self._fused(tokens).chunk(3, dim=-1)
        query, key, value = (t.unflatten(2, (-1, self.head_dim)).transpose(1, 2) for t in (query, key, value))
        if key.shape[1] != self.num_heads:  # grouped queries: several heads share a key
            key, value = (t.repeat_interleave(self.num_heads // key.shape[1], dim=1) for t in (key, value))
        return query, key, value

    def _fused(self, tokens: Tensor) -> Tensor:
        if self.q_bias is None or self.v_bias is None:
            joint: Tensor = self.qkv(tokens)
            return joint
        # EVA and DINOv3: the key has no bias, so the three biases cannot be one parameter.
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        if type(self.qkv) is nn.Linear:
            return F.linear(tokens, self.qkv.weight, bias)
        added: Tensor = self.qkv(tokens) + bias  # a tuning has put its own layer here
        return added

    def _rotate(self, heads: Tensor, rope: Tensor) -> Tensor:
        patches = rope.shape[-2]  # the last tokens; queries and prefix tokens have no place in the image
        rotated = apply_rot_embed_cat(heads[:, :, -patches:], rope, half=self.rotate_half)
        return torch.cat([heads[:, :, :-patches], rotated], dim=2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        dropout = self.attn_drop.p if self.training else 0.0
        if mask is None:
            return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        rows = mask.shape[1]
        masked = F.scaled_dot_product_attention(
            query[:, :, :rows], key, value, attn_mask=row_mask(mask, key.shape[2]), dropout_p=dropout
        )
        free = F.scaled_dot_product_attention(query[:, :, rows:], key, value, dropout_p=dropout)
        return torch.cat([masked, free], dim=2)


def row_mask(mask: Tensor, num_tokens: int) -> Tensor:
    """Widen ``mask`` (B, Q, h*w) to all keys: (B, 1, Q, N); what is no patch may be attended to."""
    return F.pad(mask, (num_tokens - mask.shape[2], 0), value=True)[:, None]


def full_mask(mask: Tensor, num_tokens: int) -> Tensor:
    """Widen ``mask`` (B, Q, h*w) to all pairs: (B, 1, N, N); the rows below the queries are free."""
    return F.pad(row_mask(mask, num_tokens), (0, 0, 0, num_tokens - mask.shape[1]), value=True)


def replace_attention(blocks: Iterable[nn.Module]) -> bool:
    """Put :class:`QueryMaskedAttention` into ``blocks`` in place; False where their attention is another.

    Rare timm blocks (parallel, differential) are left alone; they need :func:`full_mask`.
    """
    blocks = list(blocks)
    if not all(
        type(b) in _BLOCKS and type(b.attn) in (Attention, AttentionRope, EvaAttention) for b in blocks
    ):
        return False
    for block in blocks:
        block.attn = QueryMaskedAttention(block.attn)
    return True
