"""Turns the columns of ``metrics.csv`` into charts: the ones that every run is read by, and all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vfmseg.report.charts import Series, line_chart
from vfmseg.report.numbers import compact, percent
from vfmseg.report.run_folder import History

_MOST_LINES = 5
"""Lines in one chart that can still be told apart; further ones get a chart of their own."""
_LOSSES = ("train/loss", "val/loss")


@dataclass(frozen=True)
class Chart:
    """A drawn chart."""

    title: str
    now: str
    """The latest value of its first line, in words."""
    svg: Markup


def main_charts(history: History, baseline: float | None) -> list[Chart]:
    """Return the charts of loss, mIoU, learning rate, speed, waiting for data and memory that were logged.

    Args:
        history: What was logged.
        baseline: mIoU of predicting the most frequent class, 0..1.
    """
    columns = list(history.columns)
    losses = [name for name in columns if name.startswith(_LOSSES)]
    rates = [name for name in columns if name.startswith("lr/")]
    return [
        *_charts(history, "Loss", losses, smooth=True),
        *_charts(history, "mIoU", _scored(history), is_share=True, baseline=baseline, best=0),
        *_charts(history, "Learning rate", rates),
        *_charts(history, "Images per second", ["images_per_s"], smooth=True),
        *_charts(history, "Waiting for data", ["data_wait_share"], is_share=True, smooth=True),
        *_charts(history, "Peak memory (GiB)", ["memory_gib"]),
    ]


def other_charts(history: History) -> list[Chart]:
    """Return a chart of every other column, so that nothing measured is hidden; classes have their table."""
    shown = (*_LOSSES, "lr/", "images_per_s", "data_wait_share", "memory_gib")
    mious = _scored(history)
    found: list[Chart] = []
    for name, points in history.columns.items():
        if not name.startswith(shown) and name not in mious and "/iou/" not in name:
            values = [value for _, value in points]
            is_share = (
                name.startswith("val/") and name != "val/seconds" and 0 <= min(values) <= max(values) <= 1
            )
            found += _charts(history, name, [name], is_share=is_share, smooth=True)
    return found


def _scored(history: History) -> list[str]:
    mious = [name for name in history.columns if name.endswith("/miou")]
    return [*mious, "val/pixel_accuracy"] if mious and "val/pixel_accuracy" in history.columns else mious


def _charts(
    history: History,
    title: str,
    columns: Sequence[str],
    *,
    is_share: bool = False,
    smooth: bool = False,
    baseline: float | None = None,
    best: int | None = None,
) -> Iterator[Chart]:
    series = [Series(name, history.columns[name]) for name in columns if name in history.columns]
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
        step, last = few[0].points[-1]
        yield Chart(name, f"{write(last)} at step {step:,.0f}", drawn)
