"""The training shell: segmenter, criterion and metric in, Lightning's steps out. Knows no task and no recipe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from vfmseg.errors import VfmsegError
from vfmseg.metrics.mean_iou import ConfusionMatrix, image_score
from vfmseg.metrics.scores import SegmentationScores
from vfmseg.models.segmenter import Segmenter
from vfmseg.training.param_groups import parameter_groups
from vfmseg.training.schedule import polynomial_decay
from vfmseg.types import Batch, Output, Sample, SemanticMap, Targets

Criterion = Callable[[Any, tuple[Targets, ...]], tuple[Tensor, dict[str, Tensor]]]
"""A decoder's output, of the kind this criterion is for, and targets in; the loss and its named parts out."""
Predict = Callable[[Callable[[Tensor], Output], Sequence[Tensor]], list[SemanticMap]]


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """What AdamW and its schedule need; see ``TrainingRecipe`` for the meaning of each."""

    learning_rate: float
    encoder_lr_factor: float
    layer_decay: float
    weight_decay: float
    poly_power: float
    warmup_steps: int
    total_steps: int


@dataclass(frozen=True)
class ImageRecord:
    """How one validation image fared."""

    name: str
    index: int
    """Place in the validation split."""
    miou: float
    pixel_accuracy: float


@dataclass(frozen=True)
class Validation:
    """What one pass over the validation split found."""

    step: int
    """Optimiser steps done before it."""
    scores: SegmentationScores
    images: list[ImageRecord]
    """Every scored image, of all processes."""
    seconds: float
    unscored: list[str] = field(default_factory=list)
    """Names of images without a labelled pixel: predicted, but not scored."""


class DivergedError(VfmsegError):
    """The loss is no longer a number."""


class SegmentationModule(pl.LightningModule):
    """Train and validate a segmenter.

    Args:
        segmenter: what learns.
        criterion: output and targets in, loss and its named parts out.
        predict: how the task turns images into maps.
        class_names: K names.
        optimizer: settings of AdamW and its schedule.
        seed: with the batch number and the process, decides dropout and sampled points.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        criterion: Criterion,
        predict: Predict,
        class_names: Sequence[str],
        optimizer: OptimizerSettings,
        seed: int,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.criterion = criterion
        self.predict = predict
        self.class_names = tuple(class_names)
        self.optimizer_settings = optimizer
        self.seed = seed
        self.train_losses: list[dict[str, Tensor]] = []
        """Parts of the loss of each batch since a callback last emptied the list."""
        self.last_batch_names: tuple[str, ...] = ()
        self.validation: Validation | None = None
        """The last pass over the validation split."""
        self._confusion: ConfusionMatrix | None = None
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
        """Raise DivergedError if the last loss is not finite; asked before weights are saved."""
        if self.train_losses:
            self._refuse_if_diverged(float(self.train_losses[-1]["loss"]))

    def _refuse_if_diverged(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss is {loss} at step {self.global_step} (last images: "
                f"{', '.join(self.last_batch_names[:4])}). Nothing was saved since it diverged: resume from the last "
                "checkpoint with a lower training.learning_rate, a training.warmup such as 0.05, or "
                "training.precision=bf16-mixed."
            )

    def on_validation_epoch_start(self) -> None:
        """Start counting from zero."""
        self._confusion = ConfusionMatrix(len(self.class_names), self.device)
        self._records, self._unscored = [], []
        self._started = time.perf_counter()

    def validation_step(self, batch: list[Sample], batch_idx: int) -> None:
        """Predict the images of one batch at their own sizes and count them."""
        assert self._confusion is not None
        assert self.trainer is not None
        images = [sample.image.to(self.device, non_blocking=True) for sample in batch]
        maps = self.predict(self.segmenter, images)
        for sample, found in zip(batch, maps, strict=True):
            own = self._confusion.update(found.classes, sample.targets.id_map, name=sample.name)
            if not bool(own.any()):
                self._unscored.append(sample.name)
                continue
            score = image_score(own)
            index = batch_idx * self.trainer.world_size + self.global_rank
            self._records.append(ImageRecord(sample.name, index, score.miou, score.pixel_accuracy))

    def on_validation_epoch_end(self) -> None:
        """Sum the counts of all processes and make the numbers."""
        if self._confusion is None or self.trainer.sanity_checking:
            return
        self._confusion.all_reduce()
        self.validation = Validation(
            step=self.global_step,
            scores=self._confusion.scores(self.class_names),
            images=_gathered(self._records),
            seconds=time.perf_counter() - self._started,
            unscored=_gathered(self._unscored),
        )

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a training batch to ``device``; evaluation samples are moved one by one where they are used."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def rate_factor(self, step: int) -> float:
        """Return the factor on every group's peak rate during optimiser step ``step`` (0-based)."""
        settings = self.optimizer_settings
        return polynomial_decay(
            step,
            total_steps=settings.total_steps,
            power=settings.poly_power,
            warmup_steps=settings.warmup_steps,
        )

    def configure_optimizers(self) -> Any:
        """Return AdamW and the schedule that is a pure function of the step (arXiv 2404.12172, sec. 3)."""
        settings = self.optimizer_settings
        groups = parameter_groups(
            self.segmenter,
            learning_rate=settings.learning_rate,
            encoder_lr_factor=settings.encoder_lr_factor,
            layer_decay=settings.layer_decay,
        )
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _gathered(own: list[Any]) -> list[Any]:
    """Return the items of all processes; the own ones outside distributed runs."""
    if not (dist.is_available() and dist.is_initialized()):
        return own
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, own)
    return [item for share in shares for item in share]
