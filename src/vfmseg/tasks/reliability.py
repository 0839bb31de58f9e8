"""The semantic task, asked how sure it is: predicted and scored as ever, and its confidence judged beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.metrics.reliability import Reliability, ReliabilityMetric
from vfmseg.metrics.scores import ScoreTable
from vfmseg.postprocess.confidence import Said, measure_of
from vfmseg.tasks.base import ImageScore, Metric, Scores, Segment
from vfmseg.tasks.semantic import SemanticTask, predict_windows
from vfmseg.types import IGNORE_INDEX, LabelSpace, Sample, SemanticMap, Size


@dataclass(frozen=True)
class JudgedScores:
    """The scores of the semantic task, and how far its confidence can be believed."""

    semantic: Scores
    reliability: Reliability

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row of both."""
        return {**self.semantic.row(prefix), **self.reliability.row(prefix)}

    def record(self) -> dict[str, Any]:
        """Return the counts that the semantic numbers can be made of again."""
        return self.semantic.record()

    def table(self) -> ScoreTable:
        """Return the semantic numbers by class."""
        return self.semantic.table()


class ReliableTask(SemanticTask):
    """One class per pixel and how sure of it, in one pass.

    Args:
        scored: what predictions are scored by beside it.
        confidence: name of the measure, see :data:`vfmseg.postprocess.confidence.MEASURES`.
        said: what the decoder says of a class at a pixel.
        unknown: whether samples say which pixels are unknown.
        model_ids: for each class of the data, the model's, or None: ignored; None where they are the model's.

    Raises:
        RecipeError: there is no such measure of what the decoder says.
    """

    def __init__(
        self,
        scored: SemanticTask,
        confidence: str,
        said: Said,
        *,
        unknown: bool,
        model_ids: Sequence[int | None] | None = None,
    ) -> None:
        self.scored = scored
        self.confidence = confidence
        self.unknown = unknown
        self._measure, self._scale = measure_of(confidence, said)
        self._model_ids: Tensor | None = None
        if model_ids is not None:
            ids = [IGNORE_INDEX if own is None else own for own in model_ids]
            self._model_ids = torch.full((256,), IGNORE_INDEX, dtype=torch.uint8)
            self._model_ids[: len(ids)] = torch.tensor(ids, dtype=torch.uint8)

    def predict(
        self, segment: Segment, images: Sequence[Tensor], crop_size: Size, label_space: LabelSpace
    ) -> list[SemanticMap]:
        """Predict images by sliding windows, with the measure in float32."""
        return predict_windows(segment, images, crop_size, measure=self._measure, view=self.scored.view)

    def draw(self, sample: Sample, prediction: SemanticMap, label_space: LabelSpace) -> NDArray[np.uint8]:
        """Return image, truth and prediction side by side."""
        return self.scored.draw(sample, prediction, label_space)

    def baseline(self, scores: JudgedScores) -> dict[str, float]:  # type: ignore[override] # of its own metric
        """Return what a trivial prediction would score."""
        return self.scored.baseline(scores.semantic)  # type: ignore[arg-type] # whatever its metric made

    def metric(self, label_space: LabelSpace, device: torch.device | str) -> JudgedMetric:
        """Return counts that have seen nothing."""
        judged = ReliabilityMetric(self.confidence, self._scale, unknown=self.unknown, device=device)
        return JudgedMetric(self.scored.metric(label_space, device), judged, self._model_ids)


class JudgedMetric:
    """Counts predictions as the semantic task does, and how sure they were."""

    def __init__(self, scored: Metric, judged: ReliabilityMetric, model_ids: Tensor | None) -> None:
        self._scored = scored
        self._judged = judged
        self._model_ids = model_ids

    def update(self, prediction: SemanticMap, sample: Sample) -> ImageScore | None:
        """Count one image; None where no pixel has a label."""
        assert prediction.confidence is not None
        truth = sample.targets.id_map
        if self._model_ids is not None:
            truth = self._model_ids[truth.long()]
        self._judged.update(
            prediction.confidence, prediction.classes, truth, sample.unknown, name=sample.name
        )
        return self._scored.update(prediction, sample)

    def all_reduce(self) -> None:
        """Sum the counts of all processes."""
        self._scored.all_reduce()
        self._judged.all_reduce()

    def scores(self) -> JudgedScores:
        """Return the scores of everything counted so far."""
        return JudgedScores(self._scored.scores(), self._judged.scores())
