"""The two tunings that add nothing: ``full`` trains every weight of the encoder, ``frozen`` none."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from vfmseg.models.encoders.base import Encoder
from vfmseg.models.tuning.base import Tuning


class FullTuning(Tuning):
    """Train every encoder parameter (the benchmark's default, arXiv 2404.12172)."""

    name = "full"
    encoder_learns = True

    def attach(self, encoder: Encoder) -> None:
        """Let every parameter learn."""
        encoder.requires_grad_(True)

    def parameters(self, encoder: Encoder) -> Iterator[nn.Parameter]:
        """Yield all parameters."""
        return encoder.parameters()

    def merge(self, encoder: Encoder) -> None:
        """Nothing was added, so there is nothing to fold in."""


class FrozenTuning(Tuning):
    """Train nothing of the encoder (the benchmark's linear probing).

    Without a parameter that needs a gradient autograd records nothing inside the encoder, so no
    activation is kept and the forward pass costs what inference costs.
    """

    name = "frozen"
    encoder_learns = False

    def attach(self, encoder: Encoder) -> None:
        """Let no parameter learn."""
        encoder.requires_grad_(False)

    def parameters(self, encoder: Encoder) -> Iterator[nn.Parameter]:
        """Yield nothing."""
        return iter(())

    def merge(self, encoder: Encoder) -> None:
        """Nothing was added, so there is nothing to fold in."""
