"""What a run looks like: overlays of a few fixed images at each validation, the best and worst at the last one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from PIL import Image

from vfmseg.models.writing import whole_file, writing
from vfmseg.training.callbacks.average import WeightAverage
from vfmseg.training.callbacks.boundary import StepCallback
from vfmseg.training.module import ImageRecord, SegmentationModule, Validation
from vfmseg.training.stream import SampleSource
from vfmseg.types import LabelSpace

IMAGE_COUNTS = "image_counts.npz"
EXTREMES = 6
"""How many best and how many worst images are drawn of a validation."""


class Pictures(StepCallback):
    """Draws ``predictions/`` and writes ``validation.json``, which the report is made of.

    Args:
        run_folder: where to write.
        val: un-augmented validation samples.
        label_space: names and colours.
        overlays: how many fixed images to draw at each validation.
        extremes: how many best and how many worst images to draw at the last validation.
        average: averaged weights to predict with, or None.
    """

    def __init__(
        self,
        run_folder: Path,
        *,
        val: SampleSource,
        label_space: LabelSpace,
        overlays: int,
        extremes: int,
        average: WeightAverage | None,
    ) -> None:
        super().__init__()
        self.run_folder = run_folder
        self.val = val
        self.label_space = label_space
        self.overlays = overlays
        self.extremes = extremes
        self.average = average

    def on_step(self, trainer: pl.Trainer, module: SegmentationModule, step: int) -> None:
        """Nothing to draw between validations."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw after the checkpoint is safe."""
        assert isinstance(pl_module, SegmentationModule)
        found = pl_module.validation
        if trainer.sanity_checking or found is None or self._last_step is None or not trainer.is_global_zero:
            return
        with self.average.in_place(pl_module) if self.average is not None else nullcontext():
            fixed = np.linspace(0, len(self.val) - 1, min(self.overlays, len(self.val))).round().astype(int)
            names = [f"step_{found.step:06d}/{place:02d}.jpg" for place in range(len(fixed))]
            drawing = Drawing(trainer, pl_module, self.val, self.label_space, self.run_folder / "predictions")
            drawing.draw(fixed.tolist(), names)
            worst: list[ImageRecord] = []
            best: list[ImageRecord] = []
            if trainer.state.fn != "fit" or trainer.global_step >= trainer.max_steps or trainer.should_stop:
                worst, best = drawing.draw_extremes(found, self.extremes)
        write_validation(self.run_folder, found, pl_module.task.name, self.label_space, worst, best)


class ExtremePictures(pl.Callback):
    """Draws the best and worst images of a validation that belongs to no run, and writes its ``validation.json``.

    Args:
        folder: where to write.
        val: validation samples as they are scored.
        label_space: names and colours.
    """

    def __init__(self, folder: Path, *, val: SampleSource, label_space: LabelSpace) -> None:
        super().__init__()
        self.folder = folder
        self.val = val
        self.label_space = label_space

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw while the model is still where it computes."""
        assert isinstance(pl_module, SegmentationModule)
        found = pl_module.validation
        if not trainer.is_global_zero or found is None:
            return
        drawing = Drawing(trainer, pl_module, self.val, self.label_space, self.folder / "predictions")
        worst, best = drawing.draw_extremes(found, EXTREMES)
        write_validation(self.folder, found, pl_module.task.name, self.label_space, worst, best)


@dataclass(frozen=True, eq=False)
class Drawing:
    """What is needed to draw validation images: image, truth and prediction side by side."""

    trainer: pl.Trainer
    module: SegmentationModule
    val: SampleSource
    label_space: LabelSpace
    folder: Path
    """``predictions``."""

    def draw(self, indices: Sequence[int], names: Sequence[str]) -> None:
        """Predict these samples and write their pictures under these names.

        Raises:
            ResourceError: the folder cannot be written.
        """
        for index, name in zip(indices, names, strict=True):
            sample = self.val[index]
            with self.trainer.precision_plugin.val_step_context(), torch.no_grad():
                (found,) = self.module.predict([sample.image.to(self.module.device)])
            path = self.folder / name
            with writing(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = self.module.task.draw(sample, found, self.label_space)
                Image.fromarray(picture).save(path, quality=88)

    def draw_extremes(self, found: Validation, extremes: int) -> tuple[list[ImageRecord], list[ImageRecord]]:
        """Draw up to ``extremes`` worst and as many best images, none in both; return them, the most extreme first.

        Raises:
            ResourceError: the folder cannot be written.
        """
        ranked = sorted(found.images, key=lambda image: image.score)
        worst = ranked[: min(extremes, (len(ranked) + 1) // 2)]
        best = ranked[len(worst) :][::-1][:extremes]
        for kind, chosen in (("worst", worst), ("best", best)):
            names = [f"{kind}/{place:02d}.jpg" for place in range(len(chosen))]
            self.draw([one.index for one in chosen], names)
        return worst, best


def write_validation(
    run_folder: Path,
    found: Validation,
    task: str,
    label_space: LabelSpace,
    worst: Sequence[ImageRecord],
    best: Sequence[ImageRecord],
) -> None:
    """Write ``validation.json``: counts, classes, and every image with its score, worst first.

    Where pixels are counted, ``image_counts.npz`` beside it holds those of each image: ``names`` (N,), sorted, and
    ``intersections`` and ``unions`` (N, K). Comparisons of runs resample images from it.
    """
    pictures = {one.index: f"predictions/best/{place:02d}.jpg" for place, one in enumerate(best)}
    pictures |= {one.index: f"predictions/worst/{place:02d}.jpg" for place, one in enumerate(worst)}
    images: list[dict[str, Any]] = []
    for one in sorted(found.images, key=lambda image: image.score):
        record: dict[str, Any] = {"name": one.name, "score": one.score, **one.details}
        if one.index in pictures:
            record["picture"] = pictures[one.index]
        images.append(record)
    content = {
        "step": found.step,
        "class_names": list(label_space.names),
        "colours": [list(colour) for colour in label_space.colours],
        "task": task,
        **found.scores.record(),
        "unscored": found.unscored,
        "images": images,
    }
    with whole_file(run_folder / "validation.json") as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
    _write_image_counts(run_folder / IMAGE_COUNTS, found.images)


def _write_image_counts(path: Path, images: Sequence[ImageRecord]) -> None:
    counted = {one.name: one.counts for one in images if one.counts is not None}
    if not counted:
        return
    names = sorted(counted)
    counts = np.stack([counted[name] for name in names], axis=1)  # 2 N K
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, names=np.array(names), intersections=counts[0], unions=counts[1])
