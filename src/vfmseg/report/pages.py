"""Turns a run folder into one page that tells the whole run, and needs no other file to be read.

The page is plain HTML with inline SVG and embedded pictures: no script, nothing loaded from anywhere, so it
can be mailed, printed and kept. Beside it lie the same tables as CSV and Markdown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vfmseg.report import curves, numbers, tables
from vfmseg.report.bars import written
from vfmseg.report.charts import bar, heat_map
from vfmseg.report.comparison import Scored, gather
from vfmseg.report.elsewhere import elsewhere, ends_of, markdown_comparison, markdown_corruptions
from vfmseg.report.evaluation import evaluate
from vfmseg.report.evaluations import EvaluationRecord
from vfmseg.report.facts import Fact, facts, headline, status, title
from vfmseg.report.files import write_whole
from vfmseg.report.findings import find
from vfmseg.report.pictures import MOST_STEPS, album
from vfmseg.report.run_folder import RunRecord, read_run

_LARGE = 40
"""Classes from which the matrix is hard to read, so that more of the commonest mistakes are listed."""


def write_run_report(
    run_dir: str | Path, evaluations: Sequence[EvaluationRecord] = (), *, out: Path | None = None
) -> Path:
    """Write ``report.html``, ``report.md``, ``classes.csv`` and ``confusion.csv`` into a run folder.

    What the run has not written yet is said on the page instead; the two CSV files need a validation, the second
    one of the semantic task.

    Args:
        run_dir: What ``vfmseg fit`` wrote; only its ``recipe.yaml`` must be there.
        evaluations: Of its checkpoints, shown on the page.
        out: Where the page goes instead, with its Markdown beside it.

    Returns:
        Path of the page.

    Raises:
        CheckpointError: The folder is no run, or one of its files cannot be read.
        LabelError: Two classes of its validation have one name, or it counted nothing.
        ResourceError: The folder cannot be written.
    """
    run = read_run(run_dir)
    result, heat, mistakes = None, None, []
    if run.validation is not None:
        result = evaluate(run.validation)
        tables.write_classes_csv(run.folder / "classes.csv", result.table)
        if result.confusion is not None:
            names = run.validation.class_names
            most = 20 if len(names) > _LARGE else 10
            mistakes = tables.top_confusions(result.confusion, names, most)
            heat = _heat_map(result.confusion, names)
            tables.write_confusion_csv(run.folder / "confusion.csv", result.confusion, names)
    top, pictures, measure = headline(run, result), album(run), run.measure
    baseline = top.baseline if top is not None else None
    context: dict[str, Any] = {
        "run": run,
        "title": title(run),
        "data": run.setting("data.name"),
        "status": status(run),
        "measure": measure,
        "top": top,
        "facts": facts(run),
        "findings": [*pictures.unreadable, *find(run, result, baseline)],
        "charts": curves.main_charts(run.history, measure, baseline) if run.history else [],
        "more_charts": curves.other_charts(run.history, measure) if run.history else [],
        "evaluation": result,
        "heat_map": heat,
        "mistakes": mistakes,
        "pictures": pictures,
        "spread": _spread_over_images(run),
        "num_overlay_steps": max(map(len, run.overlays.values()), default=0),
        "most_steps": MOST_STEPS,
        "elsewhere": elsewhere(gather(evaluations)) if evaluations else None,
        "written_on": time.strftime("%Y-%m-%d %H:%M"),
    }
    if context["elsewhere"]:
        context["findings"] = [*context["findings"], *context["elsewhere"].findings]
    return write_page("run", context, out or run.folder / "report.html")


def write_comparison(scored: Sequence[Scored], page: Path) -> Path:
    """Write a page of models that were scored on targets or under corruptions, and its tables as Markdown.

    Args:
        scored: At least one, as :func:`vfmseg.report.comparison.gather` returns them.
        page: Where it goes; the Markdown file beside it ends in ``.md``.

    Raises:
        LabelError: Two classes of a validation have one name, or it counted nothing.
        ResourceError: The folder cannot be written.
    """
    found = elsewhere(scored)
    methods = found.comparison.methods
    names = ", ".join(method.name for method in methods[:4])
    model = methods[0].model
    one = f"{model.encoder} × {model.tuning} × {model.decoder}"
    context = {
        "title": one if len(methods) == 1 else f"{names}{' and more' if len(methods) > 4 else ''}",
        "task": model.task,
        "measure": found.measure,
        "elsewhere": found,
        "findings": found.findings,
        "markdown_name": page.with_suffix(".md").name,
        "written_on": time.strftime("%Y-%m-%d %H:%M"),
    }
    return write_page("comparison", context, page)


def write_page(template: str, context: dict[str, Any], page: Path) -> Path:
    """Fill the templates ``TEMPLATE.html.j2`` and, where there is one, ``TEMPLATE.md.j2``; the latter's file ends in .md.

    Raises:
        ResourceError: The folder cannot be written.
    """
    environment = _environment()
    if f"{template}.md.j2" in environment.list_templates():
        write_whole(page.with_suffix(".md"), environment.get_template(f"{template}.md.j2").render(context))
    write_whole(page, environment.get_template(f"{template}.html.j2").render(context))
    return page


def _heat_map(confusion: NDArray[np.int64], names: Sequence[str]) -> Markup:
    right = float(confusion.trace() / confusion.sum())
    said = f"{len(names)} classes; pixel accuracy {numbers.percent(right)}."
    for one in tables.top_confusions(confusion, names, 3):
        said += f" {numbers.percent(one.share_of_truth)} of {one.truth} was predicted as {one.predicted}."
    return heat_map(confusion, names, said=said)


def _spread_over_images(run: RunRecord) -> str:
    if run.validation is None or len(run.validation.images) < 10:
        return ""
    found = [image.score for image in run.validation.images]
    tenth, middle = found[len(found) // 10], found[len(found) // 2]
    if not middle:
        return f"Of {len(found):,} images, {found.count(0):,} score 0."
    low = f"one in ten below {numbers.percent(tenth, 1)}" if tenth else f"{found.count(0):,} score 0"
    return f"Of {len(found):,} images, half score above {numbers.percent(middle, 1)} and {low}."


def _environment() -> jinja2.Environment:
    def is_html(template: str | None) -> bool:
        return template is not None and ".html" in template

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vfmseg.report"),
        autoescape=is_html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": numbers.percent, "points": numbers.points, "with_code": _with_code}
    environment.globals |= {
        "bar": bar,
        "markdown_facts": _markdown_facts,
        "markdown_classes": tables.markdown_classes,
        "markdown_comparison": markdown_comparison,
        "markdown_corruptions": markdown_corruptions,
        "ends_of": ends_of,
        "written": written,
        "millions": numbers.millions,
        "size_of_file": numbers.size_of_file,
    }
    return environment


def _with_code(text: str) -> Markup:
    """Return the text with what stands in backticks marked up as code."""
    patterns = (Markup("{}"), Markup("<code>{}</code>"))
    return Markup().join(patterns[place % 2].format(piece) for place, piece in enumerate(text.split("`")))


def _markdown_facts(rows: Sequence[Fact]) -> str:
    cells = [[fact.name, f"{fact.value} ({fact.note})" if fact.note else fact.value] for fact in rows]
    return tables.markdown_table(["fact", "value"], cells, numeric=False)
