"""The table of a study in, what it says out: rankings, how far settings agree, what cheap settings are worth.

Pure but for the counts of images, which are read from the trials' folders. Every number has its definition in
:mod:`vfmseg.studies.statistics`; here is decided which of them a study can answer, and said what it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vfmseg.studies.analysis_ranking import RankedSetting, SettingRanking, rank_setting
from vfmseg.studies.analysis_settings import Setting, settings_of
from vfmseg.studies.plan_file import Plan
from vfmseg.studies.statistics.agreement import (
    MIN_MODELS,
    Agreement,
    Interval,
    agreement,
    agreement_bounds,
    plausible_agreement,
)
from vfmseg.studies.statistics.correlation import kendall_tau
from vfmseg.studies.statistics.seeds import check_confidence
from vfmseg.studies.store import Row

MOST_COMPARED = 40
"""Settings up to which every one is compared with every other one."""
_TIME = "cost/seconds_alone"
_MOST_DRAWS, _FEWEST_DRAWS = 20_000, 1_000
"""Of the errors of a setting."""
_MANY_NUMBERS, _MOST_NUMBERS = 60_000_000, 200_000_000
"""Numbers drawn in all: few seconds, and so many that confidence sets of all settings are left out."""
_MOST_READ = 500
"""Runs whose counts of images are read."""
_SIZED = 3
"""Settings whose neighbours are told how many seeds would separate them: the reference, and the first others."""


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


@dataclass(frozen=True, kw_only=True)
class ProxyResult:
    """How well a cheap setting stands for a dear one."""

    setting: str
    against: str
    tau: float | None
    cost_share: float
    """Time of its trials over the time of the others'."""
    choice: str
    """The model that it puts first."""
    regret: float
    """Score that this choice loses in the dear setting, in 0..1; 0 if it is right."""


@dataclass(frozen=True, kw_only=True)
class StudyAnalysis:
    """What a study says."""

    study: str
    ranked: str
    """The axis whose levels are ranked."""
    confidence: float
    reference: str | None
    """Name of the setting that others are compared with; None where it has no scores."""
    settings: tuple[SettingRanking, ...]
    """The reference first."""
    compared: tuple[str, ...]
    """The settings of ``taus``."""
    taus: tuple[tuple[float | None, ...], ...]
    """(S, S) tau-b of every two of them over the models that both have; None below three models."""
    agreements: tuple[SettingAgreement, ...]
    """Of every other setting with the reference."""
    proxies: tuple[ProxyResult, ...]
    """Of every cheaper setting, against the reference and against the dearest setting."""
    notes: tuple[str, ...]
    """What cannot be said of the study as a whole, and why."""


def analyse(plan: Plan, rows: Sequence[Row], results: Path, *, confidence: float = 0.95) -> StudyAnalysis:
    """Return what the finished trials of a study say; what they cannot say is in the notes, in words.

    Args:
        plan: Of the study.
        rows: Its table.
        results: Its folder, for the counts of images.
        confidence: Of all statements about one setting together, in 0..1.

    Raises:
        StudyError: ``confidence`` is outside 0..1, or a trial of the table is there twice.
    """
    check_confidence(confidence)
    ranked = _rank_all(settings_of(plan, rows), results, confidence)
    reference = next((one for one in ranked if one.setting.is_reference), None)
    compared = ranked[:MOST_COMPARED]
    notes = _notes(plan, rows, ranked, reference)
    return StudyAnalysis(
        study=plan.name,
        ranked=plan.ranked,
        confidence=confidence,
        reference=None if reference is None else reference.setting.name,
        settings=tuple(one.ranking for one in ranked),
        compared=tuple(one.setting.name for one in compared),
        taus=tuple(tuple(_tau(one, other) for other in compared) for one in compared),
        agreements=_agreements(ranked, reference, confidence),
        proxies=_proxies(ranked, reference),
        notes=notes,
    )


def _rank_all(settings: Sequence[Setting], results: Path, confidence: float) -> list[RankedSetting]:
    """Rank every setting, with as many draws as the number of models and settings leaves time for."""
    found, read = [], 0
    size = sum(len(one.models) ** 2 for one in settings)
    for place, setting in enumerate(settings):
        runs = sum(map(len, setting.runs.values()))
        reads = read + runs <= _MOST_READ
        read += runs if reads else 0
        fits = setting.is_reference or size * _FEWEST_DRAWS <= _MOST_NUMBERS
        draws = min(_MOST_DRAWS, max(_FEWEST_DRAWS, _MANY_NUMBERS // max(size, 1)))
        ranked = rank_setting(
            setting,
            results,
            confidence=confidence,
            draws=draws if fits else 0,
            reads_images=reads,
            says_sizes=place < _SIZED and len(setting.models) <= 50,
        )
        # errors of hundreds of settings would not fit into memory; they are needed to compare a few
        keeps = place < MOST_COMPARED
        found.append(ranked if keeps else RankedSetting(setting, ranked.ranking, None))
    return found


def _notes(
    plan: Plan, rows: Sequence[Row], ranked: Sequence[RankedSetting], reference: RankedSetting | None
) -> tuple[str, ...]:
    notes = []
    if not ranked:
        notes.append("No trial is finished, so there is nothing to rank yet.")
    elif reference is None:
        wanted = " ".join(plan.reference.values())
        notes.append(
            f"The reference setting ({wanted}) has no scores yet, so no setting is compared with it."
        )
    elif len(ranked) == 1:
        notes.append("There is one setting, so there is no other ranking to compare with.")
    if ranked and max(len(one.setting.models) for one in ranked) < MIN_MODELS:
        notes.append(f"Rankings of fewer than {MIN_MODELS} models cannot be compared between settings.")
    open_ones = sum(row["status"] in ("waiting", "failed") for row in rows)
    if ranked and open_ones:
        notes.append(f"{open_ones} of {len(rows)} trials have no score: rankings may change when they have.")
    if len(ranked) > MOST_COMPARED:
        notes.append(
            f"The first {MOST_COMPARED} of {len(ranked)} settings are compared with each other; all of them are ranked."
        )
    return tuple(notes)


def _means(one: RankedSetting) -> Mapping[str, float]:
    return {score.model: score.mean for score in one.ranking.models}


def _common(one: RankedSetting, other: RankedSetting) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the models that both have, and their scores in each."""
    a, b = _means(one), _means(other)
    models = [model for model in one.setting.models if model in b]
    return models, np.array([a[model] for model in models]), np.array([b[model] for model in models])


def _tau(one: RankedSetting, other: RankedSetting) -> float | None:
    models, x, y = _common(one, other)
    if len(models) < MIN_MODELS:
        return None
    tau = float(kendall_tau(x, y))
    return tau if np.isfinite(tau) else None


def _agreements(
    ranked: Sequence[RankedSetting], reference: RankedSetting | None, confidence: float
) -> tuple[SettingAgreement, ...]:
    if reference is None:
        return ()
    found = []
    others = [one for one in ranked[:MOST_COMPARED] if one is not reference]
    for one in others:
        models, x, y = _common(one, reference)
        draws = int(np.clip(_MANY_NUMBERS / 4 / (len(others) * max(1, len(models)) ** 2), 200, 4_000))
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


def _proxies(ranked: Sequence[RankedSetting], reference: RankedSetting | None) -> tuple[ProxyResult, ...]:
    """Return how well cheap settings stand for the reference and for the dearest one, of those with a known time."""
    timed = [
        (one, float(np.mean(seconds)))
        for one in ranked
        if one.setting.target is None and (seconds := _seconds(one)) is not None
    ]
    if len(timed) < 2:
        return ()
    dearest = max(timed, key=lambda pair: pair[1])[0]
    found = []
    for full in {id(one): one for one in (reference, dearest) if one is not None}.values():
        for cheap, _ in timed:
            models, x, y = _common(cheap, full)
            if cheap is full or not models:
                continue
            spent, whole = (
                [one.setting.cost(model, _TIME) or 0.0 for model in models] for one in (cheap, full)
            )
            if min(*spent, *whole) <= 0 or sum(spent) >= sum(whole):
                continue
            choice = int(np.argmax(x))
            found.append(
                ProxyResult(
                    setting=cheap.setting.name,
                    against=full.setting.name,
                    tau=_tau(cheap, full),
                    cost_share=sum(spent) / sum(whole),
                    choice=models[choice],
                    regret=float(y.max() - y[choice]),
                )
            )
    return tuple(found)


def _seconds(one: RankedSetting) -> list[float] | None:
    values = [one.setting.cost(model, _TIME) for model in one.setting.models]
    return (
        None if any(value is None for value in values) else [value for value in values if value is not None]
    )
