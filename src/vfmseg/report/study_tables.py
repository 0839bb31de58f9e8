"""Turns the rankings of a study into tables of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vfmseg.report.measures import MEASURES
from vfmseg.report.numbers import compact, millions, percent, points
from vfmseg.studies.analysis import StudyAnalysis
from vfmseg.studies.analysis_files import early_words, metric_title, rank_words, score_words
from vfmseg.studies.analysis_ranking import SettingRanking
from vfmseg.studies.analysis_settings import COSTS, Setting, mean_of
from vfmseg.studies.race_file import Race, race_words
from vfmseg.studies.statistics.agreement import Interval

MOST_ROWS = 100
"""Rows of a table on the page; ``trials.csv`` and ``ranking.json`` have all."""
_MOST_MODELS = 15
"""Columns of the table of classes."""


@dataclass(frozen=True)
class Cell:
    """One entry."""

    text: str
    shade: float | None = None
    """How dark its ground is, 0..1; None leaves it plain."""
    is_code: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first cell of each names it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """What was left out."""
    is_words: bool = False
    """Cells are words, so they are aligned to the left."""


def ranking_table(ranking: SettingRanking) -> Table:
    """Return the models of a setting, best first, with intervals, ranks and costs."""
    title = metric_title(ranking.metric)
    costs = [kind for kind in COSTS if any(kind.key in one.costs for one in ranking.models)]
    of_costs = (f"{kind.title} ({kind.unit})" if kind.unit else kind.title for kind in costs)
    header = ("Model", "Rank", "Possible ranks", title, "Interval", "Seeds", *of_costs)
    rows = [
        (
            one.model,
            str(one.rank),
            rank_words(one),
            score_words(one),
            "–" if one.lower is None else f"{points(one.lower)} to {points(one.upper)}",
            str(one.seeds),
            *(_cost_words(kind.key, one.costs.get(kind.key)) for kind in costs),
        )
        for one in ranking.models
    ]
    return table_of(f"Models of {ranking.name} by {title} in percent, ± deviation over seeds", header, rows)


def pairs_table(ranking: SettingRanking, confidence: float) -> Table:
    """Return how far neighbours in rank are apart, and what would separate them."""
    place = {one.model: number for number, one in enumerate(ranking.models)}
    neighbours = [one for one in ranking.pairs if place[one.second] == place[one.first] + 1]
    rows = [
        (
            f"{one.first} – {one.second}",
            points(one.difference),
            "–" if one.lower is None else f"{points(one.lower)} to {points(one.upper)}",
            _p(one.p),
            "yes" if one.is_separated else "no",
            "–" if one.seeds is None else f"{one.seeds:,}",
            "–" if one.images is None else f"{one.images:,}",
        )
        for one in neighbours
    ]
    images = "images" if ranking.image_groups is None else "groups of images"
    header = ("Neighbours in rank", "Difference", "Interval", "p", "Told apart", "Seeds", images.capitalize())
    caption = (
        f"Differences in points of {metric_title(ranking.metric)}; intervals hold together with {percent(confidence)} "
        "confidence"
    )
    if all(one.seeds is None and one.images is None for one in neighbours):
        return table_of(caption, header[:-2], [row[:-2] for row in rows])
    caption += (
        f". Seeds (of each model) or {images} that would tell two apart in four of five repetitions, were the "
        "difference seen the true one"
    )
    return table_of(caption, header, rows)


def agreement_table(analysis: StudyAnalysis) -> Table:
    """Return how far each setting ranks the models as the reference does."""
    rows = [
        (
            one.setting,
            str(one.kendall.models),
            tau_words(one.kendall.value),
            _interval(one.other_runs),
            _interval(one.bounds),
            _interval(one.kendall.other_models),
            _p(one.kendall.p),
            tau_words(one.weighted.value),
        )
        for one in analysis.agreements
    ]
    header = ("Setting", "Models", "tau-b", "Other runs", "Bounds", "Other models", "p", "Weighted tau")
    return table_of(f"Agreement with {analysis.reference}, in −1 to 1", header, rows)


def proxy_table(analysis: StudyAnalysis) -> Table:
    """Return how well cheap settings stand for dear ones."""
    rows = [
        (
            one.setting,
            one.against,
            tau_words(one.tau),
            percent(one.cost_share),
            one.choice,
            points(one.regret),
        )
        for one in sorted(analysis.proxies, key=lambda one: (one.against, one.cost_share))
    ]
    header = (
        "Cheap setting",
        "In place of",
        "tau-b",
        "Share of its time",
        "Puts first",
        "Which loses (points)",
    )
    return table_of("What cheaper settings say of dearer ones", header, rows)


def early_table(analysis: StudyAnalysis) -> Table:
    """Return how well earlier validations of the reference stand for its end."""
    rows = [
        (f"{one.step:,}", percent(one.share), tau_words(one.tau), one.choice, points(one.regret))
        for one in analysis.fewer_steps
    ]
    header = ("Step", "Share of the steps", "tau-b", "Puts first", "Which loses (points)")
    return table_of(early_words(analysis).removesuffix("."), header, rows)


def race_table(race: Race) -> Table:
    """Return who left at which rung, who may be the best, and at what share of the steps."""
    header, rows = race_words(race)
    return table_of(
        "Who left the race at which share of the training steps, by setting", header, rows, is_words=True
    )


def domain_table(analysis: StudyAnalysis, levels: Mapping[str, str]) -> Table | None:
    """Return models by the data they were scored on, of the setting with these levels; None without targets."""
    columns = [one for one in analysis.settings if one.levels == levels]
    if len(columns) < 2:
        return None
    of = [{score.model: score for score in one.models} for one in columns]
    best = [max(score.mean for score in one.models) for one in columns]
    models = list(dict.fromkeys(score.model for one in columns for score in one.models))
    rows = [
        (
            Cell(model),
            *(
                Cell("–")
                if model not in scores
                else Cell(score_words(scores[model]), scores[model].mean / max(top, 1e-9))
                for scores, top in zip(of, best, strict=True)
            ),
        )
        for model in models
    ]
    names = tuple(one.target or "own validation" for one in columns)
    title = metric_title(columns[0].metric)
    return Table(
        f"{title} in percent by domain; darker is nearer to the best of its column",
        ("Model", *names),
        *_cut(rows),
    )


def class_table(setting: Setting, ranking: SettingRanking) -> Table | None:
    """Return classes by models, mean over seeds; None where runs name no classes."""
    measure = next((one for one in MEASURES.values() if one.key == setting.metric), None)
    if measure is None:
        return None
    prefix = setting.column.removesuffix(setting.metric) + measure.class_key + "/"
    models = tuple(one.model for one in ranking.models[:_MOST_MODELS])
    names = [
        key.removeprefix(prefix) for key in next(iter(setting.runs.values()))[0] if key.startswith(prefix)
    ]
    if not names:
        return None
    rows = []
    for name in names:
        values = [mean_of(setting.runs[model], prefix + name) for model in models]
        rows.append((Cell(name), *(Cell(points(value), value) for value in values)))
    left_out = len(setting.models) - len(models)
    title = f"{measure.class_title} in percent of {setting.name} by class, mean over seeds"
    cut, note = _cut(rows)
    return Table(title, ("Class", *models), cut, note + (f" {left_out} more models." if left_out else ""))


def table_of(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, is_words: bool = False
) -> Table:
    """Return a table of words, cut to what a page shows."""
    cut, note = _cut([tuple(Cell(text) for text in row) for row in rows])
    return Table(caption, tuple(header), cut, note, is_words)


def _cut(rows: Sequence[tuple[Cell, ...]]) -> tuple[tuple[tuple[Cell, ...], ...], str]:
    left_out = len(rows) - MOST_ROWS
    return tuple(rows[:MOST_ROWS]), f"{left_out:,} more rows are in ranking.json." if left_out > 0 else ""


def _cost_words(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    return millions(value) if key.startswith("parameters") else compact(value)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def tau_words(value: float | None) -> str:
    """Return a coefficient with two digits and a proper minus; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _interval(found: Interval | None) -> str:
    return "–" if found is None else f"{tau_words(found.lower)} to {tau_words(found.upper)}"
