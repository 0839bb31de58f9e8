"""What signals do to a run in its steps."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from vfmseg.training.callbacks import stopping
from vfmseg.training.callbacks.stopping import SaveOnSignal, StoppedBySignalError


class Saved(list[Any]):
    """Checkpoints that remember that they were saved."""

    def save_last(self, *_: Any) -> None:
        self.append("last")


def test_signals__at_once_are_one_wish_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    before = signal.getsignal(signal.SIGTERM)
    ended: list[int] = []
    saved = Saved()
    trainer: Any = SimpleNamespace(global_step=0)
    callback = SaveOnSignal(saved, resume_with="it")  # type: ignore[arg-type]
    callback.on_train_start(trainer, trainer)
    try:
        callback.on_step(trainer, trainer, 1)
        signal.raise_signal(signal.SIGINT)
        now[0] += 1.9
        signal.raise_signal(signal.SIGTERM)  # the driver of a study tells its trial, too
        with pytest.raises(StoppedBySignalError, match="Stopped by SIGINT after step 2") as stopped:
            callback.on_step(trainer, trainer, 2)
        assert (stopped.value.signal_number, saved) == (signal.SIGINT, ["last"])
        now[0] += 0.1
        with monkeypatch.context() as patch:
            patch.setattr(stopping.signal, "raise_signal", ended.append)
            callback._receive(signal.SIGTERM, None)
        assert ended == [signal.SIGTERM]
    finally:
        callback.teardown(trainer, trainer, "fit")
    assert signal.getsignal(signal.SIGTERM) == before
