"""What the semantic task means: how an image is viewed, predicted and scored. Stateless."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.metrics.mean_iou import ConfusionMatrix, image_score, majority_baseline
from vfmseg.metrics.scores import SegmentationScores
from vfmseg.tasks.averaged import predict_averaged
from vfmseg.tasks.base import ImageScore, Metric, Segment, Task
from vfmseg.tasks.window_scores import window_scores
from vfmseg.transforms.averaged_views import AveragedViews
from vfmseg.transforms.sliding_window import DEFAULT_VIEW, View, WindowPlan, cut, cut_rows, tile_plan
from vfmseg.transforms.window_merge import merge_to_classes, merge_to_measure, stream_classes
from vfmseg.types import LabelSpace, Sample, SemanticMap, Size
from vfmseg.visualize.overlays import Painted, side_by_side


class SemanticTask(Task):
    """One class per pixel, scored by mean IoU."""

    name = "semantic"
    headline = "val/miou"
    view: View = DEFAULT_VIEW
    """How images of other sizes than the model's are seen."""

    def predict(
        self, segment: Segment, images: Sequence[Tensor], crop_size: Size, label_space: LabelSpace
    ) -> list[SemanticMap]:
        """Predict images by sliding windows, see :func:`predict_windows`."""
        return predict_windows(segment, images, crop_size, view=self.view)

    def draw(self, sample: Sample, prediction: SemanticMap, label_space: LabelSpace) -> NDArray[np.uint8]:
        """Return image, truth and prediction side by side."""
        image = sample.image.permute(1, 2, 0).cpu().numpy()
        truth, found = sample.targets.id_map.cpu().numpy(), prediction.classes.cpu().numpy()
        return side_by_side(image, Painted(truth), Painted(found), label_space)

    def baseline(self, scores: SegmentationScores) -> dict[str, float]:
        """Return the mIoU of predicting the most frequent class everywhere."""
        return {"baseline/majority_miou": majority_baseline(scores.confusion)}

    def metric(self, label_space: LabelSpace, device: torch.device | str) -> Metric:
        """Return an empty confusion matrix over the classes."""
        return SemanticMetric(label_space, device)


class SemanticMetric:
    """A confusion matrix that tells of each image how it fared."""

    def __init__(self, label_space: LabelSpace, device: torch.device | str) -> None:
        self._names = label_space.names
        self._confusion = ConfusionMatrix(label_space.num_classes, device)

    def update(self, prediction: SemanticMap, sample: Sample) -> ImageScore | None:
        """Count one image; None where no pixel has a label."""
        own = self._confusion.update(prediction.classes, sample.targets.id_map, name=sample.name)
        if not bool(own.any()):
            return None
        score = image_score(own)
        matrix = own.cpu().numpy()
        hits = matrix.diagonal()
        counts = np.stack([hits, matrix.sum(0) + matrix.sum(1) - hits])
        return ImageScore(score.miou, {"pixel_accuracy": score.pixel_accuracy}, counts)

    def all_reduce(self) -> None:
        """Sum the counts of all processes."""
        self._confusion.all_reduce()

    def scores(self) -> SegmentationScores:
        """Return the scores of everything counted so far."""
        return self._confusion.scores(self._names)


@torch.no_grad()
def predict_windows(
    segment: Segment,
    images: Sequence[Tensor],
    crop_size: Size,
    *,
    crops_at_once: int = 8,
    confidence: bool = False,
    measure: Callable[[Tensor], Tensor] | None = None,
    view: View = DEFAULT_VIEW,
) -> list[SemanticMap]:
    """Predict images by the benchmark's sliding windows (arXiv 2404.12172), as validation does, or by Rein's.

    Args:
        segment: the model.
        images: (3, H, W) uint8 each, of any size, on the device of ``segment``.
        crop_size: (height, width) that ``segment`` expects.
        crops_at_once: most crops handed to ``segment`` together.
        confidence: also return the probability of the chosen class.
        measure: in its place, return what this makes of the merged logits or scores, (K, rows, W) -> (rows, W), see
            :func:`vfmseg.postprocess.confidence.measure_of`.
        view: how windows lie; ``View(341)`` with crops of 512 is how Rein is evaluated. With ``view.augment``, variants
            of the image are averaged, see :func:`vfmseg.tasks.averaged.predict_averaged`.

    Returns:
        One map per image, at the image's own size.
    """
    plans = [view.plan((image.shape[-2], image.shape[-1]), crop_size) for image in images]
    if view.augment is not None:
        return [
            predict_averaged(
                segment,
                image,
                plan,
                view.augment,
                view.plan_at,
                crops_at_once=crops_at_once,
                confidence=confidence,
                measure=measure,
            )
            for image, plan in zip(images, plans, strict=True)
        ]
    crops = torch.cat([cut(image, plan) for image, plan in zip(images, plans, strict=True)])
    scores, kind = window_scores(segment, crops, crop_size, crops_at_once)
    maps, first = [], 0
    for plan in plans:
        own = scores[first : first + plan.num_windows]
        if measure is not None:
            maps.append(merge_to_measure(own, plan, measure))
        else:
            maps.append(merge_to_classes(own, plan, confidence=kind if confidence else None))
        first += plan.num_windows
    return maps


@torch.no_grad()
def predict_tiles(
    segment: Segment,
    image: Tensor,
    crop_size: Size,
    *,
    overlap: int,
    crops_at_once: int = 8,
    confidence: bool = False,
    augment: AveragedViews | None = None,
) -> SemanticMap:
    """Predict one image at full resolution by overlapping tiles, in memory that does not grow with their number.

    Args:
        segment: the model.
        image: (3, H, W) uint8, on the CPU or the device of ``segment``.
        crop_size: (height, width) that ``segment`` expects.
        overlap: pixels that neighbouring tiles share at least.
        crops_at_once: most tiles handed to ``segment`` together.
        confidence: also return the probability of the chosen class.
        augment: variants of the image to average, each cut into tiles.

    Returns:
        The map at the image's own size, on the CPU.
    """
    plan: WindowPlan = tile_plan((image.shape[-2], image.shape[-1]), crop_size, overlap)
    if augment is not None:
        tiles = partial(tile_plan, overlap=overlap)
        return predict_averaged(
            segment, image, plan, augment, tiles, crops_at_once=crops_at_once, confidence=confidence
        )
    rows = cut_rows(image, plan)
    first, kind = window_scores(segment, next(rows), crop_size, crops_at_once)

    def scored() -> Iterator[Tensor]:
        yield first
        for row in rows:
            yield window_scores(segment, row, crop_size, crops_at_once)[0]

    bands = [
        (found.classes.cpu(), None if found.confidence is None else found.confidence.cpu())
        for _, found in stream_classes(scored(), plan, confidence=kind if confidence else None)
    ]
    certain = [band for _, band in bands if band is not None]
    return SemanticMap(torch.cat([band for band, _ in bands]), torch.cat(certain) if certain else None)
