"""What the panoptic task means: every pixel in one segment, scored by panoptic quality. Stateless."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.metrics.panoptic_quality import PanopticQuality
from vfmseg.metrics.panoptic_scores import PanopticScores, image_quality
from vfmseg.postprocess.panoptic import may_be_confident, panoptic_map
from vfmseg.tasks.base import ImageScore, Segment, Task
from vfmseg.tasks.letterboxed import predict_whole
from vfmseg.tasks.paint import beside_truth, paint_panoptic
from vfmseg.types import LabelSpace, PanopticMap, Sample, Size


class PanopticTask(Task):
    """Things and stuff: one segment per pixel (Kirillov et al., Panoptic Segmentation, CVPR 2019)."""

    name = "panoptic"
    headline = "val/pq"

    def predict(
        self, segment: Segment, images: Sequence[Tensor], crop_size: Size, label_space: LabelSpace
    ) -> list[PanopticMap]:
        """Predict each image whole and merge its masks, see :func:`panoptic_map`."""
        merge = functools.partial(panoptic_map, is_thing=label_space.is_thing)
        return predict_whole(segment, images, crop_size, merge, may_be_confident)

    def draw(self, sample: Sample, prediction: PanopticMap, label_space: LabelSpace) -> NDArray[np.uint8]:
        """Return image, truth and prediction side by side, segments with their names."""
        return beside_truth(sample, paint_panoptic(prediction, label_space), label_space)

    def metric(self, label_space: LabelSpace, device: torch.device | str) -> PanopticMetric:
        """Return an empty count of matched segments."""
        return PanopticMetric(label_space, device)


class PanopticMetric:
    """Counts of matched segments that tell of each image how it fared."""

    def __init__(self, label_space: LabelSpace, device: torch.device | str) -> None:
        self._names = label_space.names
        self._quality = PanopticQuality(label_space, device)

    def update(self, prediction: PanopticMap, sample: Sample) -> ImageScore | None:
        """Count one image; None where there is no segment, neither true nor predicted."""
        counts = self._quality.update(prediction, sample.targets, name=sample.name)
        if not bool(counts.any()):
            return None
        quality = image_quality(counts)
        return ImageScore(quality.pq, {"sq": quality.sq, "rq": quality.rq})

    def all_reduce(self) -> None:
        """Sum the counts of all processes."""
        self._quality.all_reduce()

    def scores(self) -> PanopticScores:
        """Return the scores of everything counted so far."""
        return self._quality.scores(self._names)
