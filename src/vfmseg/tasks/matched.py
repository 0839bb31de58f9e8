"""The semantic task on data of other classes than the model's: predicted as ever, scored over what both have."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from vfmseg.data.class_match import ClassMatch
from vfmseg.metrics.shared_classes import SharedConfusion
from vfmseg.metrics.shared_scores import SharedScores
from vfmseg.tasks.base import ImageScore
from vfmseg.tasks.semantic import SemanticTask
from vfmseg.types import IGNORE_INDEX, LabelSpace, Sample, SemanticMap, Targets


class MatchedSemanticTask(SemanticTask):
    """One class per pixel, scored over the classes that model and data share.

    Args:
        match: what the data's classes are to the model.
    """

    def __init__(self, match: ClassMatch) -> None:
        self.match = match

    def draw(self, sample: Sample, prediction: SemanticMap, label_space: LabelSpace) -> NDArray[np.uint8]:
        """Return image, truth and prediction side by side, in the model's classes."""
        ids = [IGNORE_INDEX if own is None else own for own in self.match.model_ids]
        table = torch.full((256,), IGNORE_INDEX, dtype=torch.uint8)
        table[: len(ids)] = torch.tensor(ids, dtype=torch.uint8)
        truth = Targets(table[sample.targets.id_map.long()])
        return super().draw(dataclasses.replace(sample, targets=truth), prediction, self.match.model)

    def metric(self, label_space: LabelSpace, device: torch.device | str) -> MatchedMetric:
        """Return counts over the model's classes that have seen nothing."""
        return MatchedMetric(self.match, device)


class MatchedMetric:
    """Counts over the model's classes that tell of each image how it fared."""

    def __init__(self, match: ClassMatch, device: torch.device | str) -> None:
        self._names = match.model.names
        self._counts = SharedConfusion(match.model_ids, match.model.num_classes, match.shared, device)

    def update(self, prediction: SemanticMap, sample: Sample) -> ImageScore | None:
        """Count one image; None where no pixel has a class that is scored."""
        score = self._counts.update(prediction.classes, sample.targets.id_map, name=sample.name)
        return None if score is None else ImageScore(score.miou, {"pixel_accuracy": score.pixel_accuracy})

    def all_reduce(self) -> None:
        """Sum the counts of all processes."""
        self._counts.all_reduce()

    def scores(self) -> SharedScores:
        """Return the scores of everything counted so far."""
        return self._counts.scores(self._names)
