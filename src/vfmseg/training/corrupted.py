"""A data set in, the same data set seen through a corruption: as a validation in bad conditions sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from vfmseg.training.stream import SampleSource
from vfmseg.transforms.corruptions import check_corruption, corrupt, image_seed
from vfmseg.types import Sample


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption and how strong it is."""

    kind: str
    """One of ``vfmseg.transforms.corruptions.CORRUPTIONS``."""
    severity: int
    """1 to 5."""

    def __post_init__(self) -> None:
        check_corruption(self.kind, self.severity)


class Corrupted:
    """Samples with corrupted images; targets stay. Decided by the image's name and the seed, not by who reads it.

    Args:
        source: un-augmented samples.
        corruption: what is done to each image.
        seed: of the run.
    """

    def __init__(self, source: SampleSource, corruption: Corruption, seed: int) -> None:
        self.source, self.corruption, self.seed = source, corruption, seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return sample ``index`` with its image corrupted."""
        sample = self.source[index]
        pixels = sample.image.permute(1, 2, 0).numpy()  # H W 3
        seed = image_seed(sample.name, self.seed)
        corrupted = corrupt(pixels, self.corruption.kind, self.corruption.severity, seed)
        return replace(sample, image=torch.from_numpy(corrupted).permute(2, 0, 1))
