"""Calibration, misclassification and unknown objects: what counts, and the numbers that come of it."""

import re

import numpy as np
import pytest
import torch
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
)

from vfmseg.errors import LabelError
from vfmseg.metrics.calibration import Calibration
from vfmseg.metrics.judged_pixels import unknown_pixels, void_pixels
from vfmseg.metrics.misclassification import Misclassification
from vfmseg.metrics.ood import OutOfDistribution

METRICS = (Calibration, Misclassification)


def maps(seed=0, size=(40, 50), calibrated=0.7):
    """Return confidence, classes, labels, and where the class is right; the first rows are void."""
    generator = torch.Generator().manual_seed(seed)
    confidence = torch.rand(size, generator=generator)
    id_map = torch.randint(0, 5, size, generator=generator, dtype=torch.uint8)
    is_right = torch.rand(size, generator=generator) < calibrated * confidence
    classes = torch.where(is_right, id_map, (id_map + 1) % 5)
    id_map[:3] = 255
    return confidence, classes, id_map, is_right


def ece_of(confidence, classes, id_map, num_bins=15):
    metric = Calibration(num_bins)
    metric.update(confidence, classes, id_map)
    return metric.diagram().ece


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_ece__equals_torchmetrics(num_bins):
    confidence, classes, id_map, is_right = maps()
    expected = binary_calibration_error(confidence[3:].flatten(), is_right[3:].flatten().long(), num_bins)
    assert ece_of(confidence, classes, id_map, num_bins) == pytest.approx(float(expected), abs=1e-6)


def test_diagram__by_hand():
    metric = Calibration(4)
    metric.update(
        torch.tensor([[0.25, 0.3, 0.9, 1.0, 0.2]]),
        torch.tensor([[0, 1, 1, 1, 0]]),
        torch.tensor([[0, 0, 1, 1, 255]]),
    )
    diagram = metric.diagram()
    assert diagram.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert diagram.counts.tolist() == [0, 2, 0, 2]
    np.testing.assert_allclose(diagram.confidence, [np.nan, 0.275, np.nan, 0.95], atol=1e-7)
    np.testing.assert_allclose(diagram.accuracy, [np.nan, 0.5, np.nan, 1])
    assert diagram.ece == pytest.approx((2 * 0.225 + 2 * 0.05) / 4, abs=1e-7)
    assert diagram.overconfidence == pytest.approx((-2 * 0.225 - 2 * 0.05) / 4, abs=1e-7)
    assert diagram.row("night") == {
        "night/ece": diagram.ece,
        "night/overconfidence": diagram.overconfidence,
    }


def test_ece__all_right_and_sure():
    ones = torch.ones(3, 3)
    assert ece_of(ones, ones.byte(), ones.byte()) == 0


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_calibration__any_split_in_any_order_equals_the_whole(seeds, random):
    whole, parts = Calibration(), [Calibration(), Calibration()]
    for seed in seeds:
        whole.update(*maps(seed, (5, 7))[:3])
    random.shuffle(seeds)
    for i, seed in enumerate(seeds):
        parts[i % 2].update(*maps(seed, (5, 7))[:3])
    parts[0].merge(parts[1])
    assert torch.equal(parts[0].state, whole.state)
    parts[0].all_reduce()  # alone: changes nothing
    assert torch.equal(parts[0].state, whole.state)
    parts[0].reset()
    assert not parts[0].state.any()


def test_misclassification__equals_torchmetrics():
    confidence, classes, id_map, is_right = maps()
    metric = Misclassification()
    metric.update(confidence, classes, id_map)
    found = metric.scores()
    scores, right = confidence[3:].flatten(), is_right[3:].flatten().long()
    assert found.is_exact
    assert (found.num_right, found.num_wrong) == (int(right.sum()), int((1 - right).sum()))
    assert found.auroc.value == pytest.approx(float(binary_auroc(scores, right)), abs=1e-6)
    success, error = binary_average_precision(scores, right), binary_average_precision(1 - scores, 1 - right)
    assert found.aupr_success.value == pytest.approx(float(success), abs=1e-6)
    assert found.aupr_error.value == pytest.approx(float(error), abs=1e-6)
    threshold = scores[right == 1].quantile(0.05, interpolation="lower")
    assert found.fpr95.value == pytest.approx(
        float((scores[right == 0] >= threshold).float().mean()), abs=1e-6
    )


def test_ood__equals_torchmetrics():
    confidence, _, id_map, _ = maps()
    is_unknown = (id_map == 4) & (confidence < 0.8)
    metric = OutOfDistribution()
    metric.update(confidence, is_unknown, void_pixels(id_map))
    found = metric.scores()
    scores, unknown = 1 - confidence[3:].flatten(), is_unknown[3:].flatten().long()
    assert (found.num_unknown, found.num_known) == (int(unknown.sum()), int((1 - unknown).sum()))
    assert found.auroc.value == pytest.approx(float(binary_auroc(scores, unknown)), abs=1e-6)
    assert found.auprc.value == pytest.approx(float(binary_average_precision(scores, unknown)), abs=1e-6)
    threshold = scores[unknown == 1].quantile(0.05, interpolation="lower")
    assert found.fpr95.value == pytest.approx(
        float((scores[unknown == 0] >= threshold).float().mean()), abs=1e-6
    )


@pytest.mark.parametrize("scale", ["probability", "real"])
@pytest.mark.parametrize("power", [1, 0.05])  # evenly spread, and nearly all above 0.9
def test_scores__in_bins_are_within_their_bounds_of_the_exact_ones(scale, power):
    confidence, classes, id_map, _ = maps()
    confidence = confidence**power
    rows = []
    for keep in (0, 10**6):
        right, ood = Misclassification(scale, keep=keep), OutOfDistribution(scale, keep=keep)
        right.update(confidence, classes, id_map, id_map == 4)
        ood.update(confidence, id_map == 4, void_pixels(id_map))
        rows.append(right.scores().row() | ood.scores().row("val"))
    binned, exact = rows
    keys = [key for key in exact if f"{key}_bound" in exact]
    assert len(keys) == 7
    for key in keys:
        assert exact[f"{key}_bound"] == 0
        assert abs(binned[key] - exact[key]) <= binned[f"{key}_bound"] + 1e-12
        assert binned[f"{key}_bound"] < 0.02


def test_misclassification__all_right():
    metric = Misclassification()
    metric.update(torch.rand(4, 4), torch.zeros(4, 4).byte(), torch.zeros(4, 4).byte())
    found = metric.scores()
    assert found.aupr_success.value == 1
    assert all(np.isnan(number.value) for number in (found.auroc, found.fpr95, found.aupr_error))
    row = found.row("day")
    assert row["day/misclassification_aupr_success"] == 1
    assert row["day/misclassification_auroc"] is row["day/misclassification_auroc_bound"] is None


@pytest.mark.parametrize("metric", METRICS)
def test_unknown_objects__are_neither_right_nor_wrong(metric):
    confidence, classes, id_map, _ = maps()
    without = id_map.clone()
    without[10:20] = 255
    is_unknown = torch.zeros(id_map.shape, dtype=torch.bool)
    is_unknown[10:20] = True
    pair = [metric(), metric()]
    pair[0].update(confidence, classes, id_map, is_unknown)
    pair[1].update(confidence, classes, without)
    found = [one.diagram() if metric is Calibration else one.scores() for one in pair]
    assert found[0].row() == found[1].row()


def test_unknown_pixels__of_a_value_or_of_a_mask():
    labels = torch.tensor([[0, 254, 255]], dtype=torch.uint8)
    assert unknown_pixels(labels).tolist() == [[False, True, True]]
    assert unknown_pixels(labels, 254).tolist() == [[False, True, False]]


def test_void_pixels__unknown_ones_are_not_void_if_255_says_nothing_else():
    id_map = torch.tensor([[0, 255, 255]], dtype=torch.uint8)
    is_unknown = torch.tensor([[True, True, False]])
    assert void_pixels(id_map).tolist() == [[False, True, True]]
    assert void_pixels(id_map, is_unknown).tolist() == [[False, False, True]]


@pytest.mark.parametrize("share", [0, 1])
def test_ood__without_one_of_the_kinds(share):
    metric = OutOfDistribution()
    is_unknown = torch.full((2, 3), bool(share))
    metric.update(torch.rand(2, 3), is_unknown, torch.zeros_like(is_unknown))
    message = f"{6 * share} pixels of unknown objects and {6 - 6 * share} others were counted"
    with pytest.raises(LabelError, match=re.escape(message)):
        metric.scores()


@pytest.mark.parametrize("metric", METRICS)
def test_scores__of_nothing(metric):
    with pytest.raises(LabelError, match="No labelled pixel was counted"):
        metric().diagram() if metric is Calibration else metric().scores()


@pytest.mark.parametrize("metric", METRICS)
def test_update__nan_is_named_and_nothing_is_counted(metric):
    confidence, classes, id_map, _ = maps()
    confidence[0, 0] = torch.nan  # at a void pixel
    counted = metric()
    with pytest.raises(LabelError, match=r"The confidence of image 'a.png' is NaN at 1 of 2000 pixels"):
        counted.update(confidence, classes, id_map, name="a.png")
    with pytest.raises(LabelError, match="No labelled pixel was counted"):
        counted.diagram() if metric is Calibration else counted.scores()


def test_calibration__of_energies():
    with pytest.raises(LabelError, match=r"they have no calibration"):
        ece_of(torch.full((1, 1), 7.0), torch.zeros(1, 1).byte(), torch.zeros(1, 1).byte())


@pytest.mark.parametrize("metric", METRICS)
def test_update__maps_that_do_not_fit(metric):
    ids, sure = torch.zeros(2, 3).byte(), torch.rand(2, 3)
    with pytest.raises(LabelError, match=re.escape("has size (2, 3), its label (3, 2)")):
        metric().update(sure, ids, ids.T)
    message = "The confidence of image 'x' has size (3, 2), the other maps (2, 3)"
    with pytest.raises(LabelError, match=re.escape(message)):
        metric().update(sure.T, ids, ids, name="x")
    message = "The mask of unknown pixels holds torch.uint8 values; it must be bool."
    with pytest.raises(LabelError, match=re.escape(message)):
        metric().update(sure, ids, ids, ids)


def test_ood__maps_that_do_not_fit():
    mask, sure = torch.zeros(2, 3, dtype=torch.bool), torch.rand(2, 3)
    with pytest.raises(LabelError, match="The confidence has size"):
        OutOfDistribution().update(sure.T, mask, mask)
    with pytest.raises(LabelError, match="The mask of void pixels has size"):
        OutOfDistribution().update(sure, mask, mask.T)
    with pytest.raises(LabelError, match="The mask of void pixels holds"):
        OutOfDistribution().update(sure, mask, mask.byte())


@pytest.mark.parametrize("num_bins", [0, 65537])
def test_calibration__number_of_bins(num_bins):
    with pytest.raises(LabelError, match=f"Confidence cannot be put into {num_bins} bins"):
        Calibration(num_bins)


def test_merge__other_bins():
    with pytest.raises(LabelError, match="Counts in 10 bins of confidence cannot be added to counts in 15"):
        Calibration().merge(Calibration(10))


@pytest.mark.parametrize("metric", [Misclassification, OutOfDistribution])
def test_merge__of_ranked_metrics_equals_the_whole(metric):
    whole, parts = metric(keep=3000), [metric(keep=3000), metric(keep=3000)]
    for part, seed in zip(parts, (0, 1), strict=True):
        confidence, classes, id_map, _ = maps(seed)
        rest = (classes, id_map) if metric is Misclassification else (id_map == 4, void_pixels(id_map))
        part.update(confidence, *rest)
        whole.update(confidence, *rest)
    parts[0].merge(parts[1])
    parts[0].all_reduce()  # alone: changes nothing
    assert parts[0].scores() == whole.scores()
    assert not whole.scores().is_exact
    assert parts[1].scores().is_exact
    whole.reset()
    whole.merge(parts[1])
    assert whole.scores() == parts[1].scores()
