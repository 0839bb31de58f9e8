"""When a run ends before its last step: no more improvement, a pause that was asked for, a signal from outside."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from vfmseg.errors import VfmsegError
from vfmseg.training.callbacks.boundary import StepCallback
from vfmseg.training.callbacks.checkpoints import Checkpoints
from vfmseg.training.module import SegmentationModule

_TOGETHER_S = 2.0
"""Signals this close together are one wish: Ctrl-C in a terminal, and Slurm, reach a run and what started it, which has
the run save, too."""


class StoppedBySignalError(VfmsegError):
    """The run was asked to stop from outside and has saved itself; ``signal_number`` says how."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class PausedError(VfmsegError):
    """The run has come to where it was to pause, and has saved itself; ``step`` says where."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class Pause(StepCallback):
    """Ends the run, to be resumed, with the first validation at or after an optimiser step, unless that is the last.

    It must come after the callbacks that write down and save what a validation found.
    """

    def __init__(self, at: int, *, resume_with: str) -> None:
        super().__init__()
        self.at = at
        self.resume_with = resume_with

    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Nothing to do between validations."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here if it is time."""
        step = trainer.global_step
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self.at <= step < trainer.max_steps:
            raise PausedError(
                f"Paused after the validation of step {step}, as asked; everything up to it is saved. Go on with: "
                f"{self.resume_with}",
                step,
            )


class EarlyStopping(StepCallback):
    """Ends the run when the headline metric has not improved for ``patience`` optimiser steps."""

    def __init__(self, checkpoints: Checkpoints, *, patience: int) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.patience = patience
        self.reason = ""

    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Nothing to do between validations."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the step with that of the best validation."""
        since = trainer.global_step - self.checkpoints.best_step
        if not trainer.sanity_checking and self.checkpoints.best is not None and since >= self.patience:
            self.reason = (
                f"Stopped early at step {trainer.global_step}: no validation was better than "
                f"{self.checkpoints.best:.4f} of step {self.checkpoints.best_step}."
            )
            trainer.should_stop = True


@contextmanager
def signals_given_back() -> Iterator[None]:
    """Leave the process with the signal handlers it had: Lightning's outlive its trainer, and keep its model alive."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # others neither set nor keep handlers
            for number, handler in before.items():
                if handler is not None:  # None: set by another library in C, and never replaced from Python
                    signal.signal(number, handler)


class SaveOnSignal(StepCallback):
    """On SIGTERM or the first Ctrl-C: finish the optimiser step, save ``last``, stop with a clear message.

    Another signal, two seconds later or more, ends the process at once.
    """

    def __init__(self, checkpoints: Checkpoints, *, resume_with: str) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.resume_with = resume_with
        self._received: int | None = None
        self._received_at = 0.0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen from now on; Lightning has set its own handlers before."""
        super().on_train_start(trainer, pl_module)
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._receive)
            except ValueError:  # not in the main thread: whoever runs us there handles signals
                return

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received, self._received_at = number, time.monotonic()
        elif time.monotonic() - self._received_at >= _TOGETHER_S:  # a second signal means it: stop now
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Save and stop if asked to."""
        if self._received is None:
            return
        self.checkpoints.save_last(trainer, module)
        raise StoppedBySignalError(
            f"Stopped by {signal.Signals(self._received).name} after step {step}; everything up to it is saved. "
            f"Go on with: {self.resume_with}",
            self._received,
        )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
