import itertools
from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vfmseg.training.stream import AugmentedStream, ShardSampler, StreamSampler, index_at, mixed_index_at
from vfmseg.types import Sample, Targets


class _Numbers:
    """Ten one-pixel images that hold their own index."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        return Sample(torch.full((3, 1, 1), index, dtype=torch.uint8), Targets(torch.zeros(1, 1)), str(index))


def _add_noise(sample: Sample, rng: np.random.Generator) -> Sample:
    return Sample(sample.image.int() * 1000 + int(rng.integers(1000)), sample.targets, sample.name)


@given(length=st.integers(1, 50), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_index_at__every_epoch_shows_every_sample_once(length: int, seed: int, epoch: int) -> None:
    shown = [index_at(epoch * length + place, length, seed) for place in range(length)]
    assert sorted(shown) == list(range(length))


def test_index_at__epochs_and_seeds_differ_in_order() -> None:
    orders = {
        tuple(index_at(epoch * 20 + place, 20, seed) for place in range(20))
        for epoch in (0, 1)
        for seed in (0, 1)
    }
    assert len(orders) == 4


def test_stream__is_a_function_of_the_position_alone() -> None:
    stream = AugmentedStream(_Numbers(), _add_noise, seed=3)
    forwards = [int(stream[p].image[0, 0, 0]) for p in range(25)]
    backwards = [int(stream[p].image[0, 0, 0]) for p in reversed(range(25))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 25  # the same image is augmented anew in the next epoch


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    weights=st.lists(st.integers(1, 100), min_size=4, max_size=4),
    seed=st.integers(0, 3),
    block=st.integers(0, 2),
)
@settings(max_examples=15)
def test_mixed_index_at__each_part_has_its_share(
    lengths: list[int], weights: list[int], seed: int, block: int
) -> None:
    shares = [(length, float(weight)) for length, weight in zip(lengths, weights, strict=False)]
    shown = [mixed_index_at(position, shares, seed) for position in range(block * 1000, block * 1000 + 1000)]
    total = sum(weight for _, weight in shares)
    start = 0
    for length, weight in shares:
        of_part = [index for index in shown if start <= index < start + length]
        assert abs(len(of_part) - 1000 * weight / total) < 1
        counted = Counter(of_part)
        assert max(counted.values()) - min(counted.get(start + i, 0) for i in range(length)) <= 2
        start += length


def test_mixed_index_at__each_part_in_epochs_of_its_own() -> None:
    shares = [(7, 1.0), (5, 3.0)]
    shown = [mixed_index_at(position, shares, seed=2) for position in range(3000)]  # across blocks
    of_first = [index for index in shown if index < 7]
    of_second = [index for index in shown if index >= 7]
    assert (len(of_first), len(of_second)) == (750, 2250)
    for of_part, samples in ((of_first, range(7)), (of_second, range(7, 12))):
        for epoch in range(len(of_part) // len(samples)):
            assert sorted(of_part[epoch * len(samples) : (epoch + 1) * len(samples)]) == list(samples)
    assert [mixed_index_at(p, shares, seed=2) for p in reversed(range(3000))] == shown[::-1]
    assert [mixed_index_at(p, shares, seed=3) for p in range(3000)] != shown


def test_stream__of_a_mixture_shows_by_weight() -> None:
    stream = AugmentedStream(_Numbers(), lambda sample, _: sample, seed=0, shares=[(9, 1.0), (1, 4.0)])
    names = Counter(stream[position].name for position in range(1000))
    assert names["9"] == 800


def test_stream_sampler__processes_share_each_global_batch() -> None:
    shares = [
        list(itertools.islice(StreamSampler(2, rank=rank, world_size=3, start=12), 2)) for rank in range(3)
    ]
    assert shares == [[[12, 13], [18, 19]], [[14, 15], [20, 21]], [[16, 17], [22, 23]]]


@given(length=st.integers(0, 40), world=st.integers(1, 5))
def test_shard_sampler__every_index_exactly_once(length: int, world: int) -> None:
    shards = [ShardSampler(length, rank=rank, world_size=world) for rank in range(world)]
    counted = Counter(index for shard in shards for index in shard)
    assert counted == Counter(range(length))
    assert [len(shard) for shard in shards] == [len(list(shard)) for shard in shards]
