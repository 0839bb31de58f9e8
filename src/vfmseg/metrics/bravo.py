"""Turns the numbers of each subset of the BRAVO challenge into its indices of reliability (arXiv 2409.15107).

All numbers are turned so that more is better, 1 - x of calibration error and false positive rate, and their harmonic
mean is taken over all subsets at once: 48 numbers of eight subsets for the semantic index, 6 of two for that of unknown
objects. The BRAVO index is the harmonic mean of these two. The challenge samples up to 100,000 pixels an image that
are not void; to count those alone, set all others to 255 (or void) before the metrics see them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.calibration import ReliabilityDiagram
from vfmseg.metrics.misclassification import MisclassificationScores
from vfmseg.metrics.ood import OutOfDistributionScores
from vfmseg.metrics.reliability import Reliability
from vfmseg.metrics.score_counts import LEVELS, check_scores

SEMANTIC_SUBSETS = (
    "ACDCfog",
    "ACDCrain",
    "ACDCnight",
    "ACDCsnow",
    "synrain",
    "synobjs",
    "synflare",
    "outofcontext",
)
OOD_SUBSETS = ("SMIYC", "synobjs")


@dataclass(frozen=True)
class BravoIndices:
    """Harmonic means in 0..1; the more, the more reliable."""

    semantic: float | None
    """None where no subset with semantic numbers was given."""
    ood: float | None
    """None where no subset with numbers on unknown objects was given."""
    total: float | None
    """Harmonic mean of the two, the BRAVO index; None where one of them is."""
    by_subset: dict[str, float]
    """Subset -> harmonic mean of all its numbers."""
    missing: tuple[str, ...]
    """Subsets of the challenge that were not given. If there are some, the indices are not the challenge's."""

    def record(self) -> dict[str, Any]:
        """Return ``semantic``, ``ood``, ``total``, ``subsets`` (name -> harmonic mean), ``missing`` as plain values."""
        return {
            "semantic": self.semantic,
            "ood": self.ood,
            "total": self.total,
            "subsets": self.by_subset,
            "missing": list(self.missing),
        }

    def row(self, prefix: str = "val") -> dict[str, float | None]:
        """Return one flat row, ``{"val/bravo_index": 0.7, "val/semantic_hmean": 0.6, "val/hmean/synrain": 0.8, ...}``."""
        row = {
            f"{prefix}/bravo_index": self.total,
            f"{prefix}/semantic_hmean": self.semantic,
            f"{prefix}/ood_hmean": self.ood,
        }
        return row | {f"{prefix}/hmean/{subset}": value for subset, value in self.by_subset.items()}


def semantic_numbers(
    miou: float, diagram: ReliabilityDiagram, misclassification: MisclassificationScores
) -> dict[str, float]:
    """Return the six semantic numbers of a subset, as measured."""
    return {
        "miou": miou,
        "ece": diagram.ece,
        "auroc": misclassification.auroc.value,
        "fpr95": misclassification.fpr95.value,
        "aupr_success": misclassification.aupr_success.value,
        "aupr_error": misclassification.aupr_error.value,
    }


def ood_numbers(scores: OutOfDistributionScores) -> dict[str, float]:
    """Return the three numbers of a subset on unknown objects, as measured."""
    return {"auroc": scores.auroc.value, "auprc": scores.auprc.value, "fpr95": scores.fpr95.value}


def bravo_indices(
    semantic: Mapping[str, Mapping[str, float]], ood: Mapping[str, Mapping[str, float]]
) -> BravoIndices:
    """Return the challenge's indices.

    Args:
        semantic: subset -> its numbers, as of :func:`semantic_numbers`.
        ood: subset -> its numbers, as of :func:`ood_numbers`.

    Raises:
        LabelError: A number is missing, unknown or not in 0..1, as it is where all pixels of a subset are right.
    """
    goods = {
        "semantic": _goods(semantic, ("miou", "ece", "auroc", "fpr95", "aupr_success", "aupr_error")),
        "ood": _goods(ood, ("auroc", "auprc", "fpr95")),
    }
    means = {
        kind: harmonic_mean(list(chain(*subsets.values()))) if subsets else None
        for kind, subsets in goods.items()
    }
    both = [mean for mean in means.values() if mean is not None]
    names = dict.fromkeys([*goods["semantic"], *goods["ood"]])
    wanted = {"semantic": SEMANTIC_SUBSETS, "ood": OOD_SUBSETS}
    return BravoIndices(
        means["semantic"],
        means["ood"],
        harmonic_mean(both) if len(both) == len(means) else None,
        {name: harmonic_mean(goods["semantic"].get(name, []) + goods["ood"].get(name, [])) for name in names},
        tuple(dict.fromkeys(name for kind in wanted for name in wanted[kind] if name not in goods[kind])),
    )


def indices_of_targets(
    found: Mapping[str, Reliability], mious: Mapping[str, float | None]
) -> BravoIndices | None:
    """Return the challenge's indices over the targets that bear the names of its subsets; None if none does.

    A subset of which a number is missing or undefined, as where all pixels are right or confidence is no probability, is
    left out and named among the missing ones.

    Args:
        found: target -> how far confidence can be believed on it.
        mious: target -> mean IoU.
    """
    subsets = [name for name in found if name in SEMANTIC_SUBSETS or name in OOD_SUBSETS]
    if not subsets:
        return None
    semantic: dict[str, dict[str, float]] = {}
    ood: dict[str, dict[str, float]] = {}
    for name in subsets:
        one, miou = found[name], mious[name]
        if name in SEMANTIC_SUBSETS and one.diagram is not None and miou is not None:
            semantic[name] = semantic_numbers(miou, one.diagram, one.misclassification)
        if name in OOD_SUBSETS and one.unknown is not None:
            ood[name] = ood_numbers(one.unknown)
    return bravo_indices(
        *(
            {name: numbers for name, numbers in kind.items() if _are_defined(numbers)}
            for kind in (semantic, ood)
        )
    )


def _are_defined(numbers: Mapping[str, float]) -> bool:
    return not any(math.isnan(value) for value in numbers.values())


def harmonic_mean(values: Sequence[float]) -> float:
    """Return the harmonic mean of at least one number in 0..1; it is 0 if one of them is."""
    return len(values) / sum(1 / value for value in values) if all(values) else 0.0


def confidence_levels(confidence: Tensor) -> Tensor:
    """Return (...) int32 levels 0..65535 of confidences in 0..1, as submissions hold them.

    Level u holds the confidences of [u, u + 1) / 65536, and the last one 1.

    Raises:
        LabelError: A confidence is NaN or outside 0..1.
    """
    confidence = confidence.float()
    check_scores(confidence, "probability", "")
    return (confidence * LEVELS).to(torch.int32).clamp_(max=LEVELS - 1)


def confidence_of_levels(levels: Tensor) -> Tensor:
    """Return (...) float32: the confidence that the challenge takes levels 0..65535 for, (u + 1/2) / 65536."""
    return (levels.float() + 0.5) / LEVELS


def _goods(subsets: Mapping[str, Mapping[str, float]], wanted: tuple[str, ...]) -> dict[str, list[float]]:
    """Return the numbers of each subset so that more is better, checked."""
    goods = {}
    for subset, numbers in subsets.items():
        if set(numbers) != set(wanted):
            raise LabelError(
                f"Subset {subset!r} has the numbers {', '.join(sorted(numbers)) or 'none'}; it needs "
                f"{', '.join(wanted)}."
            )
        for name, value in numbers.items():
            if not 0 <= value <= 1:
                raise LabelError(
                    f"{name} of subset {subset!r} is {value:g}, and must be in 0..1. Where it is no number, the "
                    "subset has only right or only wrong pixels: leave it out, and the index is over the others."
                )
        goods[subset] = [1 - numbers[name] if name in ("ece", "fpr95") else numbers[name] for name in wanted]
    return goods
