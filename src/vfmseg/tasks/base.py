"""What a task is: how an image is predicted, what the prediction is scored by, which number compares runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.metrics.scores import ScoreTable
from vfmseg.types import LabelSpace, Output, Prediction, Sample, Size

Segment = Callable[[Tensor], Output]
"""uint8 crops (n, 3, h, w) in, a decoder's output out."""


class Scores(Protocol):
    """The numbers of one evaluation."""

    def row(self, prefix: str = ...) -> dict[str, float | None]:
        """Return one flat row of named numbers in 0..1; None where there is nothing to score."""

    def record(self) -> dict[str, Any]:
        """Return the counts that all numbers can be made of again, as plain values."""

    def table(self) -> ScoreTable:
        """Return the numbers by class."""


@dataclass(frozen=True)
class ImageScore:
    """How one image fared."""

    score: float
    """In 0..1, what images are ranked by."""
    details: dict[str, float] = field(default_factory=dict)
    """Other numbers of the image, by name, in 0..1."""
    counts: NDArray[np.int64] | None = field(default=None, compare=False)
    """(2, K) pixels in intersection and union of each class; None where the score is not made of such."""


class Metric(Protocol):
    """Counts predictions image by image, in memory that does not hold them."""

    def update(self, prediction: Any, sample: Sample) -> ImageScore | None:
        """Count one image; None where it holds nothing to score."""

    def all_reduce(self) -> None:
        """Add up what all processes have counted."""

    def scores(self) -> Scores:
        """Return the numbers of everything counted so far."""


class Task(ABC):
    """One way of segmenting. Stateless: holds no parameters and no counts."""

    name: str
    """The word in a recipe."""
    headline: str
    """The number by which runs are compared, such as ``val/miou``; higher is better."""

    @abstractmethod
    def predict(
        self, segment: Segment, images: Sequence[Tensor], crop_size: Size, label_space: LabelSpace
    ) -> Sequence[Prediction]:
        """Predict images (3, H, W) uint8 at their own sizes, as validation does."""

    @abstractmethod
    def draw(self, sample: Sample, prediction: Any, label_space: LabelSpace) -> NDArray[np.uint8]:
        """Return image, truth and prediction side by side, (H, W, 3) RGB, for people."""

    def baseline(self, scores: Any) -> dict[str, float]:
        """Return what a trivial prediction would score, by name; empty where there is no such thing."""
        return {}

    @abstractmethod
    def metric(self, label_space: LabelSpace, device: torch.device | str) -> Metric:
        """Return a metric that has seen nothing."""
