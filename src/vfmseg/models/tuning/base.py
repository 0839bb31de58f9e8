"""The Tuning interface: which parameters of an encoder learn, and what is added to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NoReturn

from torch import Tensor, nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import Encoder


class Tuning(nn.Module, ABC):
    """A way of adapting an encoder; changes it in place and knows its own parameters by identity.

    Parameters that belong to the method as a whole are this module's; those that belong to one layer of the
    encoder live in that layer, so that they go where it goes.
    """

    name: str
    """The word in a recipe."""
    encoder_learns: bool = False
    """Whether the encoder's own layers train; if not, they stay in evaluation mode (no dropout, no drop path)."""
    can_merge: bool = False
    """Whether :meth:`merge` can fold what was added into the encoder's weights."""

    @abstractmethod
    def attach(self, encoder: Encoder) -> None:
        """Change ``encoder`` in place: set what learns, add what is added.

        Raises:
            RecipeError: the method has no place in this encoder.
        """

    def encoder_parameters(self, encoder: Encoder) -> Iterator[nn.Parameter]:
        """Yield the parameters that ``encoder`` had of its own and that learn under this tuning."""
        added = {id(parameter) for parameter in self.added_parameters()}
        return (p for p in encoder.parameters() if p.requires_grad and id(p) not in added)

    def added_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that were added by :meth:`attach`; all of them learn."""
        return self.parameters()

    def added_tensors(self) -> Iterator[Tensor]:
        """Yield all that a checkpoint must hold of what was added: the parameters, and what they are relative to."""
        return self.added_parameters()

    def undecayed_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the added parameters that weight decay leaves alone."""
        return iter(())

    def links(self, num_queries: int | None, query_dim: int | None) -> bool:
        """Return whether the decoder's queries are to be made by the tuning; called before :meth:`attach`.

        Args:
            num_queries: of the decoder; None where it has no queries.
            query_dim: their channels.

        Raises:
            RecipeError: they are to be, but do not fit.
        """
        return False

    def queries(self) -> Tensor | None:
        """Return (m, D) queries made of the tuning's own tokens, for a decoder to start from; None where not linked."""
        return None

    def merge(self, encoder: Encoder) -> None:
        """Fold what was added into the encoder's own weights, with equal outputs.

        Raises:
            RecipeError: what was added is no change of weights.
        """
        self.refuse_merge()

    def refuse_merge(self) -> NoReturn:
        """Raise the RecipeError that says why the tuning cannot be merged."""
        raise RecipeError(
            f"tuning {self.name} cannot be merged: what it adds is computed from the tokens, and is no change of the "
            "encoder's weights. Of the tunings that add something, lora and soma can."
        )
