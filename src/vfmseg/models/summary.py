"""A module in, the numbers that describe its size out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ParameterCount:
    """How many numbers a model holds and how many of them learn."""

    total: int
    trainable: int


def count_parameters(module: nn.Module) -> ParameterCount:
    """Count each parameter once, shared ones too."""
    parameters = list(module.parameters())
    return ParameterCount(
        sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
    )
