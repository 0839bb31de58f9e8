from __future__ import annotations

import numpy as np
import pytest
import torch

from vfmseg.errors import LabelError
from vfmseg.metrics.shared_classes import SharedConfusion

MODEL = ("road", "sky", "car", "bus")
IDS = (2, None, 0)
"""The data's classes: car, lamp (which the model does not know), road; it has neither sky nor bus."""


def counted(truth: list[list[int]], predicted: list[list[int]]) -> SharedConfusion:
    counts = SharedConfusion(IDS, len(MODEL), (0, 2))
    counts.update(torch.tensor(predicted, dtype=torch.uint8), torch.tensor(truth, dtype=torch.uint8))
    return counts


def test_shared_confusion__predicting_what_the_data_lacks_is_an_error_and_what_the_model_lacks_none():
    truth = [[2, 2, 2, 2], [0, 0, 1, 1], [255, 0, 0, 1]]
    predicted = [[0, 0, 3, 2], [2, 2, 2, 0], [1, 0, 1, 1]]
    found = counted(truth, predicted).scores(MODEL)
    # road: 2 of 4 right, one pixel of car taken for it; car: 2 of 4 right, one of road taken for it; lamps do not count
    assert found.names == ("road", "car")
    np.testing.assert_allclose(found.iou, [2 / 5, 2 / 5])
    assert found.miou == pytest.approx(2 / 5)
    assert found.pixel_accuracy == pytest.approx(4 / 8)
    assert found.ignored_share == pytest.approx(3 / 11)
    row = found.row()
    assert row["val/iou/road"] == pytest.approx(2 / 5)
    assert row["val/ignored_share"] == pytest.approx(3 / 11)
    assert "val/iou/bus" not in row
    assert found.record()["confusion"] == [[2, 0, 1, 1], [0] * 4, [1, 1, 2, 0], [0] * 4]
    assert found.record()["scored"] == ["road", "car"]


def test_shared_confusion__an_image_is_scored_over_the_shared_classes():
    counts = SharedConfusion(IDS, len(MODEL), (0, 2))
    predicted = torch.tensor([[0, 0, 3, 3]], dtype=torch.uint8)
    score = counts.update(predicted, torch.full((1, 4), 2, dtype=torch.uint8))
    assert score is not None
    assert (score.miou, score.pixel_accuracy) == (0.5, 0.5)
    assert counts.update(predicted, torch.tensor([[1, 1, 255, 1]], dtype=torch.uint8)) is None


def test_shared_confusion__nothing_that_the_model_knows():
    counts = counted([[1, 255]], [[0, 0]])
    with pytest.raises(LabelError, match="No pixel of a class that the model knows"):
        counts.scores(MODEL)


def test_shared_confusion__an_id_that_no_class_has():
    with pytest.raises(LabelError, match="holds ids above 2, which no class of the data has"):
        counted([[3]], [[0]])
