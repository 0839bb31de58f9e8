"""The table of a study in, what it says out: rankings, how far settings agree, what cheap settings are worth.

Pure but for what is read from the folder of results: counts of images, earlier validations, and the race. Every number
has its definition in :mod:`vfmseg.studies.statistics`; here is decided which of them a study can answer, and said what it
cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vfmseg.studies.analysis_agreement import SettingAgreement, agreements_of, tau_of
from vfmseg.studies.analysis_cheaper import EarlyRanking, ProxyResult, fewer_steps, proxies_of
from vfmseg.studies.analysis_ranking import RankedSetting, SettingRanking, rank_setting
from vfmseg.studies.analysis_settings import Setting, settings_of
from vfmseg.studies.plan_file import Plan
from vfmseg.studies.race_file import Race, read_race
from vfmseg.studies.statistics.agreement import MIN_MODELS
from vfmseg.studies.statistics.seeds import check_confidence
from vfmseg.studies.store import Row

MOST_SHOWN = 12
"""Settings that a page shows, and whose neighbours are told how many seeds or images would separate them."""
MOST_COMPARED = 40
"""Settings up to which every one is compared with every other one."""
_MOST_DRAWS, _FEWEST_DRAWS = 20_000, 1_000
"""Of the errors of a setting."""
_MANY_NUMBERS, _MOST_NUMBERS = 60_000_000, 200_000_000
"""Numbers drawn in all: few seconds, and so many that confidence sets of all settings are left out."""
_MOST_READ = 500
"""Runs whose counts of images are read."""
_MOST_SIZED = 50
_NO_SIZES = (
    "How many seeds or images would tell neighbours apart is said of the first "
    f"{MOST_SHOWN} settings, where they have up to {_MOST_SIZED} models."
)


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
    fewer_steps: tuple[EarlyRanking, ...]
    """Of earlier validations of the reference, against its end; none below three models."""
    race: Race | None
    """What a race decided, whatever was trained since; None without one."""
    notes: tuple[str, ...]
    """What cannot be said of the study as a whole, and why."""


def analyse(plan: Plan, rows: Sequence[Row], results: Path, *, confidence: float = 0.95) -> StudyAnalysis:
    """Return what the finished trials of a study say; what they cannot say is in the notes, in words.

    Args:
        plan: Of the study.
        rows: Its table.
        results: Its folder, for the counts of images, the validations before the end, and the race.
        confidence: Of all statements about one setting together, in 0..1.

    Raises:
        StudyError: ``confidence`` is outside 0..1, a trial of the table is there twice, or ``race.json`` or a
            ``metrics.csv`` is damaged.
    """
    check_confidence(confidence)
    ranked = _rank_all(settings_of(plan, rows), results, confidence)
    reference = next((one for one in ranked if one.setting.is_reference), None)
    compared = ranked[:MOST_COMPARED]
    early, why_not_early = fewer_steps(reference, results)
    race, why_no_race = _race_of(plan, results)
    notes = (*_notes(plan, rows, ranked, reference), why_not_early, why_no_race)
    return StudyAnalysis(
        study=plan.name,
        ranked=plan.ranked,
        confidence=confidence,
        reference=None if reference is None else reference.setting.name,
        settings=tuple(one.ranking for one in ranked),
        compared=tuple(one.setting.name for one in compared),
        taus=tuple(tuple(tau_of(one, other) for other in compared) for one in compared),
        agreements=agreements_of(compared, reference, confidence),
        proxies=proxies_of(ranked, reference),
        fewer_steps=early,
        race=race,
        notes=tuple(note for note in notes if note),
    )


def _race_of(plan: Plan, results: Path) -> tuple[Race | None, str]:
    """Return the race of this study, or why that in its folder is another's, in a sentence."""
    race = read_race(results)
    if race is None or {trial.id for trial in plan.trials}.issuperset(race.trials):
        return race, ""
    return None, (
        "The race in this folder was of trials that the study no longer has, so it is left out; "
        "`vfmseg benchmark ... --race` decides anew."
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
            no_sizes="" if place < MOST_SHOWN and len(setting.models) <= _MOST_SIZED else _NO_SIZES,
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
    planned = [row["status"] for row in rows if not row["prepares"] and row["status"] != "left out"]
    open_ones = sum(status in ("waiting", "failed", "damaged") for status in planned)
    if ranked and open_ones:
        notes.append(
            f"{open_ones} of {len(planned)} trials have no score: rankings may change when they have."
        )
    if len(ranked) > MOST_COMPARED:
        notes.append(
            f"The first {MOST_COMPARED} of {len(ranked)} settings are compared with each other; all of them are ranked."
        )
    return tuple(notes)
