"""The Decoder interface: an encoder and pixels in, an Output out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

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

    @abstractmethod
    def forward(self, encoder: Encoder, pixels: Tensor) -> Output:
        """Run the encoder on normalised ``pixels`` (B, 3, H, W) and decode its tokens."""
