import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import hmean

from vfmseg.errors import LabelError
from vfmseg.metrics.bravo import (
    OOD_SUBSETS,
    SEMANTIC_SUBSETS,
    bravo_indices,
    confidence_levels,
    confidence_of_levels,
    harmonic_mean,
    indices_of_targets,
    ood_numbers,
    semantic_numbers,
)
from vfmseg.metrics.calibration import Calibration
from vfmseg.metrics.misclassification import Misclassification
from vfmseg.metrics.ood import OutOfDistribution
from vfmseg.metrics.reliability import ReliabilityMetric

SEMANTIC = ("miou", "ece", "auroc", "fpr95", "aupr_success", "aupr_error")
OOD = ("auroc", "auprc", "fpr95")


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    semantic = {name: dict(zip(SEMANTIC, rng.uniform(0.1, 0.9, 6), strict=True)) for name in SEMANTIC_SUBSETS}
    return semantic, {name: dict(zip(OOD, rng.uniform(0.1, 0.9, 3), strict=True)) for name in OOD_SUBSETS}


def turned(subset):
    return [1 - value if name in ("ece", "fpr95") else value for name, value in subset.items()]


def test_bravo_indices__are_harmonic_means_over_all_numbers_at_once():
    semantic, ood = numbers()
    found = bravo_indices(semantic, ood)
    all_semantic = [value for subset in semantic.values() for value in turned(subset)]
    all_ood = [value for subset in ood.values() for value in turned(subset)]
    assert (len(all_semantic), len(all_ood)) == (48, 6)
    assert found.semantic == pytest.approx(hmean(all_semantic))
    assert found.ood == pytest.approx(hmean(all_ood))
    assert found.total == pytest.approx(hmean([found.semantic, found.ood]))
    assert found.missing == ()
    assert found.by_subset["SMIYC"] == pytest.approx(hmean(turned(ood["SMIYC"])))
    both = turned(semantic["synobjs"]) + turned(ood["synobjs"])
    assert found.by_subset["synobjs"] == pytest.approx(hmean(both))
    assert found.row("test")["test/bravo_index"] == found.total
    assert len(found.row()) == 3 + 9


def test_bravo_indices__say_which_subsets_are_missing():
    semantic, ood = numbers()
    del semantic["synrain"], semantic["synobjs"], ood["synobjs"]
    assert bravo_indices(semantic, ood).missing == ("synrain", "synobjs")
    alone = bravo_indices(semantic, {})
    assert alone.semantic == bravo_indices(semantic, ood).semantic
    assert alone.ood is alone.total is None
    assert alone.missing == ("synrain", "synobjs", "SMIYC")
    assert alone.record()["missing"] == list(alone.missing)
    assert bravo_indices({}, ood).total is bravo_indices({}, {}).ood is None


def test_harmonic_mean__one_zero_makes_it_zero():
    assert harmonic_mean([0.5, 0.0, 1.0]) == 0
    assert harmonic_mean([0.25, 0.25]) == 0.25


@pytest.mark.parametrize("value", [float("nan"), 1.5])
def test_bravo_indices__number_that_is_none_is_named(value):
    semantic, ood = numbers()
    semantic["synrain"]["auroc"] = value
    with pytest.raises(LabelError, match=f"auroc of subset 'synrain' is {value:g}, and must be in 0..1"):
        bravo_indices(semantic, ood)
    del semantic["synrain"]["auroc"]
    with pytest.raises(
        LabelError, match=r"Subset 'synrain' has the numbers aupr_error, .*; it needs miou, ece"
    ):
        bravo_indices(semantic, ood)


def test_numbers__of_one_subset_by_the_challenges_definitions():
    """Level by level in 65,536 histograms, as the challenge's text defines them."""
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(60, 70, generator=generator) ** 0.2
    is_right = torch.rand(60, 70, generator=generator) < confidence
    is_unknown = torch.rand(60, 70, generator=generator) > confidence**3 + 0.2
    id_map = torch.ones(60, 70).byte()
    is_void = torch.zeros(60, 70, dtype=torch.bool)
    is_void[:2] = True
    id_map[is_void] = 255
    levels = confidence_levels(confidence)
    sure = confidence_of_levels(levels)
    calibration = Calibration()
    misclassification, ood = Misclassification(keep=0), OutOfDistribution(keep=0)
    classes = torch.where(is_right, id_map, 0)
    for metric in (calibration, misclassification):
        metric.update(sure, classes, id_map, is_unknown)
    ood.update(sure, is_unknown, is_void)
    found = semantic_numbers(0.5, calibration.diagram(), misclassification.scores())
    known = ~is_void & ~is_unknown
    right, wrong = (np.bincount(levels[known & kind], minlength=65536) for kind in (is_right, ~is_right))
    expected = {"miou": 0.5, "ece": ece_by_levels(right, wrong)}
    expected |= dict(zip(("auroc", "aupr_success", "fpr95"), curves_by_levels(right, wrong), strict=True))
    expected["aupr_error"] = curves_by_levels(wrong[::-1], right[::-1])[1]
    assert found == pytest.approx(expected, abs=1e-7)
    unknown, others = (
        np.bincount(65535 - levels[~is_void & kind], minlength=65536) for kind in (is_unknown, ~is_unknown)
    )
    assert ood_numbers(ood.scores()) == pytest.approx(
        dict(zip(("auroc", "auprc", "fpr95"), curves_by_levels(unknown, others), strict=True)), abs=1e-7
    )


def ece_by_levels(right, wrong):
    edges = np.round(np.linspace(0, 65536, 16)).astype(int)
    confidence = (np.arange(65536) + 0.5) / 65536
    total = 0.0
    for start, stop in pairwise(edges):
        part = slice(start, stop)
        number = right[part] + wrong[part]
        if number.sum():
            gap = right[part].sum() / number.sum() - (number @ confidence[part]) / number.sum()
            total += number.sum() * abs(gap)
    return total / (right.sum() + wrong.sum())


def curves_by_levels(positives, negatives):
    found, false = np.cumsum(positives[::-1]), np.cumsum(negatives[::-1])
    recall, rate = found / found[-1], false / false[-1]
    claimed = found + false
    precision = np.divide(found, claimed, out=np.zeros(len(found)), where=claimed > 0)
    area = np.trapezoid(np.concatenate([[0], recall]), np.concatenate([[0], rate]))
    return area, float(np.diff(recall, prepend=0) @ precision), rate[np.argmax(recall >= 0.95)]


def test_confidence_levels__there_and_back():
    levels = torch.arange(65536, dtype=torch.int32)
    assert torch.equal(confidence_levels(confidence_of_levels(levels)), levels)
    assert confidence_levels(torch.tensor([0.0, 1.0])).tolist() == [0, 65535]
    with pytest.raises(LabelError, match=re.escape("The confidence reaches from 0.5 to 1.5")):
        confidence_levels(torch.tensor([0.5, 1.5]))


def judged(scale="probability", *, all_right=False):
    generator = torch.Generator().manual_seed(0)
    confidence, id_map = torch.rand(20, 20, generator=generator), torch.zeros(20, 20, dtype=torch.uint8)
    wrong = torch.zeros(20, 20) if all_right else torch.rand(20, 20, generator=generator) > confidence
    metric = ReliabilityMetric("x", scale, unknown=True)
    metric.update(confidence, wrong.byte(), id_map, torch.rand(20, 20, generator=generator) > 0.9)
    return metric.scores()


def test_indices_of_targets__leave_out_and_name_what_lacks_a_number():
    good = judged()
    found = {"night": good, "synrain": good, "SMIYC": good, "synflare": judged(all_right=True)}
    mious = dict.fromkeys(found, 0.5)
    indices = indices_of_targets(found, mious)
    expected = bravo_indices(
        {"synrain": semantic_numbers(0.5, good.diagram, good.misclassification)},
        {"SMIYC": ood_numbers(good.unknown)},
    )
    assert indices == expected
    assert "synflare" in indices.missing
    assert indices_of_targets({"night": good}, mious) is None
    # energies have no calibration, but rank unknown objects
    real = judged("real")
    of_energies = indices_of_targets({"synobjs": real}, {"synobjs": 0.5})
    assert of_energies.semantic is None
    assert of_energies.ood == harmonic_mean(
        [1 - v if k == "fpr95" else v for k, v in ood_numbers(real.unknown).items()]
    )
    nothing = indices_of_targets({"ACDCfog": real}, {"ACDCfog": 0.5})
    assert (nothing.total, len(nothing.missing)) == (None, 9)
