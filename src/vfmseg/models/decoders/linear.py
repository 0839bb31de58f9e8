"""The linear decoder: one linear layer from patch tokens to class scores (arXiv 2404.12172, sec. 3)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vfmseg.models.decoders.base import Decoder
from vfmseg.models.encoders.base import Encoder
from vfmseg.types import PixelLogits


class LinearDecoder(Decoder):
    """Score every patch token on its own; the smallest decoder, and so the purest probe of an encoder.

    Args:
        embed_dim: C, channels of the encoder's tokens.
        num_classes: K.
    """

    kind: Literal["pixels", "masks"] = "pixels"
    class_layer_name = "classifier"

    def __init__(self, embed_dim: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(embed_dim, num_classes)

    def forward(self, encoder: Encoder, pixels: Tensor, queries: Tensor | None = None) -> PixelLogits:
        """Return logits (B, K, h, w) at the patch grid."""
        grid = encoder.forward_grid(pixels)  # B C h w
        logits = self.classifier(grid.flatten(2).transpose(1, 2))  # B hw K
        return PixelLogits(logits.transpose(1, 2).unflatten(2, (grid.shape[2], grid.shape[3])))
