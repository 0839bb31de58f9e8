"""Rankings of settings in, how far each orders the models as the reference does out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vfmseg.studies.analysis_ranking import RankedSetting
from vfmseg.studies.statistics.agreement import (
    MIN_MODELS,
    Agreement,
    Interval,
    agreement,
    agreement_bounds,
    plausible_agreement,
)
from vfmseg.studies.statistics.correlation import kendall_tau

_NUMBERS = 15_000_000
"""Numbers drawn for all settings together: few seconds."""


@dataclass(frozen=True, kw_only=True)
class SettingAgreement:
    """How far a setting ranks the models as another one does."""

    setting: str
    against: str
    kendall: Agreement
    """Tau-b: over pairs of models, those in the same order less those in the other."""
    weighted: Agreement
    """Exchanges at the top weigh more."""
    other_runs: Interval | None
    """Which tau-b of the true scores their noise leaves plausible."""
    bounds: Interval | None
    """Between what tau-b of the true scores surely lies."""


def agreements_of(
    ranked: Sequence[RankedSetting], reference: RankedSetting | None, confidence: float
) -> tuple[SettingAgreement, ...]:
    """Return how far every other setting ranks the models as the reference does; nothing without one."""
    if reference is None:
        return ()
    found = []
    others = [one for one in ranked if one is not reference]
    for one in others:
        models, x, y = common_scores(one, reference)
        draws = int(np.clip(_NUMBERS / (len(others) * max(1, len(models)) ** 2), 200, 4_000))
        kendall, weighted = (
            agreement(x, y, coefficient=kind, confidence=confidence, draws=draws)
            for kind in ("kendall", "weighted")
        )
        other_runs = bounds = None
        knows_both = one.noise is not None and reference.noise is not None
        if (
            knows_both
            and kendall.value is not None
            and set(one.setting.models) == set(reference.setting.models)
        ):
            assert one.noise is not None
            assert reference.noise is not None
            other_runs = plausible_agreement(one.noise, reference.noise, confidence=confidence)
            bounds = agreement_bounds(one.noise, reference.noise, confidence=confidence)
        found.append(
            SettingAgreement(
                setting=one.setting.name,
                against=reference.setting.name,
                kendall=kendall,
                weighted=weighted,
                other_runs=other_runs,
                bounds=bounds,
            )
        )
    return tuple(found)


def _means(one: RankedSetting) -> Mapping[str, float]:
    return {score.model: score.mean for score in one.ranking.models}


def common_scores(one: RankedSetting, other: RankedSetting) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the models that both have, and their scores in each."""
    a, b = _means(one), _means(other)
    models = [model for model in one.setting.models if model in b]
    return models, np.array([a[model] for model in models]), np.array([b[model] for model in models])


def tau_of(one: RankedSetting, other: RankedSetting) -> float | None:
    """Return tau-b of two settings over the models that both have; None below three, or where one's scores are equal."""
    _, x, y = common_scores(one, other)
    return tau_of_scores(x, y)


def tau_of_scores(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return tau-b of two scores of each model; None below three models, or where one kind of scores is all equal."""
    if len(x) < MIN_MODELS:
        return None
    tau = float(kendall_tau(x, y))
    return tau if np.isfinite(tau) else None
