"""Parts of data sets, drawn and mixed."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from support.archives import write_ade20k, write_cityscapes
from support.driving import write_synthia, write_urbansyn
from support.errors import raises
from vfmseg.data.dataset import open_dataset
from vfmseg.data.mixture import MixedDataset, Part, draw_rows
from vfmseg.errors import DataError


@pytest.mark.parametrize(
    ("length", "fraction", "count"), [(2975, 1 / 16, 186), (10, 0.25, 3), (10, 0.01, 1), (7, 1.0, 7)]
)
def test_draw_rows__rounds_to_whole_images_and_takes_at_least_one(length: int, fraction: float, count: int):
    rows = draw_rows(length, fraction, seed=0)
    assert len(rows) == len(set(rows.tolist())) == count
    assert rows.tolist() == sorted(rows.tolist())
    assert rows.min() >= 0
    assert rows.max() < length


def test_draw_rows__the_seed_decides_and_less_is_a_part_of_more():
    draws = [draw_rows(100, fraction, seed=3) for fraction in (1 / 16, 1 / 8, 1 / 2)]
    for less, more in itertools.pairwise(draws):
        assert set(less.tolist()) < set(more.tolist())
    assert draw_rows(100, 1 / 8, seed=3).tolist() == draws[1].tolist()
    assert draw_rows(100, 1 / 8, seed=4).tolist() != draws[1].tolist()


def mixed(tmp_path: Path, *, weights: tuple[float | None, float | None] = (None, None)) -> MixedDataset:
    first = open_dataset("synthia", write_synthia(tmp_path), "train")
    second = open_dataset("urbansyn", write_urbansyn(tmp_path), "train")
    parts = [Part(first, np.array([1, 3]), weights[0]), Part(second, np.array([0, 1, 2]), weights[1])]
    return MixedDataset(parts)


def test_mixed_dataset__parts_stand_one_after_the_other(tmp_path: Path):
    mixture = mixed(tmp_path)
    first, second = (part.dataset for part in mixture.parts)
    assert len(mixture) == 5
    expected = [first[1], first[3], second[0], second[1], second[2]]
    copy: MixedDataset = pickle.loads(pickle.dumps(mixture))
    for index, sample in enumerate(expected):
        for one in (mixture[index], copy[index], mixture[index - 5]):
            assert one.name == sample.name
            assert torch.equal(one.image, sample.image)
        assert torch.equal(mixture.targets(index).id_map, sample.targets.id_map)
    with pytest.raises(IndexError):
        mixture[5]


def test_mixed_dataset__says_what_is_used(tmp_path: Path):
    mixture = mixed(tmp_path, weights=(2.0, 1.0))
    assert mixture.shares == ((2, 2.0), (3, 1.0))
    assert mixture.listing.splitlines()[:3] == [
        "SYNTHIA train\tRGB/0000001.png",
        "SYNTHIA train\tRGB/0000003.png",
        "UrbanSyn train\trgb/rgb_0001.png",
    ]
    assert "SYNTHIA train: 4 images with labels" in mixture.sentence
    assert "Used: 2, weight 2. UrbanSyn train: 4 images" in mixture.sentence
    assert mixed(tmp_path).shares == ()


def test_mixed_dataset__other_classes(tmp_path: Path):
    city = open_dataset("cityscapes", write_cityscapes(tmp_path), "train")
    ade = open_dataset("ade20k", write_ade20k(tmp_path), "train")
    rows = np.arange(4)
    with raises(
        DataError, "Cityscapes train has the classes road, sidewalk", "ADE20K train has wall, building"
    ):
        MixedDataset([Part(city, rows), Part(ade, rows)])
    with raises(DataError, "A mixture needs at least one source."):
        MixedDataset([])
