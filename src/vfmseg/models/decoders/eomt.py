"""The EoMT decoder: queries among the tokens of the encoder's last blocks, so that the encoder decodes too.

Encoder-only Mask Transformer (arXiv 2503.19108, sec. 3.2 and 3.3). There is no decoder network: learned
queries join the patch tokens before the last blocks of the vision transformer, and what comes out of the
last block is read as masks and their classes by three small heads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.errors import RecipeError, WeightsError
from vfmseg.models.decoders.base import Decoder
from vfmseg.models.decoders.scale_block import ScaleBlock, Upscaling
from vfmseg.models.encoders.base import Encoder
from vfmseg.types import MaskFactors, Size

Draw = Callable[[tuple[int, ...]], Tensor]
"""Shape -> uniform random numbers in [0, 1)."""


class EoMTDecoder(Decoder):
    """Queries that run through the encoder's own last blocks.

    While its mask probability is above zero, a block's queries attend to the patches inside the mask that
    they predict just before that block only. Annealing lowers the probabilities to zero, block by block, so
    that inference needs neither masks nor the predictions they come from.

    Args:
        embed_dim: C, channels of the encoder's tokens.
        num_classes: K.
        patch_size: of the encoder; masks are predicted at a quarter of the image's size for patches of 16
            (two upscaling steps), and at twice the patch grid at least.
        num_queries: Q, masks proposed an image.
        num_blocks: last blocks of the encoder through which the queries run.
        draw: source of the numbers that decide which queries go unmasked; None for torch's generator.

    Raises:
        RecipeError: ``num_blocks`` or ``num_queries`` is below 1.
    """

    kind: Literal["pixels", "masks"] = "masks"
    class_layer_name = "class_layer"
    supervise_all: bool = True
    """Whether training supervises the predictions before each of the last blocks, too: the published setting wherever
    masks are used at any time of the run."""

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        patch_size: int,
        *,
        num_queries: int = 200,
        num_blocks: int = 4,
        draw: Draw | None = None,
    ) -> None:
        super().__init__()
        if num_blocks < 1 or num_queries < 1:
            raise RecipeError(
                f"the eomt decoder has num_blocks {num_blocks} and num_queries {num_queries}; both must be at least 1. "
                "Published: 3 blocks for S and B, 4 for L, 5 for g; 100 queries for semantic, 200 for other tasks."
            )
        self.num_queries, self.query_dim = num_queries, embed_dim
        self.queries: nn.Parameter | None = nn.Parameter(torch.randn(num_queries, embed_dim))
        self.class_layer = nn.Linear(embed_dim, num_classes + 1)
        self.mask_embedding = nn.Sequential(
            nn.Linear(embed_dim, embed_dim),
            nn.GELU(),
            nn.Linear(embed_dim, embed_dim),
            nn.GELU(),
            nn.Linear(embed_dim, embed_dim),
        )
        self.upscale = Upscaling(*(ScaleBlock(embed_dim) for _ in range(num_upscalings(patch_size))))
        self.num_blocks = num_blocks
        self.draw = draw
        self.mask_probabilities = (0.0,) * num_blocks

    def link_queries(self) -> None:
        """Start from a tuning's queries: they join the tokens as they are."""
        self.queries = None

    def embeddings(self) -> Iterator[nn.Parameter]:
        """Yield the learned queries, unless a tuning makes them."""
        if self.queries is not None:
            yield self.queries

    def forward(
        self, encoder: Encoder, pixels: Tensor, queries: Tensor | None = None
    ) -> tuple[MaskFactors, ...]:
        """Return the predictions, masks upscaled from the patch grid.

        In training, L = num_blocks + 1 of them where intermediate layers are supervised: one before each of the
        last blocks and one after them; in evaluation only the last.

        Raises:
            RecipeError: the encoder has fewer blocks than the queries are to run through.
        """
        refuse_more_blocks(self.num_blocks, encoder)
        first = encoder.num_blocks - self.num_blocks
        start = self.queries if queries is None else queries
        assert start is not None, "linked queries are handed in"
        num_queries = len(start)
        (tokens,) = encoder.tokens_after(pixels, [first])
        tokens = torch.cat([start.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], 1)  # B Q+prefix+hw C

        output = []
        for block, probability in enumerate(self.mask_probabilities, start=first):
            mask = None
            if self.training and self.supervise_all:
                output.append(self._predict(encoder, tokens))
                if probability > 0:
                    mask = self._mask(self._at_patches(output[-1], encoder.grid_size), probability)
            elif probability > 0:
                mask = self._mask(self._predict(encoder, tokens, at_patches=True), probability)
            tokens = encoder.run_blocks(tokens, block, block + 1, mask=mask, num_extra=num_queries)
        output.append(self._predict(encoder, tokens))
        return tuple(output)

    def _predict(self, encoder: Encoder, tokens: Tensor, *, at_patches: bool = False) -> MaskFactors:
        """Read ``tokens`` (B, Q + prefix + h*w, C) as masks and classes; masks upscaled, or at the patch grid."""
        normed = encoder.norm(tokens)
        queries = normed[:, : self.num_queries]  # B Q C
        grid = encoder.to_grid(normed)
        features = self.upscale.at_patches(grid) if at_patches else self.upscale(grid)  # B C h' w'
        return MaskFactors(self.mask_embedding(queries), features, self.class_layer(queries))

    @staticmethod
    @torch.no_grad()
    def _at_patches(prediction: MaskFactors, grid_size: Size) -> MaskFactors:
        """Bring a prediction to the patch grid.

        Resizing is linear: it is the features that are resized before the product, not the masks after it. In their
        own precision: turning the large map into float32 would cost more than reading it.
        """
        features = F.interpolate(prediction.features, grid_size, mode="bilinear", align_corners=False)
        return replace(prediction, features=features)

    @torch.no_grad()
    def _mask(self, at_patches: MaskFactors, probability: float) -> Tensor:
        """Return (B, Q, h*w) bool, True = the query may attend to the patch."""
        mask = (at_patches.mask_logits > 0).flatten(2)
        if probability < 1:
            shape = (mask.shape[0], mask.shape[1])
            drawn = torch.rand(shape, device=mask.device) if self.draw is None else self.draw(shape)
            mask |= (drawn.to(mask.device) > probability)[..., None]
        return mask


def refuse_more_blocks(num_blocks: int, encoder: Encoder) -> None:
    """Raise RecipeError where queries are to run through more blocks than the encoder has."""
    if num_blocks > encoder.num_blocks:
        raise RecipeError(
            f"decoder.num_blocks is {num_blocks}, but the encoder has {encoder.num_blocks} blocks; "
            f"allowed are 1 to {encoder.num_blocks}."
        )


def default_blocks(num_encoder_blocks: int) -> int:
    """Return how many of an encoder's blocks queries run through by default: the published 3 of 12, 4 of 24, 5 of 40."""
    return min(num_encoder_blocks, 3 if num_encoder_blocks <= 12 else 4 if num_encoder_blocks <= 24 else 5)


def num_upscalings(patch_size: int) -> int:
    """Return how often the patch grid is doubled before masks are read: two for patches of 16, at least once."""
    return max(1, int(math.log2(patch_size)) - 2)


_PUBLISHED_NAMES: Sequence[tuple[str, str]] = (
    (r"q\.weight", r"queries"),
    (r"class_head\.(.+)", r"class_layer.\1"),
    (r"mask_head\.([024])\.(.+)", r"mask_embedding.\1.\2"),
    (r"upscale\.(\d+)\.(conv1|conv2|norm)\.(.+)", r"upscale.\1.\2.\3"),
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the decoder's tensors of the published EoMT (tue-mps/eomt) under our names.

    Args:
        state: the decoder's part of a published state dict: without ``encoder.*`` and ``attn_mask_probs``, and
            without a prefix such as ``network.``; gradients, too.

    Raises:
        WeightsError: a name is not one of the published decoder's.
    """
    ours, unknown = {}, []
    for name, tensor in state.items():
        for pattern, replacement in _PUBLISHED_NAMES:
            match = re.fullmatch(pattern, name)
            if match:
                ours[match.expand(replacement)] = tensor
                break
        else:
            unknown.append(name)
    if unknown:
        raise WeightsError(
            f"{len(unknown)} of {len(state)} names are not of the published EoMT: "
            f"{', '.join(unknown[:5])}{' ...' if len(unknown) > 5 else ''}. Known are q, class_head, mask_head and "
            "upscale.*: pass the decoder's tensors only, unprefixed."
        )
    return ours
