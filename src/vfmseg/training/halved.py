"""A data set in, the same data set at half its size out; see ``transforms.halve``."""

from __future__ import annotations

from vfmseg.training.stream import SampleSource
from vfmseg.transforms.halve import halve
from vfmseg.types import Sample


class Halved:
    """Samples with image and labels halved.

    Args:
        source: un-augmented semantic samples.
    """

    def __init__(self, source: SampleSource) -> None:
        self.source = source

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return sample ``index`` at half its size."""
        return halve(self.source[index])
