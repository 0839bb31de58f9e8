"""Everything a run measures, as rows of one CSV file and, on request, in TensorBoard or W&B."""

from __future__ import annotations

import csv
import logging
import os
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from vfmseg.training.callbacks.boundary import StepCallback
from vfmseg.training.callbacks.memory import forget_peak, peak_memory_gib
from vfmseg.training.module import SegmentationModule

logger = logging.getLogger(__name__)

Row = dict[str, float | int | None]

_WARNINGS = {
    "train/nonfinite_costs": "the matcher met %.4g costs a batch that are no numbers, and left those pairs out. A lower "
    "training.learning_rate or a training.gradient_clip helps; all are counted",
    "train/unmatched_segments": "%.4g segments a batch were learned by no query, as their images have more segments than "
    "the decoder has queries. Raise decoder.num_queries above the segments of an image; all are counted",
}
"""Column of metrics.csv -> what is said the first time it is not 0."""


class History(StepCallback):
    """Writes ``metrics.csv`` (schema: step, time_s, then what was logged) and feeds Lightning's loggers.

    A resumed run drops the rows past the step it resumes from, so that no step stands there twice.

    Args:
        path: of the CSV file.
        every: optimiser steps between rows.
        images_per_step: effective batch size.
    """

    def __init__(self, path: Path, *, every: int, images_per_step: int) -> None:
        super().__init__()
        self.path = path
        self.every = every
        self.images_per_step = images_per_step
        self.rows: list[Row] = []
        self.latest: Row = {}
        """The last training row; the progress bar shows it."""
        self.seconds_before = 0.0
        self.train_seconds = 0.0
        self._waited = 0.0
        self._batch_ended: float | None = None
        self._window_started = 0.0
        self._window_step = 0
        self._started = 0.0
        self._evaluating = 0.0
        self._columns: list[str] = []
        self._warned_of: set[str] = set()

    def begin(self, trainer: pl.Trainer) -> None:
        """Take over the rows of the run that is resumed, and start the clocks."""
        super().begin(trainer)
        self.rows = [row for row in read_rows(self.path) if (row["step"] or 0) <= trainer.global_step]
        self.seconds_before = float(self.rows[-1].get("time_s") or 0.0) if self.rows else 0.0
        now = time.perf_counter()
        self._started = self._window_started = self._batch_ended = now
        self._window_step = trainer.global_step
        if trainer.is_global_zero:
            self._write()
        forget_peak()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last batch ended as waiting for data."""
        if self._batch_ended is not None:
            self._waited += time.perf_counter() - self._batch_ended

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note when the batch ended."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._batch_ended = time.perf_counter()

    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Write a row every ``every`` steps and at the last one."""
        if step % self.every and step != trainer.max_steps:
            return
        now = time.perf_counter()
        elapsed = max(1e-9, now - self._window_started)
        steps = step - self._window_step
        self.train_seconds += elapsed
        losses = {f"train/{key}": value for key, value in module.mean_train_loss().items()}
        for column, warning in _WARNINGS.items():
            count = losses.get(column, 0.0)
            if count and column not in self._warned_of:
                self._warned_of.add(column)
                logger.warning(f"step %d: {warning} (%s in metrics.csv).", step, count, column)
        rates: dict[str, float] = {}
        for group in trainer.optimizers[0].param_groups:
            name = group["name"].partition("_")[0]  # `encoder_x0.8`, `tuning_undecayed`
            # the optimiser's groups already hold the next step's rate
            factor = module.rate_factor(step - 1, encoder=name == "encoder")
            rates[f"lr/{name}"] = max(group["initial_lr"] * factor, rates.get(f"lr/{name}", 0.0))
        for block, probability in enumerate(module.masks.probabilities(step - 1)):
            rates[f"mask_probability/{block}"] = probability
        self.latest = {
            **losses,
            **rates,
            "images_per_s": steps * self.images_per_step / elapsed,
            "data_wait_share": min(1.0, self._waited / elapsed),
            "memory_gib": peak_memory_gib(),
        }
        self._window_started, self._window_step, self._waited = now, step, 0.0
        self._append(trainer, step, self.latest)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training clock."""
        self._evaluating = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row of a validation."""
        spent = time.perf_counter() - self._evaluating
        self._window_started += spent
        if self._batch_ended is not None:
            self._batch_ended += spent
        assert isinstance(pl_module, SegmentationModule)
        if trainer.sanity_checking or pl_module.validation is None or self._last_step is None:
            return
        found = pl_module.validation
        once = [row for row in self.rows if row["step"] != found.step or "val/seconds" not in row]
        if len(once) < len(self.rows):  # killed before this validation was saved, it is made again
            self.rows, self._columns = once, []
        self._append(trainer, found.step, {**found.row(), "val/seconds": found.seconds})

    def _append(self, trainer: pl.Trainer, step: int, row: Row) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({k: v for k, v in row.items() if v is not None}, step=step)
        elapsed = self.seconds_before + time.perf_counter() - self._started
        self.rows.append({"step": step, "time_s": round(elapsed, 3), **row})
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        """Append the last row; where the columns have changed, write the file anew and swap it in."""
        names = list(dict.fromkeys(["step", "time_s", *(name for row in self.rows for name in row)]))
        if names == self._columns:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, names, restval="").writerow(self.rows[-1])
            return
        self._columns = names
        partial = self.path.with_suffix(".csv.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a metrics.csv, empty cells left out; no rows where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: (int(text) if key == "step" else float(text)) for key, text in row.items() if text}
            for row in csv.DictReader(file)
        ]
