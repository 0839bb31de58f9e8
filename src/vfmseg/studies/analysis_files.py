"""What a study says in, files out: ``ranking.json`` for programs, ``ranking.md`` and ``ranking.tex`` for papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from vfmseg.models.writing import whole_file
from vfmseg.studies.analysis import StudyAnalysis, analyse
from vfmseg.studies.analysis_ranking import ModelScore, SettingRanking
from vfmseg.studies.plan_file import Plan
from vfmseg.studies.race_file import race_promise, race_words
from vfmseg.studies.statistics.agreement import Interval
from vfmseg.studies.store import Row

RANKING = "ranking.json"
_TITLES = {"miou": "mIoU", "pq": "PQ", "ap": "AP"}
_MOST_COLUMNS = 12
"""Settings that a LaTeX table holds beside each other."""
_ESCAPES = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}"}
)


def write_ranking(plan: Plan, rows: Sequence[Row], results: Path) -> StudyAnalysis:
    """Write ``ranking.json``, ``ranking.md`` and ``ranking.tex`` into the folder of results; return what they say.

    Raises:
        StudyError: a trial of the table is there twice.
        ResourceError: the folder cannot be written.
    """
    analysis = analyse(plan, rows, results)
    texts = {
        RANKING: msgspec.json.format(msgspec.json.encode(analysis), indent=2).decode() + "\n",
        "ranking.md": markdown(analysis),
        "ranking.tex": latex(analysis),
    }
    for name, text in texts.items():
        with whole_file(results / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return analysis


def metric_title(metric: str) -> str:
    """Return how people write the number that models are ranked by."""
    return _TITLES.get(metric, metric)


def rank_words(score: ModelScore) -> str:
    """Return which ranks a model may have: ``"2"``, ``"1–3"``, or ``"?"`` where nothing is known of the error."""
    if score.best_rank is None or score.worst_rank is None:
        return "?"
    if score.best_rank == score.worst_rank:
        return str(score.best_rank)
    return f"{score.best_rank}–{score.worst_rank}"


def score_words(score: ModelScore) -> str:
    """Return a score in percent, and its deviation over seeds: ``"71.3 ± 0.4"``."""
    mean = f"{100 * score.mean:.1f}"
    return mean if score.sd is None else f"{mean} ± {100 * score.sd:.1f}"


def early_words(analysis: StudyAnalysis) -> str:
    """Return what rankings at earlier validations are, and are not, in sentences; there is at least one."""
    first = analysis.fewer_steps[0]
    all_runs = sum(score.seeds for score in analysis.settings[0].models)
    runs = f"{first.runs}" if first.runs == all_runs else f"{first.runs} of the {all_runs}"
    return (
        f"Earlier validations of {runs} runs of {analysis.reference}, against their end. The learning-rate schedule is "
        "that of the whole training: a run that is made shorter, with a schedule of its own, may rank otherwise. The "
        "share is of training steps."
    )


def markdown(analysis: StudyAnalysis) -> str:
    """Return the ranking of every setting, and how far settings agree, as Markdown."""
    percent = f"{100 * analysis.confidence:g} %"
    parts = [f"# {analysis.study}: ranking of {analysis.ranked}\n"]
    parts += [f"{note}\n" for note in analysis.notes]
    for setting in analysis.settings:
        role = " (reference)" if setting.is_reference else ""
        parts.append(f"## {setting.name}{role}\n")
        title = metric_title(setting.metric)
        if setting.chance:
            parts.append(
                f"{title} in percent. With {percent} confidence, other {setting.chance} leave every model within its "
                "possible ranks, all at once.\n"
            )
        parts.append(_table(["rank", "possible", analysis.ranked, title, "seeds"], _ranking_rows(setting)))
        parts += [f"{note}\n" for note in setting.notes]
    if analysis.agreements:
        parts.append(f"## Agreement with {analysis.reference}\n")
        header = ["setting", "models", "tau-b", "other runs", "other models", "weighted tau"]
        parts.append(_table(header, _agreement_rows(analysis)))
    if analysis.proxies:
        parts.append("## Cheaper settings\n")
        rows = [
            [
                one.setting,
                one.against,
                _two(one.tau),
                f"{100 * one.cost_share:.0f} %",
                one.choice,
                f"{100 * one.regret:.1f}",
            ]
            for one in analysis.proxies
        ]
        parts.append(
            _table(["setting", "in place of", "tau-b", "share of time", "its choice", "loses"], rows)
        )
    if analysis.fewer_steps:
        parts.append("## Fewer steps\n")
        parts.append(f"{early_words(analysis)}\n")
        rows = [
            [f"{one.step}", f"{100 * one.share:.0f} %", _two(one.tau), one.choice, f"{100 * one.regret:.1f}"]
            for one in analysis.fewer_steps
        ]
        parts.append(_table(["step", "share of steps", "tau-b", "its choice", "loses"], rows))
    if analysis.race is not None:
        parts += ["## Race\n", f"{race_promise(analysis.race)}\n", _table(*race_words(analysis.race))]
    return "\n".join(parts)


def latex(analysis: StudyAnalysis) -> str:
    """Return two tables in the style of LaTeX's package booktabs: models by settings, and how far settings agree."""
    shown = analysis.settings[:_MOST_COLUMNS]
    lines = ["% \\usepackage{booktabs}", f"% {analysis.study}"]
    if not shown:
        return "\n".join([*lines, *(f"% {note}" for note in analysis.notes)]) + "\n"
    if len(shown) < len(analysis.settings):
        lines.append(f"% the first {len(shown)} of {len(analysis.settings)} settings; ranking.json has all")
    percent = f"{100 * analysis.confidence:g}"
    lines.append(
        f"% scores in percent, mean +- deviation over seeds; in brackets the ranks possible with {percent} % confidence"
    )
    names = list(dict.fromkeys(score.model for one in shown for score in one.models))
    of = [{score.model: score for score in one.models} for one in shown]
    rows = [[_tex(name), *(_tex_cell(scores.get(name)) for scores in of)] for name in names]
    lines.append(_tabular([_tex(analysis.ranked), *(_tex(one.name) for one in shown)], rows))
    if analysis.agreements:
        header = ["setting", "models", r"$\tau_b$", "other runs", "other models", r"$\tau_w$"]
        rows = [[_tex(cell) for cell in row] for row in _agreement_rows(analysis)]
        lines.append(_tabular(header, rows))
    return "\n".join(lines) + "\n"


def _ranking_rows(setting: SettingRanking) -> list[list[str]]:
    return [
        [str(one.rank), rank_words(one), one.model, score_words(one), str(one.seeds)]
        for one in setting.models
    ]


def _agreement_rows(analysis: StudyAnalysis) -> list[list[str]]:
    return [
        [
            one.setting,
            str(one.kendall.models),
            _two(one.kendall.value),
            _interval(one.other_runs),
            _interval(one.kendall.other_models),
            _two(one.weighted.value),
        ]
        for one in analysis.agreements
    ]


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(found: Interval | None) -> str:
    return "–" if found is None else f"{found.lower:.2f} to {found.upper:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, [":---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _tabular(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [" & ".join(row) + r" \\" for row in rows]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            " & ".join(header) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _tex_cell(score: ModelScore | None) -> str:
    if score is None:
        return "--"
    words = score_words(score).replace("±", r"$\pm$")
    return words if score.best_rank is None else f"{words} [{rank_words(score).replace('–', '--')}]"


def _tex(text: str) -> str:
    return text.translate(_ESCAPES).replace("–", "--")
