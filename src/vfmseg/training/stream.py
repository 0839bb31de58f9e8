"""A data set in, an endless stream of augmented samples out, in which position ``p`` is always the same sample.

What stands at a position depends on the seed and the position alone, so a run is the same whatever the
number of loader workers, processes or interruptions: a resumed run starts at the position it had reached.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

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

# separate random streams under one seed
_ORDER, _AUGMENTATION, _PATTERN, _ORDER_OF_PART = range(4)

_BLOCK: Final = 1000
"""Positions among which every part of a mixture has its share, to the nearest whole."""


def index_at(position: int, length: int, seed: int) -> int:
    """Return which of ``length`` samples stands at ``position``: every epoch is a permutation of all of them."""
    epoch, place = divmod(position, length)
    return int(_permutation(length, (seed, _ORDER, epoch))[place])


def mixed_index_at(position: int, shares: Sequence[tuple[int, float]], seed: int) -> int:
    """Return which sample of a mixture stands at ``position``.

    In every block of a thousand positions each part has a share by its weight, in random order; each part is shown in
    epochs of its own, every one a permutation of all its samples.

    Args:
        position: from 0.
        shares: (number of samples, weight) of each part; a weight is at least a thousandth of their sum.
        seed: decides the order.

    Returns:
        The number of the sample where the parts stand one after the other.
    """
    counts = _counts([weight for _, weight in shares])
    block, place = divmod(position, _BLOCK)
    pattern = np.searchsorted(np.cumsum(counts), _permutation(_BLOCK, (seed, _PATTERN, block)), side="right")
    part = int(pattern[place])
    shown = block * int(counts[part]) + int(np.count_nonzero(pattern[:place] == part))
    epoch, row = divmod(shown, shares[part][0])
    start = sum(length for length, _ in shares[:part])
    return start + int(_permutation(shares[part][0], (seed, _ORDER_OF_PART, part, epoch))[row])


def _counts(weights: Sequence[float]) -> np.ndarray:
    """Return how many positions of a block each part has: rounded down, the rest to the largest remainders."""
    exact = np.asarray(weights, np.float64) / sum(weights) * _BLOCK
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: _BLOCK - int(counts.sum())]] += 1
    return counts


@functools.lru_cache(maxsize=16)
def _permutation(length: int, entropy: tuple[int, ...]) -> np.ndarray:
    """Return a permutation; positions come in order, so the few asked for last are enough to remember."""
    return np.random.default_rng(np.random.SeedSequence(entropy)).permutation(length)


class AugmentedStream(Dataset[Sample]):
    """Map-style view of the endless stream: ``stream[p]`` is the augmented sample at position ``p``.

    Args:
        source: un-augmented samples.
        transform: sample and random generator in, augmented sample out.
        seed: decides order and augmentation.
        shares: (number of samples, weight) of each part of the source; empty: every sample is shown as often.
    """

    def __init__(
        self,
        source: SampleSource,
        transform: Transform,
        seed: int,
        shares: Sequence[tuple[int, float]] = (),
    ) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.shares = tuple(shares)

    def __getitem__(self, position: int) -> Sample:
        """Return the sample at ``position`` >= 0, augmented with its own random generator."""
        if self.shares:
            index = mixed_index_at(position, self.shares, self.seed)
        else:
            index = index_at(position, len(self.source), self.seed)
        sample = self.source[index]
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
