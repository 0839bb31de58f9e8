"""Turns numbers into inline SVG: line charts, heat maps of confusion matrices, bars for table cells.

Colours, fonts and dark mode come from the page's style sheet; a chart carries its own title and a
description in words, so that it also says something to who cannot see it.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from vfmseg.report import svg
from vfmseg.report.numbers import compact, percent

Point = tuple[float, float]
_Scale = Callable[[float], float]

WIDTH, HEIGHT = 360, 200
"""Size of a line chart in its own units; shown at about this many pixels, so that its text stays readable."""
_LEFT, _RIGHT, _BOTTOM = 46, 14, 22
_LEGEND_LINE = 16
_MOST_POINTS = 300
_MOST_DOTS = 40
_LONG = 40
"""Points from which a series is noisy enough to be smoothed."""
_NUMBERED_CELLS, _DRAWN_CELLS = 20, 40
"""Up to so many classes a heat map prints its percentages, and draws its cells one by one."""
_RIGHT_RGB, _WRONG_RGB = (47, 111, 237), (207, 90, 16)
"""Blue on the diagonal, orange off it: told apart also with red-green colour blindness."""


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: tuple[Point, ...]
    """(step, value) pairs, finite, by step."""


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    is_share: bool = False,
    baseline: tuple[str, float] | None = None,
    best: int | None = None,
    smooth: bool = False,
) -> Markup:
    """Return an SVG of values over optimiser steps; both axes begin at zero, or below where values are.

    Args:
        title: What is shown; also the chart's accessible name, unique on the page.
        series: At least one, each with at least one point.
        is_share: Values are in 0..1 and are written as percentages.
        baseline: Name and value of a dashed horizontal line.
        best: Index of the series whose highest point is marked.
        smooth: Draw long series faintly, with their moving average over 5 % of the points on top.
    """
    write = percent if is_share else compact
    values = [value for one in series for _, value in one.points] + ([baseline[1]] if baseline else [])
    ticks = nice_ticks(min(0.0, *values), max(0.0, *values))
    low, high = ticks[0], ticks[-1]
    last = max(1.0, *(step for one in series for step, _ in one.points))
    legend, legend_height = _legend([one.name for one in series] if len(series) > 1 else [])
    top, floor, right = 14 + legend_height, HEIGHT - _BOTTOM, WIDTH - _RIGHT

    def x(step: float) -> float:
        return _LEFT + (right - _LEFT) * step / last

    def y(value: float) -> float:
        return floor - (floor - top) * (value - low) / (high - low)

    parts = [Markup()]
    for tick in ticks:
        parts.append(svg.line("grid", _LEFT, y(tick), right, y(tick)))
        parts.append(svg.text("tick", write(tick), _LEFT - 6, y(tick) + 4, "end"))
    for tick in (t for t in nice_ticks(0, last) if t <= last):
        parts.append(svg.line("grid", x(tick), floor, x(tick), floor + 4))
        parts.append(svg.text("tick", compact(tick), x(tick), floor + 16, "middle"))
    parts.append(svg.text("tick", "step", _LEFT - 14, floor + 16, "end"))
    if baseline:
        parts.append(svg.line("baseline", _LEFT, y(baseline[1]), right, y(baseline[1])))
        words = f"{baseline[0]} {write(baseline[1])}"
        parts.append(svg.text("baseline-name", words, right, y(baseline[1]) - 5, "end"))
    for place, one in enumerate(series):
        smoothed = smooth and len(one.points) >= _LONG
        parts.append(_curve(one.points, x, y, f"line s{place}{' faint' if smoothed else ''}"))
        if smoothed:
            average = moving_average(one.points, len(one.points) // 20)
            parts.append(_curve(average, x, y, f"line s{place}"))
        if len(one.points) <= _MOST_DOTS:
            for step, value in one.points:
                tip = f"{one.name}: {write(value)} at step {step:,.0f}"
                parts.append(svg.circle(f"dot s{place}", x(step), y(value), 2.5, tip))
    if best is not None:
        step, value = max(series[best].points, key=lambda point: (point[1], -point[0]))
        words = f"best {write(value)}"
        anchor = "end" if x(step) > WIDTH * 0.7 else "start" if x(step) < WIDTH * 0.3 else "middle"
        under = y(value) < top + 14
        parts.append(svg.circle(f"best s{best}", x(step), y(value), 5, words))
        parts.append(svg.text("best-name", words, x(step), y(value) + (19 if under else -10), anchor))
    parts.append(legend)
    said = [_in_words(one, write) for one in series] + (
        [f"{baseline[0]}: {write(baseline[1])}"] if baseline else []
    )
    return svg.drawing(f"{title} over steps", ". ".join(said), WIDTH, HEIGHT, Markup().join(parts), "chart")


def heat_map(confusion: NDArray[np.int64], names: Sequence[str], *, said: str) -> Markup:
    """Return an SVG of a confusion matrix, each row divided by its pixels of ground truth.

    Up to 20 classes every cell prints its percentage, up to 40 it is drawn and tells its numbers on
    hovering; beyond, the cells are one small embedded picture, and names stand on all four sides.

    Args:
        confusion: (K, K) pixels, rows ground truth, columns predictions.
        names: K class names.
        said: Description for who cannot see the picture.
    """
    classes = len(names)
    truth = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, truth, out=np.zeros(confusion.shape), where=truth > 0)
    cell = (
        34 if classes <= 12 else 29 if classes <= _NUMBERED_CELLS else 18 if classes <= _DRAWN_CELLS else 10
    )
    size = min(11.5, cell - 1.0)
    labels = [name if len(name) <= 20 else f"{name[:19]}…" for name in names]
    margin = max(104.0, 12 + size * 0.58 * max(map(len, labels)))
    around = classes > _DRAWN_CELLS
    side = classes * cell

    parts = [
        svg.text("axis", "predicted as →", margin - 8, margin - 26, "end"),
        svg.text("axis", "ground truth ↓", margin - 8, margin - 9, "end"),
    ]
    for place, (label, name) in enumerate(zip(labels, names, strict=True)):
        middle = margin + (place + 0.5) * cell + size * 0.36
        parts.append(svg.text("name", label, margin - 6, middle, "end", size=size, tip=name))
        parts.append(svg.text("name", label, middle, margin - 6, upwards=True, size=size, tip=name))
        if around:
            beyond = margin + side + 6
            parts.append(svg.text("name", label, beyond, middle, size=size, tip=name))
            parts.append(svg.text("name", label, middle, beyond, "end", upwards=True, size=size, tip=name))
    if around:
        picture = (
            '<image x="{0}" y="{0}" width="{1}" height="{1}" href="{2}" preserveAspectRatio="none"'
            ' style="image-rendering:pixelated"/>'
        )
        parts.append(Markup(picture).format(svg.short(margin), side, _raster(shares)))
    else:
        parts.append(_cells(shares, names, margin, cell, numbered=classes <= _NUMBERED_CELLS))
    frame = '<rect class="frame" x="{0}" y="{0}" width="{1}" height="{1}"/>'
    parts.append(Markup(frame).format(svg.short(margin), side))
    whole = margin + side + (margin if around else 4)
    kind = "heat fits" if classes <= 12 else "heat"
    return svg.drawing("Confusion matrix", said, whole, whole, Markup().join(parts), kind)


def bar(share: float | None, words: str) -> Markup:
    """Return a table cell's content: its words, then a bar of that share of what is left (None: no bar)."""
    length = "" if share is None else Markup('<i><i style="width:{:.1f}%"></i></i>').format(100 * share)
    return Markup('<span class="bar"><b>{}</b>{}</span>').format(words, length)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers that span low..high, 1, 2 or 5 times a power of ten apart."""
    if high <= low:
        high = low + 1.0
    rough = (high - low) / (count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(start, stop + 1)]


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most ``most`` points that keep every peak: the lowest and highest of equal stretches."""
    if len(points) <= most:
        return list(points)
    kept = []
    for stretch in np.array_split(np.arange(len(points)), most // 2):
        of_value = sorted(stretch.tolist(), key=lambda i: points[i][1])
        kept += [points[i] for i in sorted({of_value[0], of_value[-1]})]
    return kept


def moving_average(points: Sequence[Point], window: int) -> list[Point]:
    """Return the points with each value replaced by the mean over about ``window`` neighbours around it."""
    values = np.array([value for _, value in points])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    start, stop = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(values))
    means = (sums[stop] - sums[start]) / (stop - start)
    return [(step, value) for (step, _), value in zip(points, means.tolist(), strict=True)]


def _curve(points: Sequence[Point], x: _Scale, y: _Scale, kind: str) -> Markup:
    path = " ".join(
        f"{svg.short(x(step))},{svg.short(y(value))}" for step, value in thin(points, _MOST_POINTS)
    )
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def _legend(names: Sequence[str]) -> tuple[Markup, int]:
    """Return a legend in as many lines as it needs, and its height."""
    parts, x, line = [Markup()], float(_LEFT), 0
    for place, name in enumerate(names):
        width = 34 + 6.3 * len(name)
        if x > _LEFT and x + width > WIDTH:
            x, line = float(_LEFT), line + 1
        y = 10 + _LEGEND_LINE * line
        parts.append(svg.line(f"line s{place}", x, y, x + 16, y))
        parts.append(svg.text("tick", name, x + 21, y + 4))
        x += width
    return Markup().join(parts), _LEGEND_LINE * (line + 1) if names else 0


def _in_words(series: Series, write: Callable[[float], str]) -> str:
    (first, start), (last, end) = series.points[0], series.points[-1]
    values = [value for _, value in series.points]
    return (
        f"{series.name}: {write(start)} at step {first:,.0f}, {write(end)} at step {last:,.0f}, "
        f"lowest {write(min(values))}, highest {write(max(values))}"
    )


def _cells(
    shares: NDArray[np.float64], names: Sequence[str], margin: float, cell: int, *, numbered: bool
) -> Markup:
    drawn = []
    for row, column in np.argwhere(shares >= 0.0005).tolist():
        share = float(shares[row, column])
        x, y, shade = margin + column * cell, margin + row * cell, float(_shade(share))
        tip = f"{names[row]} predicted as {names[column]}: {percent(share)}"
        drawn.append(svg.square("hit" if row == column else "miss", x, y, cell, shade, tip))
        if numbered and share >= 0.005:
            kind = "number strong" if shade > 0.85 else "number"
            drawn.append(svg.text(kind, f"{100 * share:.0f}", x + cell / 2, y + cell / 2 + 4, "middle"))
    return Markup().join(drawn)


def _raster(shares: NDArray[np.float64]) -> str:
    """Return a PNG as data URI, one pixel a cell; opacity is the shade, so that it suits any background."""
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = _WRONG_RGB
    pixels[np.eye(len(shares), dtype=bool), :3] = _RIGHT_RGB
    pixels[..., 3] = np.round(255 * _shade(shares))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _shade(share: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the opacity of cells: 1 % must already show, so it grows with the square root."""
    return np.sqrt(np.asarray(share))
