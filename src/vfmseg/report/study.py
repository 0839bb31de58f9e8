"""Turns a folder that ``vfmseg benchmark`` wrote into one page that says what the study says, and how surely."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vfmseg.report import study_tables as tables
from vfmseg.report import study_trials
from vfmseg.report.facts import Fact
from vfmseg.report.numbers import duration, percent
from vfmseg.report.pages import write_page
from vfmseg.report.run_folder import Finding
from vfmseg.report.study_charts import agreement_map, bump_chart, cost_chart, ranking_chart
from vfmseg.report.study_curves import MOST_MODELS, study_curves
from vfmseg.studies.analysis import MOST_SHOWN, StudyAnalysis
from vfmseg.studies.analysis_files import metric_title, write_ranking
from vfmseg.studies.analysis_ranking import SettingRanking
from vfmseg.studies.analysis_settings import settings_of
from vfmseg.studies.plan_file import Plan, read_plan
from vfmseg.studies.race_file import race_promise
from vfmseg.studies.store import Row, refresh_table, rows_of

PAGE = "report.html"
_MOST_DOTS = 30
"""Models of a chart of scores."""
_MOST_LINES = 15
"""Models of the chart of ranks."""


@dataclass(frozen=True)
class RankingCard:
    """One setting on the page."""

    ranking: SettingRanking
    said: str
    """What it comes to, in a sentence."""
    chart: Markup
    table: tables.Table
    pairs: tables.Table | None


@dataclass(frozen=True)
class CostCard:
    """Score against one cost."""

    title: str
    note: str
    svg: Markup


def write_study_report(results: str | Path, *, out: Path | None = None) -> Path:
    """Write ``report.html`` into a folder of results, and ``ranking.json``, ``.md`` and ``.tex`` beside it.

    ``trials.csv`` is written, too, where trials have come further since it was.

    Args:
        results: What ``vfmseg benchmark --out`` wrote; the study may still run.
        out: Where the page goes instead.

    Returns:
        Path of the page.

    Raises:
        StudyError: The folder holds no study, or a file of it is damaged.
        CheckpointError: A ``metrics.csv`` cannot be read.
        ResourceError: The folder cannot be written.
    """
    folder = Path(results)
    plan = read_plan(folder)
    rows = rows_of(plan, folder)
    refresh_table(folder, rows)
    analysis = write_ranking(plan, rows, folder)
    settings = {one.name: one for one in settings_of(plan, rows)}
    shown = analysis.settings[:MOST_SHOWN]
    first = shown[0] if shown else None
    sources = [one for one in shown if one.target is None]
    compared = len(analysis.compared) > 1 and any(tau is not None for row in analysis.taus for tau in row[1:])
    context: dict[str, Any] = {
        "title": plan.name,
        "ranked": plan.ranked,
        "analysis": analysis,
        "status": _status(rows),
        "facts": _facts(plan, rows, analysis),
        "findings": _findings(analysis, rows),
        "cards": [_card(one, analysis.confidence) for one in shown],
        "left_out_settings": len(analysis.settings) - len(shown),
        "agreement_map": agreement_map("Agreement of settings", analysis.compared, analysis.taus)
        if compared
        else None,
        "agreement": tables.agreement_table(analysis) if analysis.agreements else None,
        "bump": _bump(shown) if compared else None,
        "costs": _costs(sources[0]) if sources else [],
        "proxies": tables.proxy_table(analysis) if analysis.proxies else None,
        "early": tables.early_table(analysis) if analysis.fewer_steps else None,
        "race": tables.race_table(analysis.race) if analysis.race is not None else None,
        "race_promise": race_promise(analysis.race) if analysis.race is not None else "",
        "shares_features": study_trials.shares_features(rows),
        "domains": [found for levels in _levels(shown) if (found := tables.domain_table(analysis, levels))],
        "classes": [found for one in shown[:4] if (found := tables.class_table(settings[one.name], one))],
        "curves": study_curves(settings[first.name], first, folder) if first is not None else [],
        "most_curves": MOST_MODELS,
        "first": first,
        "trouble": study_trials.trouble_table(rows, plan),
        "environment": study_trials.environment_table(rows),
        "trials": study_trials.trials_table(rows, plan, folder),
        "written_on": time.strftime("%Y-%m-%d %H:%M"),
    }
    return write_page("study", context, out or folder / PAGE)


def _card(ranking: SettingRanking, confidence: float) -> RankingCard:
    title = f"{metric_title(ranking.metric)} of {ranking.name}"
    return RankingCard(
        ranking=ranking,
        said=_said(ranking, confidence),
        chart=ranking_chart(title, ranking.models[:_MOST_DOTS]),
        table=tables.ranking_table(ranking),
        pairs=tables.pairs_table(ranking, confidence) if len(ranking.models) > 1 else None,
    )


def _said(ranking: SettingRanking, confidence: float) -> str:
    """Return who is best, how surely, and who cannot be told apart."""
    best = ranking.models[0]
    title = metric_title(ranking.metric)
    equal = [one.model for one in ranking.models if one.mean == best.mean]
    have = "has" if len(equal) == 1 else "have"
    said = f"{_listed(equal)} {have} the best {title}, {percent(best.mean, 1)}."
    if len(ranking.models) == 1:
        return f"{best.model} is the only model with a score: {title} {percent(best.mean, 1)}."
    if not ranking.chance:
        return f"{said} How sure that is cannot be said."
    possible = [one.model for one in ranking.models if one.may_be_best]
    sure = percent(confidence)
    if len(possible) == 1:
        said += f" With {sure} confidence it stays the best with other {ranking.chance}."
    else:
        said += (
            f" With {sure} confidence the best is one of {_listed(possible)}, whatever the {ranking.chance}."
        )
    alike = [group for group in ranking.groups if len(group) > 1]
    if alike:
        more = f"; and {_count(len(alike) - 4, 'more group')}" if len(alike) > 4 else ""
        said += f" Not told apart: {'; '.join(_listed(group) for group in alike[:4])}{more}."
    else:
        said += " All models are told apart."
    return said


def _findings(analysis: StudyAnalysis, rows: Sequence[Row]) -> list[Finding]:
    found = [Finding("warning", note) for note in analysis.notes]
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        found.insert(
            0, Finding("problem", f"{_count(failed, 'trial')} failed; the reasons are under Trials.")
        )
    damaged = sum(row["status"] == "damaged" for row in rows)
    if damaged:
        found.insert(
            0,
            Finding(
                "problem", f"Files of {_count(damaged, 'trial')} are damaged; which ones is under Trials."
            ),
        )
    left = {} if analysis.race is None else {one.setting: one.stopped_at for one in analysis.race.settings}
    lacking: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for one in analysis.settings[:MOST_SHOWN]:
        if one.missing:
            raced = set(one.missing) <= set(left.get(" ".join(one.levels.values()), ()))
            lacking.setdefault((one.missing, raced), []).append(one.name)
    for (missing, raced), names in lacking.items():
        has = "has" if len(names) == 1 else "have"
        why = ", which the race stopped" if raced else ""
        text = (
            f"{_listed(names)} {has} no score of {_listed(missing)}{why}: ranks there are among the others."
        )
        found.append(Finding("note" if raced else "warning", text))
    reversed_ones = [
        one
        for one in analysis.agreements
        if one.bounds is not None and one.bounds.upper < 1 and one.kendall.value is not None
    ]
    for agreed in reversed_ones[:MOST_SHOWN]:
        found.append(
            Finding(
                "note",
                f"{agreed.setting} surely ranks some models in another order than {agreed.against} "
                f"(tau-b {tables.tau_words(agreed.kendall.value)}).",
            )
        )
    return found


def _facts(plan: Plan, rows: Sequence[Row], analysis: StudyAnalysis) -> list[Fact]:
    status = Counter(str(row["status"]) for row in rows)
    done = [row for row in rows if row["status"] == "done"]
    models = {row[f"axis.{plan.ranked}"] for row in rows if not row["prepares"]}
    seeds = {row["axis.seed"] for row in rows if row.get("axis.seed")}
    spent = {row["id"]: row for row in rows}.values()  # equal recipes are rows of one trial
    seconds = sum(float(row.get("cost/seconds") or 0) for row in spent)
    found = [
        Fact("Trials done", f"{len(done):,} of {len(rows) - status['left out']:,}"),
        Fact("Models", f"{len(models):,}", f"levels of {plan.ranked}"),
        Fact("Settings", f"{len(analysis.settings):,}", "targets counted"),
        Fact("Seeds", f"{max(1, len(seeds))}"),
        Fact("Time of all trials", duration(seconds)),
    ]
    for key, name, unit in (
        ("cost/gpu_hours", "GPU hours", "h"),
        ("cost/cpu_hours", "CPU hours", "h"),
        ("cost/energy_kwh", "Energy", "kWh"),
    ):
        total = sum(float(row.get(key) or 0) for row in spent)
        if total > 0:
            found.append(Fact(name, f"{total:.3g} {unit}"))
    if study_trials.shares_features(rows):
        saved = sum(float(row.get("features/saved_seconds") or 0) for row in spent)
        words = duration(saved) if saved >= 0 else f"−{duration(-saved)}"
        found.append(Fact("Saved by shared features", words, "of frozen encoders"))
    if stopped := sum(map(study_trials.is_stopped, rows)):
        found.append(Fact("Trials stopped by the race", f"{stopped:,}"))
    for word in ("failed", "left out", "waiting"):
        if status[word]:
            found.append(Fact(f"Trials {word}", f"{status[word]:,}"))
    return found


def _status(rows: Sequence[Row]) -> tuple[str, str]:
    still = sum(row["status"] == "waiting" for row in rows)
    return ("open", f"{still} to go") if still else ("done", "complete")


def _bump(shown: Sequence[SettingRanking]) -> Markup:
    models = [one.model for one in shown[0].models[:_MOST_LINES]]
    return bump_chart("Ranks across settings", shown, models)


def _costs(ranking: SettingRanking) -> list[CostCard]:
    """Return a chart of every cost in which models differ and that does not repeat another one, as hours do seconds."""
    title = metric_title(ranking.metric)
    found, seen = [], list[list[float]]()
    for front in ranking.fronts:
        costs = [one.costs[front.cost] or 0.0 for one in ranking.models]
        if max(costs) < 1.02 * min(costs) or any(_is_proportional(costs, other) for other in seen):
            continue
        seen.append(costs)
        drawn = cost_chart(f"{title} against {front.title.lower()}", ranking.models, front)
        found.append(CostCard(front.title, f"front: {_listed(front.models)}", drawn))
    return found


def _is_proportional(costs: Sequence[float], others: Sequence[float]) -> bool:
    ratios = [cost / other for cost, other in zip(costs, others, strict=True) if other]
    return len(ratios) == len(costs) and max(ratios) < 1.01 * min(ratios)


def _levels(shown: Sequence[SettingRanking]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for one in shown:
        if dict(one.levels) not in found:
            found.append(dict(one.levels))
    return found


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    few = [*names[:8], *([f"{len(names) - 8} more"] if len(names) > 8 else [])]
    return few[0] if len(few) == 1 else f"{', '.join(few[:-1])} and {few[-1]}"
