"""A data set in, an endless stream of augmented samples out, in which position ``p`` is always the same sample.

What stands at a position depends on the seed and the position alone, so a run is the same whatever the
number of loader workers, processes or interruptions: a resumed run starts at the position it had reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from torch.utils.data import Dataset, Sampler

from vfmseg.types import Sample


class SampleSource(Protocol):
    """What the stream reads from: a map-style data set of un-augmented samples."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Return sample ``index``."""
        ...


Transform = Callable[[Sample, np.random.Generator], Sample]

_ORDER, _AUGMENTATION = 0, 1  # separate random streams under one seed


def index_at(position: int, length: int, seed: int) -> int:
    """Return which of ``length`` samples stands at ``position``: every epoch is a permutation of all of them."""
    epoch, place = divmod(position, length)
    return int(_permutation(length, seed, epoch)[place])


class _LastPermutation:
    """The permutation asked for last; positions come in order, so one is enough."""

    def __init__(self) -> None:
        self.key: tuple[int, int, int] | None = None
        self.order = np.zeros(0, dtype=np.int64)


_last = _LastPermutation()


def _permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    if _last.key != (length, seed, epoch):
        rng = np.random.default_rng(np.random.SeedSequence([seed, _ORDER, epoch]))
        _last.order, _last.key = rng.permutation(length), (length, seed, epoch)
    return _last.order


class AugmentedStream(Dataset[Sample]):
    """Map-style view of the endless stream: ``stream[p]`` is the augmented sample at position ``p``."""

    def __init__(self, source: SampleSource, transform: Transform, seed: int) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed

    def __getitem__(self, position: int) -> Sample:
        """Return the sample at ``position`` >= 0, augmented with its own random generator."""
        sample = self.source[index_at(position, len(self.source), self.seed)]
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, _AUGMENTATION, position]))
        return self.transform(sample, rng)


class StreamSampler(Sampler[list[int]]):
    """Endless batch sampler over positions; process ``rank`` takes its share of every global batch.

    Args:
        batch_size: images a process sees at once.
        rank: this process, ``0..world_size - 1``.
        world_size: processes.
        start: first position of the stream, a multiple of ``batch_size * world_size``.
    """

    def __init__(self, batch_size: int, *, rank: int, world_size: int, start: int) -> None:
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.start = start

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of ``batch_size`` positions, forever."""
        first = self.start + self.rank * self.batch_size
        while True:
            yield list(range(first, first + self.batch_size))
            first += self.batch_size * self.world_size


class ShardSampler(Sampler[int]):
    """Each process's share of a data set, every sample exactly once over all processes (no padding)."""

    def __init__(self, length: int, *, rank: int, world_size: int) -> None:
        self.indices: Sequence[int] = range(rank, length, world_size)

    def __iter__(self) -> Iterator[int]:
        """Yield this process's indices in order."""
        return iter(self.indices)

    def __len__(self) -> int:
        """Return the number of samples of this process."""
        return len(self.indices)
