"""Turns a run folder into one page that tells the whole run, and needs no other file to be read.

The page is plain HTML with inline SVG and embedded pictures: no script, nothing loaded from anywhere, so it
can be mailed, printed and kept. Beside it lie the same tables as CSV and Markdown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from vfmseg.metrics.scores import SegmentationScores, scores
from vfmseg.report import curves, numbers, tables
from vfmseg.report.charts import bar, heat_map
from vfmseg.report.facts import Fact, facts, headline, status, title
from vfmseg.report.findings import find
from vfmseg.report.pictures import MOST_STEPS, album
from vfmseg.report.run_folder import RunRecord, read_run

_LARGE = 40
"""Classes from which the matrix is hard to read, so that more of the commonest mistakes are listed."""


def write_run_report(run_dir: str | Path) -> Path:
    """Write ``report.html``, ``report.md``, ``classes.csv`` and ``confusion.csv`` into a run folder.

    What the run has not written yet is said on the page instead; the two CSV files need a validation.

    Args:
        run_dir: What ``vfmseg fit`` wrote; only its ``recipe.yaml`` must be there.

    Returns:
        Path of the page.

    Raises:
        CheckpointError: The folder is no run, or one of its files cannot be read.
        LabelError: Two classes of its validation have one name, or it counted no pixel.
    """
    run = read_run(run_dir)
    result, rows, mistakes = None, [], []
    if run.validation is not None:
        result = scores(run.validation.confusion, run.validation.class_names)
        rows = tables.class_rows(result, run.validation.colours)
        mistakes = tables.top_confusions(result.confusion, result.names, 20 if len(rows) > _LARGE else 10)
        tables.write_classes_csv(run.folder / "classes.csv", rows)
        tables.write_confusion_csv(run.folder / "confusion.csv", result.confusion, result.names)
    top, pictures = headline(run, result), album(run)
    baseline = top.baseline if top is not None else None
    context = {
        "run": run,
        "title": title(run),
        "data": run.setting("data.name"),
        "task": run.setting("task"),
        "status": status(run),
        "top": top,
        "facts": facts(run),
        "findings": [*pictures.unreadable, *find(run, result, baseline)],
        "charts": curves.main_charts(run.history, baseline) if run.history else [],
        "more_charts": curves.other_charts(run.history) if run.history else [],
        "scores": result,
        "rows": rows,
        "heat_map": _heat_map(result) if result is not None else None,
        "mistakes": mistakes,
        "pictures": pictures,
        "spread": _spread_over_images(run),
        "num_overlay_steps": max(map(len, run.overlays.values()), default=0),
        "most_steps": MOST_STEPS,
        "written": time.strftime("%Y-%m-%d %H:%M"),
    }
    environment = _environment()
    page = run.folder / "report.html"
    page.write_text(environment.get_template("run.html.j2").render(context), encoding="utf-8")
    markdown = environment.get_template("run.md.j2").render(context)
    (run.folder / "report.md").write_text(markdown, encoding="utf-8")
    return page


def _heat_map(result: SegmentationScores) -> Markup:
    said = f"{len(result.names)} classes; pixel accuracy {numbers.percent(result.pixel_accuracy)}."
    for one in tables.top_confusions(result.confusion, result.names, 3):
        said += f" {numbers.percent(one.share_of_truth)} of {one.truth} was predicted as {one.predicted}."
    return heat_map(result.confusion, result.names, said=said)


def _spread_over_images(run: RunRecord) -> str:
    if run.validation is None or len(run.validation.images) < 10:
        return ""
    mious = [image.miou for image in run.validation.images]
    tenth, middle = mious[len(mious) // 10], mious[len(mious) // 2]
    return (
        f"Of {len(mious):,} images, half score above {numbers.percent(middle, 1)} and one in ten "
        f"below {numbers.percent(tenth, 1)}."
    )


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
    }
    return environment


def _with_code(text: str) -> Markup:
    """Return the text with what stands in backticks marked up as code."""
    patterns = (Markup("{}"), Markup("<code>{}</code>"))
    return Markup().join(patterns[place % 2].format(piece) for place, piece in enumerate(text.split("`")))


def _markdown_facts(rows: Sequence[Fact]) -> str:
    cells = [[fact.name, f"{fact.value} ({fact.note})" if fact.note else fact.value] for fact in rows]
    return tables.markdown_table(["fact", "value"], cells, numeric=False)
