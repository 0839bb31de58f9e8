"""Rein: learned tokens refine the features after every block of a frozen encoder (arXiv 2312.04265).

Each block has m tokens. A patch looks for the tokens that resemble it, takes their values, and is moved by a small
matrix that all blocks share; the first token stands for "nothing to change". The same tokens, seen over all blocks,
become the queries of a mask decoder: each query then belongs to what its tokens have refined.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.tuning.base import Tuning

_FIRST_SCALE = 0.001


class ReinTuning(Tuning):
    """Train tokens of every block and small maps that the blocks share; the encoder stays frozen.

    Class and register tokens, and queries among the tokens, are not refined.

    Args:
        num_tokens: m, tokens a block; with a linked decoder, its number of queries.
        rank: r of the tokens' factors A (m, r) and B (r, C); None for whole tokens (m, C).
        link: whether a decoder's queries are made from the tokens (sec. 3.3); None where the decoder has queries.
        query_dim: D of those queries, where they are made without a decoder to fit them to.
        softmax: weigh tokens by a softmax of the scaled similarity; otherwise by the similarity itself.
        zero_start: begin as the identity: the map that moves the patches starts at zero and has no learned scale,
            which otherwise starts at 0.001.
        shared: all blocks share their maps (sec. 3.4); otherwise each has its own.

    Raises:
        RecipeError: fewer than two tokens, or a rank or query size below 1.
    """

    name = "rein"

    def __init__(
        self,
        *,
        num_tokens: int = 100,
        rank: int | None = 16,
        link: bool | None = None,
        query_dim: int | None = None,
        softmax: bool = True,
        zero_start: bool = False,
        shared: bool = True,
    ) -> None:
        super().__init__()
        if num_tokens < 2 or (rank is not None and rank < 1) or (query_dim is not None and query_dim < 1):
            raise RecipeError(
                f"tuning rein has num_tokens {num_tokens}, rank {rank} and query_dim {query_dim}: at least 2 tokens are "
                "needed, as the first of them means no change, and sizes of at least 1. Published: 100, 16, 256."
            )
        self.num_tokens, self.rank, self.link, self.query_dim = num_tokens, rank, link, query_dim
        self.softmax, self.zero_start, self.shared = softmax, zero_start, shared

    def links(self, num_queries: int | None, query_dim: int | None) -> bool:
        """Return whether the decoder's queries are made of the tokens, one each.

        Raises:
            RecipeError: there are not as many queries as tokens.
        """
        wanted = num_queries is not None if self.link is None else self.link
        if wanted and num_queries not in (None, self.num_tokens):
            raise RecipeError(
                f"tuning rein has num_tokens {self.num_tokens}, but the decoder has num_queries {num_queries}: linked, "
                "each token makes a query. Set tuning.num_tokens and decoder.num_queries alike, or tuning.link: false."
            )
        self.query_dim = query_dim if wanted else None
        return wanted

    def attach(self, encoder: Encoder) -> None:
        """Freeze ``encoder`` and refine its patches after every block."""
        encoder.requires_grad_(False)
        self.initialise(encoder.num_blocks, encoder.embed_dim, encoder.patch_size)
        self._num_prefix_tokens = encoder.num_prefix_tokens
        encoder.extend(self)

    def initialise(self, num_blocks: int, dim: int, patch_size: int) -> None:
        """Draw the parameters for an encoder of ``num_blocks`` blocks of ``dim`` channels."""
        m, r = self.num_tokens, self.rank
        if r is None:
            self.tokens = nn.Parameter(
                _uniform((num_blocks, m, dim), math.sqrt(6 / (3 * patch_size**2 + dim)))
            )
        else:
            bound = math.sqrt(6 / (3 * patch_size**2 + math.sqrt(dim * r)))
            self.tokens_a = nn.Parameter(_uniform((num_blocks, m, r), bound))
            self.tokens_b = nn.Parameter(_uniform((num_blocks, r, dim), bound))
        self.token_values, self.shift = self._maps(num_blocks, dim, dim), self._maps(num_blocks, dim, dim)
        if self.zero_start:
            for parameter in self.shift.parameters():
                nn.init.zeros_(parameter)
        else:
            self.scale = nn.Parameter(torch.tensor(_FIRST_SCALE))
        if self.query_dim is not None:
            self.token_queries = self._maps(num_blocks, dim, self.query_dim)
            self.merged_queries = nn.Linear(3 * self.query_dim, self.query_dim)

    def before(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Return ``tokens``: a block sees what the one before it has left."""
        return tokens

    def after(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Return ``tokens`` (B, N, C) with the patches refined by block ``index``'s learned tokens."""
        shift = self._shift(tokens, index)
        # All tokens are in one piece, patches alone are not: moving the few others too and taking that back is the
        # cheaper way, by two copies of the features.
        if start := num_extra + self._num_prefix_tokens:
            shift[:, :start] = 0
        return tokens + shift

    def refine(self, features: Tensor, index: int) -> Tensor:
        """Return ``features`` (B, n, C) moved by block ``index``'s tokens (equations 4 to 7, with the code's scale)."""
        return features + self._shift(features, index)

    def _shift(self, features: Tensor, index: int) -> Tensor:
        """Return by how much ``features`` (B, n, C) are moved."""
        device = features.device.type
        # once, and not for each product; the meta device, on which operations are counted, has no autocast to ask for
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            features = features.to(torch.get_autocast_dtype(device))
        tokens = self._tokens_of(index)  # m C
        values = self._of(self.token_values, index)(tokens[1:]).to(features.dtype)  # m-1 C
        values = F.pad(values, (0, 0, 1, 0))  # the first token changes nothing
        rows = features.flatten(0, 1)
        keys = tokens * features.shape[2] ** -0.5 if self.softmax else tokens
        weights = rows @ keys.to(features.dtype).t()  # B*n m
        if self.softmax:
            weights = weights.softmax(1)
        moved = torch.addmm(rows, weights.to(features.dtype), values).view_as(features)
        # The scale goes into the small matrix, not over all patches.
        shift = self._of(self.shift, index)
        scale = 1.0 if self.zero_start else self.scale
        return F.linear(moved, shift.weight * scale, shift.bias * scale)

    def queries(self) -> Tensor | None:
        """Return (m, D): for each token its maximum and mean over the blocks and its last value, merged (eq. 8 to 10)."""
        if self.query_dim is None:
            return None
        tokens = self.tokens if self.rank is None else self.tokens_a @ self.tokens_b  # L m C
        seen = torch.stack(
            [self._of(self.token_queries, i)(of_block) for i, of_block in enumerate(tokens)]
        )  # L m D
        of_blocks = torch.stack([seen.amax(0), seen.mean(0), seen[-1]], 2)  # m D 3
        merged: Tensor = self.merged_queries(of_blocks.flatten(1))
        return merged

    def undecayed_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the tokens and the scale, which the published recipe does not decay."""
        for name in ("tokens", "tokens_a", "tokens_b", "scale"):
            parameter = getattr(self, name, None)
            if parameter is not None:
                yield parameter

    def _maps(self, num_blocks: int, from_dim: int, to_dim: int) -> nn.Linear | nn.ModuleList:
        if self.shared:
            return nn.Linear(from_dim, to_dim)
        return nn.ModuleList(nn.Linear(from_dim, to_dim) for _ in range(num_blocks))

    @staticmethod
    def _of(maps: nn.Linear | nn.ModuleList, index: int) -> nn.Linear:
        return maps if isinstance(maps, nn.Linear) else cast(nn.Linear, maps[index])

    def _tokens_of(self, index: int) -> Tensor:
        return self.tokens[index] if self.rank is None else self.tokens_a[index] @ self.tokens_b[index]


def _uniform(shape: tuple[int, ...], bound: float) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound)
