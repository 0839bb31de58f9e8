"""The training shell: segmenter, criterion and metric in, Lightning's steps out. Knows no task and no recipe."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.errors import VfmsegError
from vfmseg.models.segmenter import Segmenter
from vfmseg.tasks.base import Metric, Scores, Task
from vfmseg.training.param_groups import parameter_groups
from vfmseg.training.schedule import MaskSchedule, polynomial_decay
from vfmseg.types import Batch, LabelSpace, Output, Prediction, Sample, Targets

Criterion = Callable[[Any, tuple[Targets, ...]], tuple[Tensor, dict[str, Tensor]]]
"""A decoder's output, of the kind this criterion is for, and targets in; the loss and its named parts out."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """What AdamW and its schedule need; see ``TrainingRecipe`` for the meaning of each."""

    learning_rate: float
    encoder_lr_factor: float
    layer_decay: float
    num_spared_blocks: int = 0
    weight_decay: float
    poly_power: float
    warmup_steps: int
    encoder_warmup_steps: int = 0
    """Above zero the encoder waits for the end of ``warmup_steps`` and then warms up for this long."""
    warmup_start: float = 0.0
    inclusive: bool = False
    total_steps: int
    decay_norms: bool = True


@dataclass(frozen=True)
class ImageRecord:
    """How one validation image fared."""

    name: str
    index: int
    """Place in the validation split."""
    score: float
    """What images are ranked by, in 0..1."""
    details: dict[str, float] = field(default_factory=dict)
    """Other numbers of the image, by name."""
    counts: NDArray[np.int64] | None = field(default=None, compare=False)
    """(2, K) pixels in intersection and union of each class; None of tasks that count none."""


@dataclass(frozen=True)
class Validation:
    """What one pass over the validation split found."""

    step: int
    """Optimiser steps done before it."""
    scores: Scores
    images: list[ImageRecord]
    """Every scored image, of all processes."""
    seconds: float
    unscored: list[str] = field(default_factory=list)
    """Names of images without anything labelled: predicted, but not scored."""
    masked_scores: Scores | None = None
    """Of the same images predicted with the attention masks that training has now; None where it has none."""

    def row(self) -> dict[str, float | None]:
        """Return all numbers as one flat row: ``val/...``, and ``val_masked/...`` where masks are not yet annealed."""
        masked = self.masked_scores.row("val_masked") if self.masked_scores is not None else {}
        return {**self.scores.row("val"), **masked}


class DivergedError(VfmsegError):
    """The loss, or a weight, is no longer a number."""


class SegmentationModule(pl.LightningModule):
    """Train and validate a segmenter.

    Args:
        segmenter: what learns.
        criterion: output and targets in, loss and its named parts out.
        task: how images are predicted and scored.
        label_space: the K classes.
        optimizer: settings of AdamW and its schedule.
        masks: schedule of attention masks, for decoders that have them.
        seed: with the batch number and the process, decides dropout and sampled points.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        criterion: Criterion,
        task: Task,
        label_space: LabelSpace,
        optimizer: OptimizerSettings,
        masks: MaskSchedule,
        seed: int,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.criterion = criterion
        self.task = task
        self.label_space = label_space
        self.optimizer_settings = optimizer
        self.masks = masks
        self.seed = seed
        self.train_losses: list[dict[str, Tensor]] = []
        """Parts of the loss of each batch since a callback last emptied the list."""
        self.last_batch_names: tuple[str, ...] = ()
        self.validation: Validation | None = None
        """The last pass over the validation split."""
        self._metric: Metric | None = None
        self._masked_metric: Metric | None = None
        self._records: list[ImageRecord] = []
        self._unscored: list[str] = []

    def forward(self, images: Tensor) -> Output:
        """Segment uint8 images of the encoder's size."""
        output: Output = self.segmenter(images)
        return output

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        # Randomness inside the model is a function of where the run is, never of what ran before: a resumed
        # run draws what the uninterrupted one drew.
        words = np.random.SeedSequence([self.seed, 2, batch_idx, self.global_rank]).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))
        self.segmenter.decoder.mask_probabilities = self.masks.probabilities(self.global_step)
        loss, parts = self.criterion(self(batch.images), batch.targets)
        named = parts if len(parts) > 1 else {}  # a single part is the loss itself
        self.train_losses.append({"loss": loss.detach(), **{k: v.detach() for k, v in named.items()}})
        self.last_batch_names = batch.names
        return loss

    def mean_train_loss(self) -> dict[str, float]:
        """Return the mean of each part of the loss since the last call, and forget them.

        Raises:
            DivergedError: the loss is not finite; names the step and the images of the last batch.
        """
        if not self.train_losses:
            return {}
        keys = self.train_losses[0].keys()
        means = {
            key: float(torch.stack([one[key] for one in self.train_losses]).float().mean()) for key in keys
        }
        self._refuse_if_diverged(means["loss"])
        self.train_losses.clear()
        return means

    def refuse_if_diverged(self) -> None:
        """Raise DivergedError if the last loss or a weight is not finite; asked before weights are scored or saved."""
        if self.train_losses:
            self._refuse_if_diverged(float(self.train_losses[-1]["loss"]))
        names, weights = zip(*self.segmenter.named_parameters(), strict=True)
        # A sum is finite if all its parts are.
        sums = torch.stack([weight.detach().sum(dtype=torch.float32) for weight in weights])
        wrong = [
            name for name, is_finite in zip(names, sums.isfinite().tolist(), strict=True) if not is_finite
        ]
        if wrong:
            self._refuse(f"{len(wrong)} of {len(names)} weights are no longer numbers (first: {wrong[0]})")

    def _refuse_if_diverged(self, loss: float) -> None:
        if not math.isfinite(loss):
            self._refuse(f"The loss is {loss}")

    def _refuse(self, what: str) -> NoReturn:
        raise DivergedError(
            f"{what} at step {self.global_step} (last images: {', '.join(self.last_batch_names[:4])}). Nothing was "
            "saved since training diverged: resume from the last checkpoint with a lower training.learning_rate, a "
            "training.warmup such as 0.05, or training.precision=bf16-mixed."
        )

    def on_validation_epoch_start(self) -> None:
        """Start counting from zero."""
        if self.trainer.state.fn == "fit":
            self.refuse_if_diverged()
        self._metric = self.task.metric(self.label_space, self.device)
        now = self.masks.probabilities(self.global_step)
        is_run = self.trainer.global_step > 0  # and no checkpoint that is only validated
        differs = is_run and now != self.masks.inference
        self._masked_metric = self.task.metric(self.label_space, self.device) if differs else None
        self._records, self._unscored = [], []
        self._started = time.perf_counter()

    def validation_step(self, batch: list[Sample], batch_idx: int) -> None:
        """Predict the images of one batch at their own sizes and count them."""
        assert self._metric is not None
        assert self.trainer is not None
        images = [sample.image.to(self.device, non_blocking=True) for sample in batch]
        for sample, found in zip(batch, self.predict(images), strict=True):
            score = self._metric.update(found, sample)
            if score is None:
                self._unscored.append(sample.name)
                continue
            index = batch_idx * self.trainer.world_size + self.global_rank
            self._records.append(ImageRecord(sample.name, index, score.score, score.details, score.counts))
        if self._masked_metric is not None:
            now = self.masks.probabilities(self.global_step)
            for sample, found in zip(batch, self.predict(images, now), strict=True):
                self._masked_metric.update(found, sample)

    def predict(
        self, images: Sequence[Tensor], mask_probabilities: tuple[float, ...] | None = None
    ) -> Sequence[Prediction]:
        """Predict images (3, H, W) uint8 at their own sizes, as the finished model will.

        Args:
            images: on the module's device.
            mask_probabilities: of the attention masks, where they are to be other than the finished model's.
        """
        segmenter = self.segmenter
        chosen = self.masks.inference if mask_probabilities is None else mask_probabilities
        segmenter.decoder.mask_probabilities = chosen
        return self.task.predict(segmenter, images, segmenter.image_size, self.label_space)

    def on_validation_epoch_end(self) -> None:
        """Sum the counts of all processes and make the numbers."""
        if self._metric is None or self.trainer.sanity_checking:
            return
        self._metric.all_reduce()
        if self._masked_metric is not None:
            self._masked_metric.all_reduce()
        self.validation = Validation(
            step=self.global_step,
            scores=self._metric.scores(),
            images=_gathered(self._records),
            seconds=time.perf_counter() - self._started,
            unscored=_gathered(self._unscored),
            masked_scores=None if self._masked_metric is None else self._masked_metric.scores(),
        )

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a training batch to ``device``; evaluation samples are moved one by one where they are used."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def rate_factor(self, step: int, *, encoder: bool) -> float:
        """Return the factor on the peak rates of the decoder or the encoder during optimiser step ``step``."""
        settings = self.optimizer_settings
        waits = encoder and settings.encoder_warmup_steps > 0
        return polynomial_decay(
            step,
            total_steps=settings.total_steps,
            power=settings.poly_power,
            warmup_steps=settings.encoder_warmup_steps if waits else settings.warmup_steps,
            hold_steps=settings.warmup_steps if waits else 0,
            warmup_start=settings.warmup_start,
            inclusive=settings.inclusive,
        )

    def configure_optimizers(self) -> Any:
        """Return AdamW and a schedule that is a pure function of the step.

        One warm-up for all (arXiv 2404.12172, sec. 3), or two: first the decoder's, then the encoder's (arXiv
        2503.19108, sec. 4.1).
        """
        settings = self.optimizer_settings
        groups = parameter_groups(
            self.segmenter,
            learning_rate=settings.learning_rate,
            encoder_lr_factor=settings.encoder_lr_factor,
            layer_decay=settings.layer_decay,
            num_spared_blocks=settings.num_spared_blocks,
            decay_norms=settings.decay_norms,
        )
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        factors: list[Callable[[int], float]] = [
            functools.partial(self.rate_factor, encoder=group["name"].startswith("encoder"))
            for group in groups
        ]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _gathered(own: list[Any]) -> list[Any]:
    """Return the items of all processes; the own ones outside distributed runs."""
    if not (dist.is_available() and dist.is_initialized()):
        return own
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, own)
    return [item for share in shares for item in share]
