"""Turns a run folder into one page that tells the whole run, and needs no other file to be read.

The page is plain HTML with inline SVG and embedded pictures: no script, nothing loaded from anywhere, so it
can be mailed, printed and kept. Beside it lie the same tables as CSV and Markdown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vfmseg.errors import ImageError
from vfmseg.metrics.scores import SegmentationScores, majority_baseline, scores
from vfmseg.report import charts, findings, numbers, tables
from vfmseg.report.pictures import Picture, embed, spread
from vfmseg.report.run_folder import Finding, History, ImageRecord, RunRecord, read_run

_MOST_EXTREMES = 6
_MOST_STEPS = 6
_MOST_LINES = 5
"""Lines in one chart that can still be told apart."""
_VERSIONS = ("vfmseg", "torch", "timm", "transformers", "lightning", "python")


@dataclass(frozen=True)
class Fact:
    """One entry of the key facts."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """The number a run is judged by."""

    miou: float
    step: int | None
    best: float | None
    best_step: int | None
    baseline: float | None
    """mIoU of predicting the most frequent class everywhere."""
    majority_class: str


@dataclass(frozen=True)
class Chart:
    """A drawn chart with its title and its latest value in words."""

    title: str
    now: str
    svg: Markup


@dataclass(frozen=True)
class Example:
    """A drawn validation image."""

    caption: str
    score: str
    alt: str
    picture: Picture


def write_run_report(run_dir: str | Path) -> Path:
    """Write ``report.html``, ``report.md``, ``classes.csv`` and ``confusion.csv`` into a run folder.

    What the run has not written yet is said on the page instead; the two CSV files need a validation.

    Args:
        run_dir: What ``vfmseg fit`` wrote; only its ``recipe.yaml`` must be there.

    Returns:
        Path of the page.

    Raises:
        CheckpointError: The folder is no run, or one of its files cannot be read.
    """
    run = read_run(run_dir)
    result = None
    if run.validation is not None:
        result = scores(run.validation.confusion, run.validation.class_names)
        rows = tables.class_rows(result, run.validation.colours)
        tables.write_classes_csv(run.folder / "classes.csv", rows)
        tables.write_confusion_csv(run.folder / "confusion.csv", result.confusion, result.names)
    else:
        rows = []
    top = _headline(run, result)
    unreadable: list[Finding] = []
    context = {
        "title": title(run),
        "data": run.setting("data.name") or run.found("data"),
        "task": run.setting("task"),
        "run": run,
        "status": _status(run),
        "top": top,
        "scores": result,
        "rows": rows,
        "facts": facts(run),
        "charts": list(_main_charts(run.history, top)) if run.history else [],
        "more_charts": list(_other_charts(run.history)) if run.history else [],
        "heat_map": _heat_map(result),
        "confusions": tables.top_confusions(result.confusion, result.names, 10 if len(rows) <= 40 else 20)
        if result
        else [],
        "worst": _examples(run, worst=True, unreadable=unreadable),
        "best": _examples(run, worst=False, unreadable=unreadable),
        "spread": _spread_over_images(run),
        "overlays": _overlays(run, unreadable),
        "num_overlay_steps": max((len(pictures) for pictures in run.overlays.values()), default=0),
        "most_steps": _MOST_STEPS,
        "written": time.strftime("%Y-%m-%d %H:%M"),
    }
    context["findings"] = [
        *unreadable,
        *findings.find(run, result, top.baseline if top is not None else None),
    ]
    page = run.folder / "report.html"
    page.write_text(_environment().get_template("run.html.j2").render(context), encoding="utf-8")
    markdown = (
        _environment().get_template("run.md.j2").render(context, table=_markdown_facts(context["facts"]))
    )
    (run.folder / "report.md").write_text(markdown, encoding="utf-8")
    return page


def title(run: RunRecord) -> str:
    """Return what was trained: ``"dinov2-b × full × linear"``."""
    parts = (("encoder.name", "encoder"), ("tuning.method", "tuning"), ("decoder.name", "decoder"))
    words = [run.setting(dotted) or run.found(key) for dotted, key in parts]
    return " × ".join(str(word) for word in words if word) or run.folder.name


def facts(run: RunRecord) -> list[Fact]:
    """Return what must be known to judge a run and to repeat it; what was not recorded is left out."""
    found = [*_facts_of_recipe(run), *_facts_of_result(run), *_facts_of_machine(run)]
    return [fact for fact in found if fact.value]


def _facts_of_recipe(run: RunRecord) -> Iterator[Fact]:
    size, patch = (
        run.setting("encoder.image_size"),
        run.setting("encoder.patch_size") or run.found("patch_size"),
    )
    parts = [f"image {_size(size)}" if size else "", f"patch {patch}" if patch else ""]
    weights = run.setting("encoder.weights")
    parts.append("" if weights in (None, "pretrained") else f"weights {weights}")
    yield Fact("Encoder", _said(run.setting("encoder.name")), ", ".join(filter(None, parts)))
    yield Fact("Tuning", _said(run.setting("tuning.method")))
    yield Fact("Decoder", _said(run.setting("decoder.name")))
    path = run.setting("data.path")
    yield Fact("Data", _said(run.setting("data.name")), Path(str(path)).name if path else "")
    batch = run.setting("training.effective_batch_size") or run.setting("training.batch_size")
    yield Fact("Images a step", _said(batch or run.setting("data.batch_size")))
    rate = run.setting("training.learning_rate")
    yield Fact("Learning rate", numbers.compact(float(rate)) if rate else "")


def _facts_of_result(run: RunRecord) -> Iterator[Fact]:
    history = run.history
    planned, done = run.setting("training.steps"), run.found("steps")
    if done is None and history is not None:
        done = history.last_step
    if done is not None:
        of = f" of {planned:,}" if planned and planned != done else ""
        best = run.found("best_step")
        yield Fact("Steps", f"{done:,}{of}", "" if best is None else f"best at {best:,}")
    seconds = run.found("seconds")
    if seconds is None and history is not None:
        seconds = history.last_time_s
    yield Fact("Time", "" if seconds is None else numbers.duration(seconds))
    rate = run.found("images_per_s")
    if rate is None and history is not None:
        rate = history.last("images_per_s")
    yield Fact("Training speed", "" if rate is None else f"{numbers.compact(rate)} images/s")
    memory = run.found("peak_memory_gib")
    if memory is None and history is not None:
        memory = history.last("memory_gib")
    yield Fact("Peak memory", "" if memory is None else f"{memory:.3g}\u00a0GiB")
    trainable, total = run.found("parameters_trainable"), run.found("parameters_total")
    if trainable is not None and total:
        share = f"{numbers.percent(trainable / total)} of {numbers.millions(total)}"
        yield Fact("Trainable parameters", numbers.millions(trainable), share)
    yield Fact("Precision", _said(run.found("precision") or run.setting("training.precision")))
    seed = run.setting("seed")
    yield Fact("Seed", "" if seed is None else str(seed))


def _facts_of_machine(run: RunRecord) -> Iterator[Fact]:
    machine = run.environment or {}
    count = run.found("num_devices")
    yield Fact("Device", _said(machine.get("device")), f"× {count}" if count and count > 1 else "")
    commit = machine.get("commit")
    yield Fact("Commit", str(commit)[:10] if commit else "")
    yield Fact("Started", _said(machine.get("started")).replace("T", " ")[:16])
    versions = [f"{name} {machine[name]}" for name in _VERSIONS if machine.get(name)]
    yield Fact("Versions", ", ".join(versions))


def _status(run: RunRecord) -> str:
    if run.result is not None:
        return "finished"
    done = run.history.last_step if run.history else 0
    planned = run.setting("training.steps")
    return f"unfinished: step {done:,}" + (f" of {planned:,}" if planned else "")


def _headline(run: RunRecord, result: SegmentationScores | None) -> Headline | None:
    curve = run.history.columns.get("val/miou", ()) if run.history else ()
    miou, step = run.found("val/miou"), run.found("steps")
    if miou is None and curve:
        step, miou = int(curve[-1][0]), curve[-1][1]
    if miou is None and result is not None and run.validation is not None:
        miou, step = result.miou, run.validation.step
    if miou is None:
        return None
    best, best_step = run.found("best/miou"), run.found("best_step")
    if best is None and curve:
        highest = max(curve, key=lambda point: point[1])
        best_step, best = int(highest[0]), highest[1]
    baseline = run.found("baseline/majority_miou")
    majority = ""
    if result is not None:
        majority = result.names[int(result.confusion.sum(1).argmax())]
        baseline = majority_baseline(result.confusion) if baseline is None else baseline
    return Headline(miou, step, best, best_step, baseline, majority)


def _main_charts(history: History, top: Headline | None) -> Iterator[Chart]:
    baseline = ("majority class", top.baseline) if top is not None and top.baseline is not None else None
    losses = [name for name in history.columns if name.startswith(("train/loss", "val/loss"))]
    yield from _chart(history, "Loss", losses, smooth=True)
    mious = [name for name in history.columns if name.endswith("/miou")]
    accuracy = [name for name in ("val/pixel_accuracy",) if name in history.columns]
    names = [*mious, *accuracy]
    yield from _chart(history, "mIoU", names, is_share=True, baseline=baseline, best=0)
    yield from _chart(history, "Learning rate", [name for name in history.columns if name.startswith("lr/")])
    yield from _chart(history, "Images per second", ["images_per_s"], smooth=True)
    yield from _chart(history, "Waiting for data", ["data_wait_share"], is_share=True, smooth=True)
    yield from _chart(history, "Peak memory (GiB)", ["memory_gib"])


def _other_charts(history: History) -> Iterator[Chart]:
    """Draw whatever else was logged, so that nothing that was measured is hidden; classes have their table."""
    shown = (
        "train/loss",
        "val/loss",
        "lr/",
        "images_per_s",
        "data_wait_share",
        "memory_gib",
        "val/pixel_accuracy",
    )
    for name in history.columns:
        if not name.startswith(shown) and not name.endswith("/miou") and "/iou/" not in name:
            values = [value for _, value in history.columns[name]]
            scored = (
                name.startswith("val/") and name != "val/seconds" and 0 <= min(values) <= max(values) <= 1
            )
            yield from _chart(history, name, [name], is_share=scored, smooth=True)


def _chart(
    history: History,
    name: str,
    columns: Sequence[str],
    *,
    is_share: bool = False,
    smooth: bool = False,
    baseline: tuple[str, float] | None = None,
    best: int | None = None,
) -> Iterator[Chart]:
    series = [
        charts.Series(column, history.columns[column]) for column in columns if column in history.columns
    ]
    for start in range(0, len(series), _MOST_LINES):
        few = series[start : start + _MOST_LINES]
        step, last = few[0].points[-1]
        write = numbers.percent if is_share else numbers.compact
        svg = charts.line_chart(
            name if start == 0 else f"{name} ({start // _MOST_LINES + 1})",
            few,
            is_share=is_share,
            baseline=baseline,
            best=best,
            smooth=smooth,
        )
        yield Chart(name, f"{write(last)} at step {step:,.0f}", svg)


def _heat_map(result: SegmentationScores | None) -> Markup | None:
    if result is None:
        return None
    worst = tables.top_confusions(result.confusion, result.names, 3)
    said = f"{len(result.names)} by {len(result.names)} classes; pixel accuracy {numbers.percent(result.pixel_accuracy)}."
    for one in worst:
        said += f" {numbers.percent(one.share_of_truth)} of {one.truth} was predicted as {one.predicted}."
    return charts.heat_map(result.confusion, result.names, said=said)


def _examples(run: RunRecord, *, worst: bool, unreadable: list[Finding]) -> list[Example]:
    """Return the drawn images of the lower (or upper) half of all scored ones, the most extreme first."""
    if run.validation is None:
        return []
    images = run.validation.images
    half = (len(images) + 1) // 2
    chosen = images[:half] if worst else images[half:][::-1]
    drawn = [one for one in chosen if one.picture and (run.folder / one.picture).is_file()]
    examples = [_example(run, one, unreadable) for one in drawn[:_MOST_EXTREMES]]
    return [example for example in examples if example is not None]


def _example(run: RunRecord, image: ImageRecord, unreadable: list[Finding]) -> Example | None:
    assert image.picture is not None
    picture = _embedded(run.folder / image.picture, 1200, unreadable)
    if picture is None:
        return None
    return Example(
        caption=image.name,
        score=f"mIoU {numbers.percent(image.miou, 1)}, {numbers.percent(image.pixel_accuracy, 1)} of pixels right",
        alt=f"{image.name}: image, ground truth and prediction side by side; mIoU {numbers.percent(image.miou, 1)}",
        picture=picture,
    )


def _overlays(run: RunRecord, unreadable: list[Finding]) -> list[list[Example]]:
    groups = []
    for pictures in run.overlays.values():
        group = []
        for step, path in spread(pictures, _MOST_STEPS):
            picture = _embedded(path, 960, unreadable)
            if picture is not None:
                alt = f"Validation image {path.stem} at step {step:,}: image, ground truth and prediction side by side"
                group.append(Example(f"step {step:,}", "", alt, picture))
        groups.append(group)
    return groups


def _embedded(path: Path, most_wide: int, unreadable: list[Finding]) -> Picture | None:
    try:
        return embed(path, most_wide)
    except ImageError as error:
        unreadable.append(Finding("warning", str(error)))
        return None


def _spread_over_images(run: RunRecord) -> str:
    if run.validation is None or len(run.validation.images) < 10:
        return ""
    mious = [image.miou for image in run.validation.images]
    tenth, middle = mious[len(mious) // 10], mious[len(mious) // 2]
    return (
        f"Of {len(mious):,} images, half score above {numbers.percent(middle, 1)} and one in ten "
        f"below {numbers.percent(tenth, 1)}."
    )


def _markdown_facts(rows: Sequence[Fact]) -> str:
    cells = [[fact.name, f"{fact.value} ({fact.note})" if fact.note else fact.value] for fact in rows]
    return tables.markdown_table(["fact", "value"], cells)


def _environment() -> jinja2.Environment:
    def escaped(template: str | None) -> bool:
        return template is not None and ".html" in template

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vfmseg.report"),
        autoescape=escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = numbers.percent
    environment.filters["points"] = numbers.points
    environment.filters["with_code"] = _with_code
    environment.globals["bar"] = charts.bar
    environment.globals["markdown_classes"] = tables.markdown_classes
    return environment


def _with_code(text: str) -> Markup:
    """Return the text with what stands in backticks marked up as code."""
    pieces = [
        Markup("<code>{}</code>" if place % 2 else "{}").format(piece)
        for place, piece in enumerate(text.split("`"))
    ]
    return Markup().join(pieces)


def _said(value: Any) -> str:
    return "" if value is None else str(value)


def _size(size: Any) -> str:
    return " × ".join(map(str, size)) if isinstance(size, (list, tuple)) else f"{size}"
