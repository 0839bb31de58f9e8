"""Averaged weights (EMA): kept beside the learning ones, used by validation and by saved models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from vfmseg.training.callbacks.boundary import StepCallback
from vfmseg.training.module import SegmentationModule


class WeightAverage(StepCallback):
    """Exponential moving average of all learning parameters.

    Early in a run the average forgets faster (as if the run had been as long as it is so far), so that the
    random start does not linger.

    Args:
        decay: factor by which the average forgets at each optimiser step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.average: list[Tensor] = []
        self._restored: list[Tensor] | None = None
        self._set_aside: list[Tensor] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the average at the weights, or where the restored run had it."""
        learning = _learning(pl_module)
        if self._restored is None:
            self.average = [p.detach().clone() for p in learning]
        else:
            self.average = [a.to(p.device) for a, p in zip(self._restored, learning, strict=True)]

    @torch.no_grad()
    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Move the average towards the weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [p.detach() for p in _learning(module)], 1 - decay)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the averaged weights in place."""
        if self.average:
            self._set_aside = [p.detach().clone() for p in _learning(pl_module)]
            _write(_learning(pl_module), self.average)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the learning weights back."""
        if self._set_aside is not None:
            _write(_learning(pl_module), self._set_aside)
            self._set_aside = None

    @contextmanager
    def in_place(self, module: pl.LightningModule) -> Iterator[None]:
        """Have the averaged weights in the module for a while, to save them."""
        learning = _learning(module)
        aside = [p.detach().clone() for p in learning]
        _write(learning, self.average)
        try:
            yield
        finally:
            _write(learning, aside)

    def state_dict(self) -> dict[str, Any]:
        """Return the average for the resume file."""
        return {"average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average from the resume file."""
        self._restored = state_dict["average"]


def _learning(module: pl.LightningModule) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


@torch.no_grad()
def _write(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
