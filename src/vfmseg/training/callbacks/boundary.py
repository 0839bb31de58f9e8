"""Where a run may be cut: the base of callbacks that act once per optimiser step, after its last micro-batch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import lightning.pytorch as pl

from vfmseg.training.module import SegmentationModule


class StepCallback(pl.Callback):
    """Calls :meth:`on_step` after each optimiser step, however many micro-batches it took."""

    def __init__(self) -> None:
        self._last_step: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self.begin(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin here where there was nothing to train: a run killed in its last validation only validates."""
        if self._last_step is None:
            self.begin(trainer)

    def begin(self, trainer: pl.Trainer) -> None:
        """Remember where the run starts: before its first step, or before the validation that it lacks."""
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notice whether this micro-batch completed an optimiser step."""
        if trainer.global_step != self._last_step:
            self._last_step = trainer.global_step
            assert isinstance(pl_module, SegmentationModule)
            self.on_step(trainer, pl_module, trainer.global_step)

    @abstractmethod
    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Act after optimiser step ``step`` (1-based count of steps done)."""
