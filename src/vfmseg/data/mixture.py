"""Training data of one or several sources -> one data set: a seeded part of each, and how often each is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from vfmseg.data.dataset import SegmentationDataset
from vfmseg.data.pairing import Unpaired
from vfmseg.errors import DataError
from vfmseg.types import LabelSpace, Sample, Targets


@dataclass(frozen=True)
class Part:
    """What is used of one data set."""

    dataset: SegmentationDataset
    rows: NDArray[np.int64]
    """(n,) numbers of the samples used, ascending."""
    weight: float | None = None
    """How often its images are shown beside those of the others; None: as often as there are images."""


class MixedDataset(Dataset[Sample]):
    """Un-augmented samples of several parts, one part after the other.

    Raises:
        DataError: there is no part, or parts of other classes than the first; both lists are in the message.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        if not parts:
            raise DataError("A mixture needs at least one source.")
        first = parts[0].dataset
        for part in parts[1:]:
            if part.dataset.label_space.names != first.label_space.names:
                raise DataError(
                    f"{first.title} has the classes {', '.join(first.label_space.names)}, {part.dataset.title} has "
                    f"{', '.join(part.dataset.label_space.names)}. Sources that are mixed need the same classes in the "
                    "same order."
                )
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part.rows) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            ImageError, LabelError: as of its data set.
        """
        dataset, row = self._place(index)
        return dataset[row]

    def targets(self, index: int) -> Targets:
        """Read one label only, at its own size.

        Raises:
            LabelError: as of its data set.
        """
        dataset, row = self._place(index)
        return dataset.targets(row)

    @property
    def label_space(self) -> LabelSpace:
        """The classes."""
        return self.parts[0].dataset.label_space

    @property
    def skipped(self) -> tuple[Unpaired, ...]:
        """Files that are there but left out on request, with the reasons."""
        return tuple(one for part in self.parts for one in part.dataset.skipped)

    @property
    def sentence(self) -> str:
        """What was found where, and what is used of it, to be printed."""
        return " ".join(
            f"{part.dataset.sentence} Used: {len(part.rows)}{_share(part.weight)}." for part in self.parts
        )

    @property
    def shares(self) -> tuple[tuple[int, float], ...]:
        """(number of images, weight) of each part; empty where every image is shown as often as any other."""
        return tuple((len(part.rows), part.weight) for part in self.parts if part.weight is not None)

    @property
    def listing(self) -> str:
        """One line a sample: data set and split, a tab, the name of the image."""
        return "".join(
            f"{part.dataset.title}\t{part.dataset.names[int(row)]}\n"
            for part in self.parts
            for row in part.rows
        )

    def _place(self, index: int) -> tuple[SegmentationDataset, int]:
        index = range(len(self))[index]
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self.parts[number]
        start = int(self._ends[number]) - len(part.rows)
        return part.dataset, int(part.rows[index - start])


def draw_rows(length: int, fraction: float, seed: int) -> NDArray[np.int64]:
    """Draw a part of a data set.

    The same seed gives the same images every time, and a smaller fraction a part of what a larger one gives.

    Args:
        length: number of samples, at least 1.
        fraction: share that is wanted, above 0, at most 1; rounded to whole samples, at least one.
        seed: of the draw.

    Returns:
        (n,) numbers of the samples, ascending.
    """
    count = max(1, int(length * fraction + 0.5))
    order = np.random.default_rng(np.random.SeedSequence([seed, length])).permutation(length)
    return np.sort(order[:count])


def _share(weight: float | None) -> str:
    return "" if weight is None else f", weight {weight:g}"
