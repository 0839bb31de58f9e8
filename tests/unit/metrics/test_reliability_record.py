"""The account of reliability: every number is that of the metric it is made of, as plain values."""

import json

import pytest
import torch

from vfmseg.errors import LabelError
from vfmseg.metrics.calibration import Calibration
from vfmseg.metrics.judged_pixels import void_pixels
from vfmseg.metrics.misclassification import Misclassification
from vfmseg.metrics.ood import OutOfDistribution
from vfmseg.metrics.reliability import ReliabilityMetric


def maps(seed=0):
    """Return confidence, classes, labels and unknown pixels; some unknown ones have a class, the first rows none."""
    generator = torch.Generator().manual_seed(seed)
    confidence = 0.4 + 0.6 * torch.rand((30, 40), generator=generator)
    id_map = torch.randint(0, 4, (30, 40), generator=generator, dtype=torch.uint8)
    classes = torch.where(torch.rand((30, 40), generator=generator) < confidence, id_map, 3 - id_map)
    id_map[:3] = 255
    return confidence, classes, id_map, torch.rand((30, 40), generator=generator) > 0.9


def test_record__holds_the_numbers_of_its_parts():
    metric = ReliabilityMetric("entropy", "probability", unknown=True)
    calibration, right, ood = Calibration(), Misclassification(), OutOfDistribution()
    for seed in (0, 1):
        confidence, classes, id_map, is_unknown = maps(seed)
        metric.update(confidence, classes, id_map, is_unknown)
        calibration.update(confidence, classes, id_map, is_unknown)
        right.update(confidence, classes, id_map, is_unknown)
        ood.update(confidence, is_unknown, void_pixels(id_map, is_unknown))
    metric.all_reduce()  # alone: changes nothing
    found = metric.scores()
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    diagram, misclassified, unknown = calibration.diagram(), right.scores(), ood.scores()
    assert record["confidence"] == "entropy"
    assert record["ece"] == diagram.ece
    assert [one["count"] for one in record["bins"]] == diagram.counts.tolist()
    assert (record["bins"][0]["low"], record["bins"][-1]["high"]) == (0, 1)
    assert record["bins"][0]["accuracy"] is record["bins"][0]["mean_confidence"] is None  # none is below 0.4
    for one in record["bins"][7:]:
        assert one["low"] <= one["mean_confidence"] <= one["high"]
    summed = sum(b["count"] * abs(b["accuracy"] - b["mean_confidence"]) for b in record["bins"] if b["count"])
    assert summed / sum(b["count"] for b in record["bins"]) == pytest.approx(record["ece"])
    assert record["auroc"] == misclassified.auroc.value
    assert record["aupr_error"] == misclassified.aupr_error.value
    assert (record["exact"], record["error_bound"]) == (True, 0)
    assert record["pixels"] == {"right": misclassified.num_right, "wrong": misclassified.num_wrong}
    assert record["unknown"]["aupr"] == unknown.auprc.value
    assert record["unknown"]["pixels"] == {"unknown": unknown.num_unknown, "known": unknown.num_known}
    assert found.row("night")["night/ood_auroc"] == unknown.auroc.value
    assert found.row("night")["night/ece"] == diagram.ece


def test_record__of_sums_has_no_calibration_and_of_nothing_unknown_no_such_numbers():
    confidence, classes, id_map, _ = maps()
    metric = ReliabilityMetric("max_score", "real", unknown=False)
    metric.update(3 * confidence, classes, id_map, None)
    record = metric.scores().record()
    assert (record["bins"], record["ece"], record["unknown"]) == ([], None, None)
    assert 0 < record["auroc"] < 1
    assert "val/ece" not in metric.scores().row()


def test_record__where_all_is_right_and_nothing_unknown_came():
    ids = torch.zeros(4, 5, dtype=torch.uint8)
    metric = ReliabilityMetric("max_probability", "probability", unknown=True)
    metric.update(torch.rand(4, 5), ids, ids, torch.zeros(4, 5, dtype=torch.bool))
    record = json.loads(json.dumps(metric.scores().record(), allow_nan=False))
    assert record["auroc"] is record["fpr95"] is record["aupr_error"] is None
    assert record["aupr_success"] == 1
    assert record["unknown"]["auroc"] is record["unknown"]["aupr"] is record["unknown"]["error_bound"] is None
    assert record["unknown"]["pixels"] == {"unknown": 0, "known": 20}


def test_scores__of_nothing():
    with pytest.raises(LabelError, match="No labelled pixel was counted"):
        ReliabilityMetric("max_score", "real", unknown=False).scores()
