import itertools
from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.training.stream import AugmentedStream, ShardSampler, StreamSampler, index_at
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
