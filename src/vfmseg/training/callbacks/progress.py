"""What a run shows while it goes on: one bar on a terminal, one line now and then elsewhere."""

from __future__ import annotations

import sys
import time

import lightning.pytorch as pl
from tqdm import tqdm

from vfmseg.training.callbacks.boundary import StepCallback
from vfmseg.training.callbacks.history import History
from vfmseg.training.module import SegmentationModule


class Progress(StepCallback):
    """Shows step, loss, rate, images/s, share of time spent waiting for data, memory and time left.

    Args:
        history: whose latest row is shown.
        headline: metric named after each validation.
        shown: False for silence.
    """

    def __init__(self, history: History, *, headline: str, shown: bool) -> None:
        super().__init__()
        self.history = history
        self.headline = headline
        self.shown = shown
        self._bar: tqdm | None = None
        self._last_line = 0.0
        self._started = (0.0, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar where the run starts."""
        super().on_train_start(trainer, pl_module)
        self._started = (time.perf_counter(), trainer.global_step)
        if self.shown and trainer.is_global_zero and sys.stderr.isatty():
            self._bar = tqdm(
                total=trainer.max_steps, initial=trainer.global_step, unit="step", dynamic_ncols=True
            )

    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Advance the bar, or print a line every ten seconds."""
        if not self.shown or not trainer.is_global_zero:
            return
        facts = self._facts()
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(facts)
        elif time.perf_counter() - self._last_line > 10 or step == trainer.max_steps:
            self._last_line = time.perf_counter()
            started, first = self._started
            left = (time.perf_counter() - started) / max(1, step - first) * (trainer.max_steps - step)
            print(
                f"step {step}/{trainer.max_steps}  {facts}  {_clock(left)} left", file=sys.stderr, flush=True
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the outcome of a validation."""
        assert isinstance(pl_module, SegmentationModule)
        found = pl_module.validation
        if not self.shown or not trainer.is_global_zero or trainer.sanity_checking or found is None:
            return
        row = found.row()
        numbers = {
            name: row.get(name) for name in (self.headline, "val/pixel_accuracy", *_masked(self.headline))
        }
        shown = ", ".join(f"{name} {value:.4f}" for name, value in numbers.items() if value is not None)
        line = f"step {found.step}: {shown} ({len(found.images)} images, {found.seconds:.1f} s)"
        if found.unscored:
            line += f"; {len(found.unscored)} images have nothing labelled and are not scored"
        tqdm.write(line, file=sys.stderr)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error stands on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _facts(self) -> str:
        row = self.history.latest
        if not row:
            return ""
        return (
            f"loss {row.get('train/loss', float('nan')):.4f}  lr {row['lr/decoder']:.2e}  "
            f"{row['images_per_s']:.1f} images/s  data wait {row['data_wait_share']:.0%}  "
            f"{row['memory_gib']:.1f} GiB"
        )


def _masked(headline: str) -> tuple[str, ...]:
    """Return what the headline is called for predictions with the attention masks that training still has."""
    return (headline.replace("val/", "val_masked/"),)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
