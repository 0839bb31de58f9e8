"""The segmenter: uint8 images in, a decoder's Output out; encoder, tuning and decoder in one module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from torch import Tensor, nn

from vfmseg.models.decoders.base import Decoder
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.tuning.base import Tuning
from vfmseg.types import Output


class Segmenter(nn.Module):
    """A vision foundation model that segments.

    A plain ``nn.Module``: call it with uint8 images and train it with any loop.

    Args:
        encoder: at its final image and patch size.
        tuning: attached to the encoder here.
        decoder: whose ``embed_dim`` fits the encoder.
    """

    def __init__(self, encoder: Encoder, tuning: Tuning, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.tuning = tuning
        if tuning.links(decoder.num_queries, decoder.query_dim):
            decoder.link_queries()
        tuning.attach(encoder)

    def forward(self, images: Tensor) -> Output:
        """Segment ``images`` (B, 3, H, W) uint8 RGB, H W the encoder's ``image_size``."""
        pixels, store = self.encoder.normalise(images), self.encoder.features
        with nullcontext() if store is None else store.seeing(images, training=self.training):
            output: Output = self.decoder(self.encoder, pixels, self.tuning.queries())
        return output

    @property
    def features_can_be_shared(self) -> bool:
        """Whether the encoder's tokens are a function of the image alone, which does not change as others learn."""
        return (
            not self.tuning.encoder_learns
            and next(self.tuning.added_parameters(), None) is None
            and not any(parameter.requires_grad for parameter in self.encoder.parameters())
        )

    def train(self, mode: bool = True) -> Segmenter:
        """Switch to training mode; an encoder whose own layers do not train stays in evaluation mode."""
        super().train(mode)
        if mode and not self.tuning.encoder_learns:
            self.encoder.eval()
        return self

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the encoder's own parameters that learn."""
        return self.tuning.encoder_parameters(self.encoder)

    def tuning_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that the tuning has added; all of them learn."""
        return self.tuning.added_parameters()

    def decoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the decoder's parameters; all of them learn."""
        return self.decoder.parameters()

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) that ``forward`` expects."""
        return self.encoder.image_size
