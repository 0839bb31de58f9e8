"""What the instance task means: scored masks that may overlap, scored by mask AP. Stateless."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.metrics.average_precision import AveragePrecision, truth_of_targets
from vfmseg.metrics.average_precision_scores import AveragePrecisionScores
from vfmseg.postprocess.instance import instances, may_be_selected
from vfmseg.tasks.base import ImageScore, Segment, Task
from vfmseg.tasks.letterboxed import predict_whole
from vfmseg.tasks.paint import beside_truth, paint_instances
from vfmseg.types import Instances, LabelSpace, Sample, Size


class InstanceTask(Task):
    """Countable objects only (Lin et al., Microsoft COCO, ECCV 2014)."""

    name = "instance"
    headline = "val/ap"

    def predict(
        self, segment: Segment, images: Sequence[Tensor], crop_size: Size, label_space: LabelSpace
    ) -> list[Instances]:
        """Predict each image whole and keep its best masks, see :func:`instances`."""
        return predict_whole(segment, images, crop_size, instances, may_be_selected)

    def draw(self, sample: Sample, prediction: Instances, label_space: LabelSpace) -> NDArray[np.uint8]:
        """Return image, truth and prediction side by side, segments with their names."""
        return beside_truth(sample, paint_instances(prediction, label_space), label_space)

    def metric(self, label_space: LabelSpace, device: torch.device | str) -> InstanceMetric:
        """Return an empty collection of matches."""
        return InstanceMetric(label_space, device)


class InstanceMetric:
    """Matches of scored masks that tell of each image how it fared."""

    def __init__(self, label_space: LabelSpace, device: torch.device | str) -> None:
        self._names = label_space.names
        self._device = device
        self._precision = AveragePrecision(label_space.num_classes, device)

    def update(self, prediction: Instances, sample: Sample) -> ImageScore | None:
        """Match one image; None where it holds no object, so that only false finds of it count."""
        own = AveragePrecision(len(self._names), self._device)
        truth = truth_of_targets(sample.targets) if sample.truth is None else sample.truth
        own.update(prediction, truth, name=sample.name)
        self._precision.merge(own)
        if not bool(own.num_objects.any()):
            return None
        scores = own.scores(self._names)
        return ImageScore(scores.ap, {"ap50": scores.ap50})

    def all_reduce(self) -> None:
        """Gather the matches of all processes."""
        self._precision.all_reduce()

    def scores(self) -> AveragePrecisionScores:
        """Return the scores of everything matched so far."""
        return self._precision.scores(self._names)
