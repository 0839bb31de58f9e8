"""The run's two checkpoints: ``last`` (to go on from) and ``best`` (to use), each whole or not there.

``last/trainer.ckpt`` holds everything a resumed run needs and is swapped in with one rename, so a run killed
at any moment resumes from the last one that was finished.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.io import CheckpointIO

from vfmseg.errors import CheckpointError
from vfmseg.models.checkpoint import MODEL_FILE, CheckpointHeader, read_header, save_model
from vfmseg.models.frozen_weights import frozen_names
from vfmseg.models.writing import whole_file, writing
from vfmseg.training.callbacks.average import WeightAverage
from vfmseg.training.callbacks.boundary import StepCallback
from vfmseg.training.module import SegmentationModule

RESUME_FILE = "trainer.ckpt"
_OF_RESUME_FILES = {
    "global_step",
    "pytorch-lightning_version",
    "state_dict",
    "loops",
    "callbacks",
    "optimizer_states",
}


class SafeCheckpointIO(CheckpointIO):
    """Writes resume files atomically and reads them without running anything that is pickled in them."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write beside ``path`` and swap in."""
        target = Path(path)
        with writing(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as partial:
            torch.save(checkpoint, partial)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain values only."""
        loaded: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file if it is there."""
        Path(path).unlink(missing_ok=True)


def restored_step(resume_file: Path) -> int:
    """Return the optimiser steps done when ``resume_file`` was written; ``ValueError`` where it is none."""
    content = torch.load(resume_file, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(content, dict) or not content.keys() >= _OF_RESUME_FILES:
        raise ValueError("it was not written by a run of vfmseg")
    return int(content["global_step"])


class Checkpoints(StepCallback):
    """Saves ``last`` every ``every`` steps and at the end, ``best`` when the headline metric improves.

    Args:
        folder: ``checkpoints/`` of the run.
        every: optimiser steps between ``last`` checkpoints.
        headline: name of the metric to improve, such as ``val/miou``.
        describe: step and metrics in, header of the model file out.
        average: averaged weights to save in the model files instead of the learning ones, or None.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        headline: str,
        describe: Callable[[int, dict[str, float | None]], CheckpointHeader],
        average: WeightAverage | None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.every = every
        self.headline = headline
        self.describe = describe
        self.average = average
        self.best: float | None = None
        self.best_step = 0
        self.improved = False
        """Whether the last validation was the best so far; other callbacks ask."""
        self._saved_step: int | None = None

    def begin(self, trainer: pl.Trainer) -> None:
        """Take over the best of the run that is resumed, also where it was saved later than what is resumed from."""
        super().begin(trainer)
        folder = self.folder / "best"
        if not (folder / MODEL_FILE).is_file():  # there was none yet, or it was removed
            self.best, self.best_step = None, 0
            return
        try:
            header = read_header(folder)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error} To go on without it, remove {folder}: it is made anew at the next validation."
            ) from None
        value = header.metrics.get(self.headline)
        if value is not None and self.best_step < header.step <= trainer.global_step:
            self.best, self.best_step = value, header.step

    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Save ``last`` where it is due, unless a validation follows at once, which then saves it.

        Resumed from before a validation, Lightning would leave it out; that of the last step is made up for.
        """
        validates = (trainer.fit_loop.total_batch_idx + 1) % trainer.val_check_interval == 0
        if step == trainer.max_steps or (step % self.every == 0 and not validates):
            self.save_last(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save ``best`` if this validation is, and bring ``last`` up to date with its outcome."""
        assert isinstance(pl_module, SegmentationModule)
        if trainer.sanity_checking or pl_module.validation is None or self._last_step is None:
            return
        row = pl_module.validation.row()
        value = row[self.headline]
        self.improved = value is not None and (self.best is None or value > self.best)
        if self.improved:
            self.best, self.best_step = value, pl_module.validation.step
            self._save_model(trainer, pl_module, "best", row)
        if trainer.state.fn == "fit":
            self._saved_step = None
            self.save_last(trainer, pl_module, row)
        else:  # the validation after the last step: nothing to resume has changed
            self._save_model(trainer, pl_module, "last", row)

    def save_last(
        self, trainer: pl.Trainer, module: SegmentationModule, row: dict[str, float | None] | None = None
    ) -> None:
        """Save what is needed to go on, once per step."""
        if self._saved_step == trainer.global_step:
            return
        self._saved_step = trainer.global_step
        module.refuse_if_diverged()
        self._save_model(trainer, module, "last", row or {})
        trainer.save_checkpoint(self.folder / "last" / RESUME_FILE)

    def _save_model(
        self, trainer: pl.Trainer, module: SegmentationModule, name: str, row: dict[str, float | None]
    ) -> None:
        if trainer.is_global_zero:
            header = self.describe(trainer.global_step, row)
            with self.average.in_place(module) if self.average is not None else nullcontext():
                left_out = frozen_names(module.segmenter) if header.encoder_hash else ()
                save_model(self.folder / name, module.segmenter, header, left_out=left_out)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know of the best so far."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]
