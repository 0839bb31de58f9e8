"""The Tuning interface: which parameters of an encoder learn, and what is added to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import nn

from vfmseg.models.encoders.base import Encoder


class Tuning(ABC):
    """A way of adapting an encoder; changes it in place and knows its own parameters by identity."""

    name: str
    """The word in a recipe."""

    @abstractmethod
    def attach(self, encoder: Encoder) -> None:
        """Change ``encoder`` in place: set what learns, add what is added."""

    @abstractmethod
    def parameters(self, encoder: Encoder) -> Iterator[nn.Parameter]:
        """Yield the parameters of ``encoder`` that learn under this tuning."""

    @property
    @abstractmethod
    def encoder_learns(self) -> bool:
        """Whether any activation inside the encoder needs a gradient; if not, it runs in evaluation mode."""

    @abstractmethod
    def merge(self, encoder: Encoder) -> None:
        """Fold what was added into the encoder's own weights, with equal outputs."""
