"""Halved samples: half the size, rounded down, image and labels in step."""

import numpy as np
import torch

from vfmseg.transforms.halve import halve
from vfmseg.types import Sample, Targets


def test_halve__image_and_labels_by_two_rounded_down():
    ids = np.arange(35, dtype=np.uint8).reshape(5, 7)
    image = torch.full((3, 5, 7), 90, dtype=torch.uint8)
    image[:, :, 4:] = 200
    unknown = torch.from_numpy(ids) >= 20
    found = halve(Sample(image, Targets(torch.from_numpy(ids)), "a.png", unknown=unknown))
    assert found.image.shape == (3, 2, 3)
    assert found.targets.id_map.shape == (2, 3)
    # the middle of each new pixel, on steps of 2.5 and 7 / 3
    assert found.targets.id_map.tolist() == [[8, 10, 12], [22, 24, 26]]
    assert found.unknown is not None
    assert found.unknown.tolist() == [[False] * 3, [True] * 3]
    assert found.image[0, 0, 0] < 100 < 190 < found.image[0, 0, 2]
    assert (found.name, found.image.dtype, found.targets.id_map.dtype) == ("a.png", torch.uint8, torch.uint8)


def test_halve__a_single_pixel_stays_one():
    tiny = Sample(torch.zeros(3, 1, 1, dtype=torch.uint8), Targets(torch.zeros(1, 1, dtype=torch.uint8)), "a")
    assert halve(tiny).image.shape == (3, 1, 1)
    assert halve(tiny).unknown is None
