"""Turns the columns of ``metrics.csv`` into charts: the ones that every run is read by, and all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vfmseg.report.charts import Series, line_chart
from vfmseg.report.measures import Measure
from vfmseg.report.numbers import compact, percent
from vfmseg.report.run_folder import History

_MOST_LINES = 5
"""Lines in one chart that can still be told apart; further ones get a chart of their own."""
_LOSSES = ("train/loss", "val/loss")
_MASKS = "mask_probability/"
_SPEED = ("images_per_s", "data_wait_share", "memory_gib")


@dataclass(frozen=True)
class Chart:
    """A drawn chart."""

    title: str
    now: str
    """The latest value of its first line, or of all its lines, in words."""
    svg: Markup


def main_charts(history: History, measure: Measure, baseline: float | None) -> list[Chart]:
    """Return the charts that every run is read by, of what was logged.

    Loss, scores, attention masks, learning rate, speed, waiting for data and memory.

    Args:
        history: What was logged.
        measure: What the run is judged by.
        baseline: Score of predicting the most frequent class, 0..1, or None where there is no such thing.
    """
    columns = list(history.columns)
    losses = [name for name in columns if name.startswith(_LOSSES)]
    rates = [name for name in columns if name.startswith("lr/")]
    masks = [name for name in columns if name.startswith(_MASKS)]
    scored = _scored(history, measure)
    return [
        *_charts(history, "Loss", losses, smooth=True),
        *_charts(history, measure.heading, scored, is_share=True, baseline=baseline, best=0),
        *(
            chart
            for title, keys in measure.charts
            for chart in _charts(history, title, [f"val/{key}" for key in keys], is_share=True, tell_all=True)
        ),
        *_charts(history, "Probability of attention masks", masks, is_share=True, tell_all=True),
        *_charts(history, "Learning rate", rates),
        *_charts(history, "Images per second", ["images_per_s"], smooth=True),
        *_charts(history, "Waiting for data", ["data_wait_share"], is_share=True, smooth=True),
        *_charts(history, "Peak memory (GiB)", ["memory_gib"]),
    ]


def other_charts(history: History, measure: Measure) -> list[Chart]:
    """Return a chart of every other column, so that nothing measured is hidden; classes have their table.

    What was predicted with the attention masks that training still had stands beside what was predicted without.
    """
    shown = (*_LOSSES, "lr/", _MASKS, *_SPEED)
    main = {*_scored(history, measure), *(f"val/{key}" for _, keys in measure.charts for key in keys)}
    rest = [
        name
        for name in history.columns
        if not name.startswith(shown) and name not in main and f"/{measure.class_key}/" not in name
    ]
    found: list[Chart] = []
    for name in rest:
        masked, plain = name.replace("val/", "val_masked/", 1), name.replace("val_masked/", "val/", 1)
        if name != plain and plain in rest:
            continue
        values = [value for _, value in history.columns[name]]
        is_score = plain.startswith("val/") and plain != "val/seconds"
        is_share = is_score and 0 <= min(values) <= max(values) <= 1
        together = [name, masked] if masked != name and masked in rest else [name]
        found += _charts(history, name, together, is_share=is_share, smooth=True)
    return found


def _scored(history: History, measure: Measure) -> list[str]:
    """Return the columns of the headline number, the last validation's own first, and what is drawn beside it."""
    of_class = f"/{measure.class_key}/"
    scored = [name for name in history.columns if name.endswith(f"/{measure.key}") and of_class not in name]
    beside = [f"val/{key}" for key in measure.beside if f"val/{key}" in history.columns]
    return [*scored, *beside] if scored else []


def _charts(
    history: History,
    title: str,
    columns: Sequence[str],
    *,
    is_share: bool = False,
    smooth: bool = False,
    baseline: float | None = None,
    best: int | None = None,
    tell_all: bool = False,
) -> Iterator[Chart]:
    series = [Series(_line_name(name), history.columns[name]) for name in columns if name in history.columns]
    write = percent if is_share else compact
    for start in range(0, len(series), _MOST_LINES):
        few = series[start : start + _MOST_LINES]
        name = title if start == 0 else f"{title} ({start // _MOST_LINES + 1})"
        drawn = line_chart(
            name,
            few,
            is_share=is_share,
            smooth=smooth,
            baseline=None if baseline is None else ("majority class", baseline),
            best=best,
        )
        told = [one.points[-1][1] for one in (few if tell_all else few[:1])]
        now = f"{' / '.join(map(write, told))} at step {few[0].points[-1][0]:,.0f}"
        yield Chart(name, now, drawn)


def _line_name(column: str) -> str:
    block = column.removeprefix(_MASKS)
    return column if block == column else f"block {block}"
