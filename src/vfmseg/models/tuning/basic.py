"""The tunings that add nothing: all weights of the encoder learn, none, its biases, or its last blocks."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.tuning.base import Tuning


class _Addless(Tuning):
    """What adds nothing has nothing to fold in."""

    can_merge = True

    def merge(self, encoder: Encoder) -> None:
        """Nothing was added, so there is nothing to fold in."""


class FullTuning(_Addless):
    """Train every encoder parameter (the benchmark's default, arXiv 2404.12172)."""

    name = "full"
    encoder_learns = True

    def attach(self, encoder: Encoder) -> None:
        """Let every parameter learn."""
        encoder.requires_grad_(True)


class FrozenTuning(_Addless):
    """Train nothing of the encoder (the benchmark's linear probing).

    Without a parameter that needs a gradient autograd records nothing inside the encoder, so no
    activation is kept and the forward pass costs what inference costs.
    """

    name = "frozen"

    def attach(self, encoder: Encoder) -> None:
        """Let no parameter learn."""
        encoder.requires_grad_(False)


class BitFitTuning(_Addless):
    """Train the encoder's biases only, those of its norms too (BitFit, arXiv 2106.10199)."""

    name = "bitfit"

    def attach(self, encoder: Encoder) -> None:
        """Let all biases learn.

        Raises:
            RecipeError: the encoder has none.
        """
        encoder.requires_grad_(False)
        biases = list(_biases(encoder))
        if not biases:
            raise RecipeError(
                "tuning.method bitfit trains biases, but the encoder has none. Take another tuning."
            )
        for bias in biases:
            bias.requires_grad_(True)


class PartialTuning(_Addless):
    """Train the last blocks of the encoder and the norm after them.

    Below them nothing needs a gradient, so autograd keeps nothing there.

    Args:
        num_blocks: last blocks that learn, 1 to the encoder's number; None for a third of them.
    """

    name = "partial"
    encoder_learns = True

    def __init__(self, *, num_blocks: int | None = None) -> None:
        super().__init__()
        self.num_blocks = num_blocks

    def attach(self, encoder: Encoder) -> None:
        """Let the last blocks and what follows them learn.

        Raises:
            RecipeError: the encoder has fewer blocks.
        """
        num_blocks = max(1, encoder.num_blocks // 3) if self.num_blocks is None else self.num_blocks
        if not 1 <= num_blocks <= encoder.num_blocks:
            raise RecipeError(
                f"tuning.num_blocks is {num_blocks}, but the encoder has {encoder.num_blocks} blocks; allowed are 1 "
                f"to {encoder.num_blocks} (tuning.method full trains what stands before the blocks, too)."
            )
        encoder.requires_grad_(False)
        for block in encoder.blocks[-num_blocks:]:
            block.requires_grad_(True)
        for parameter in encoder.parameters():
            if encoder.block_of(parameter) == encoder.num_blocks:
                parameter.requires_grad_(True)


def _biases(encoder: Encoder) -> Iterator[nn.Parameter]:
    """Yield every bias; EVA keeps those of query and value apart."""
    for name, parameter in encoder.named_parameters():
        if name.rpartition(".")[2] in ("bias", "q_bias", "v_bias"):
            yield parameter
