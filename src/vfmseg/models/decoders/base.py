"""The Decoder interface: an encoder and pixels in, an Output out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

from torch import Tensor, nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import Encoder
from vfmseg.types import Output


class Decoder(nn.Module, ABC):
    """Turns what an encoder sees into scores. Holds no encoder: it is handed one at each call."""

    kind: Literal["pixels", "masks"]
    """``pixels``: answers with PixelLogits; ``masks``: with one MaskLogits per supervised layer."""
    class_layer_name: str
    """Name of the submodule whose parameters belong to the classes, and start anew where the classes change."""
    mask_probabilities: tuple[float, ...] = ()
    """Of each block whose attention masks can be annealed: how likely a query attends inside its mask only. Whoever
    trains sets it from the step; empty where there is nothing to anneal."""

    query_dim: int | None = None
    """Channels of the queries; None for a decoder without."""
    num_queries: int | None = None
    """Queries an image; None for a decoder without."""

    def embeddings(self) -> Iterator[nn.Parameter]:
        """Yield learned queries and embeddings of levels, which some recipes do not decay as they do layers."""
        return iter(())

    @abstractmethod
    def forward(self, encoder: Encoder, pixels: Tensor, queries: Tensor | None = None) -> Output:
        """Run the encoder on normalised ``pixels`` (B, 3, H, W) and decode its tokens.

        Args:
            encoder: what sees the pixels.
            pixels: (B, 3, H, W).
            queries: (Q, query_dim) of the tuning, for a decoder whose queries were linked to it; else None.
        """

    def link_queries(self) -> None:
        """Start from a tuning's queries from now on, in place of learned ones, which go.

        Raises:
            RecipeError: the decoder has no queries.
        """
        raise RecipeError(
            "tuning.link is on: Rein's tokens are to drive the decoder's queries, but this decoder has none. Set "
            "tuning.link: false, or take a decoder with queries (mask2former, mask2former_full, eomt)."
        )
