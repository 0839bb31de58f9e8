"""Turns numbers into inline SVG: line charts, heat maps of confusion matrices, bars for table cells.

Colours, fonts and dark mode come from the page's style sheet through class names; a chart carries its
own title and a description in words, so that it also says something to who cannot see it.
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
_MOST_POINTS = 300
_MOST_DOTS = 40
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
    """Return an SVG of values over optimiser steps; the value axis holds zero and all values.

    Args:
        title: What is shown; also the chart's accessible name.
        series: At least one, each with at least one point.
        is_share: Values are in 0..1 and are written as percentages.
        baseline: Name and value of a dashed horizontal line.
        best: Index of the series whose highest point is marked.
        smooth: Draw long series faintly, with their moving average over 5 % of the points on top.
    """
    write = percent if is_share else compact
    steps = [step for one in series for step, _ in one.points]
    values = [value for one in series for _, value in one.points] + ([baseline[1]] if baseline else [])
    ticks = nice_ticks(min(0.0, *values), max(0.0, *values))
    last = max(steps)
    top = 30 if len(series) > 1 else 14
    low, high = ticks[0], ticks[-1]

    def x(step: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * step / max(last, 1)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - top) * (value - low) / (high - low)

    parts = [Markup()]
    for tick in ticks:
        parts.append(svg.line("grid", _LEFT, y(tick), WIDTH - _RIGHT, y(tick)))
        parts.append(svg.text(write(tick), _LEFT - 6, y(tick) + 4, "tick", anchor="end"))
    for tick in (t for t in nice_ticks(0, max(last, 1)) if t <= max(last, 1)):
        parts.append(svg.line("grid mark", x(tick), HEIGHT - _BOTTOM, x(tick), HEIGHT - _BOTTOM + 4))
        parts.append(svg.text(compact(tick), x(tick), HEIGHT - _BOTTOM + 16, "tick", anchor="middle"))
    parts.append(svg.text("step", _LEFT - 14, HEIGHT - _BOTTOM + 16, "tick", anchor="end"))
    if baseline:
        parts.append(svg.line("baseline", _LEFT, y(baseline[1]), WIDTH - _RIGHT, y(baseline[1])))
        label = f"{baseline[0]} {write(baseline[1])}"
        parts.append(svg.text(label, WIDTH - _RIGHT, y(baseline[1]) - 5, "baseline-name", anchor="end"))
    for place, one in enumerate(series):
        thinned = thin(one.points, _MOST_POINTS)
        long = smooth and len(one.points) >= 40
        parts.append(_polyline(thinned, x, y, f"line s{place}{' faint' if long else ''}"))
        if long:
            averaged = thin(moving_average(one.points, max(3, len(one.points) // 20)), _MOST_POINTS)
            parts.append(_polyline(averaged, x, y, f"line s{place}"))
        if len(one.points) <= _MOST_DOTS:
            for step, value in one.points:
                tip = f"{one.name}: {write(value)} at step {step:,.0f}"
                parts.append(svg.circle(x(step), y(value), 2.5, f"dot s{place}", tip))
        if best == place:
            step, value = max(one.points, key=lambda point: (point[1], -point[0]))
            anchor = "end" if x(step) > WIDTH * 0.7 else "start" if x(step) < WIDTH * 0.3 else "middle"
            below = y(value) < top + 14
            parts.append(svg.circle(x(step), y(value), 5, f"best s{place}", f"best: {write(value)}"))
            parts.append(
                svg.text(
                    f"best {write(value)}",
                    x(step),
                    y(value) + (19 if below else -10),
                    "best-name",
                    anchor=anchor,
                )
            )
    if len(series) > 1:
        parts.append(_legend([one.name for one in series]))
    said = ". ".join(
        f"{one.name}: {write(one.points[0][1])} at step {one.points[0][0]:,.0f}, "
        f"{write(one.points[-1][1])} at step {one.points[-1][0]:,.0f}, "
        f"lowest {write(min(v for _, v in one.points))}, highest {write(max(v for _, v in one.points))}"
        for one in series
    )
    if baseline:
        said += f". {baseline[0]}: {write(baseline[1])}"
    return svg.drawing(f"{title} over steps", said, WIDTH, HEIGHT, Markup().join(parts), "chart")


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
    text = 11.5 if classes <= _NUMBERED_CELLS else min(11.5, cell - 1)
    labels = [_clipped(name) for name in names]
    margin = max(104.0, 12 + text * 0.58 * max(map(len, labels)))
    around = classes > _DRAWN_CELLS
    left, top, side = margin, margin, classes * cell
    width, height = left + side + (margin if around else 4), top + side + (margin if around else 4)

    parts = [
        svg.text("predicted as →", left - 8, top - 26, "axis", anchor="end"),
        svg.text("ground truth ↓", left - 8, top - 9, "axis", anchor="end"),
    ]
    for place, (label, name) in enumerate(zip(labels, names, strict=True)):
        middle = (place + 0.5) * cell
        size = f"font-size:{text:g}px"
        parts.append(svg.text(label, left - 6, top + middle + text * 0.36, "name", "end", style=size, tip=name))
        parts.append(
            svg.text(label, left + middle + text * 0.36, top - 6, "name", rotate=-90, style=size, tip=name)
        )
        if around:
            across = left + side + 6
            parts.append(svg.text(label, across, top + middle + text * 0.36, "name", style=size, tip=name))
            down = top + side + 6
            parts.append(
                svg.text(label, left + middle + text * 0.36, down, "name", "end", rotate=-90, style=size)
            )
    if around:
        parts.append(
            Markup(
                '<image x="{}" y="{}" width="{}" height="{}" href="{}" preserveAspectRatio="none"'
                ' style="image-rendering:pixelated"/>'
            ).format(svg.trim(left), svg.trim(top), side, side, _raster(shares))
        )
    else:
        parts.append(_cells(shares, names, left, top, cell, numbered=classes <= _NUMBERED_CELLS))
    frame = '<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>'
    parts.append(Markup(frame).format(svg.trim(left), svg.trim(top), side, side))
    return svg.drawing(
        "Confusion matrix",
        said,
        width,
        height,
        Markup().join(parts),
        "heat fits" if classes <= 12 else "heat",
    )


def bar(share: float | None, text: str) -> Markup:
    """Return a table cell's content: its text, then a bar of that share of what is left (None: no bar)."""
    length = "" if share is None else Markup('<i><i style="width:{:.1f}%"></i></i>').format(100 * share)
    return Markup('<span class="bar"><b>{}</b>{}</span>').format(text, length)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` evenly spaced round numbers (1, 2 or 5 times a power of ten) that span low..high."""
    if high <= low:
        high = low + 1.0
    rough = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(start, stop + 1)]


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
    """Return the points with each value replaced by the mean over ``window`` neighbours around it."""
    values = np.array([value for _, value in points])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    start, stop = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(values))
    means = (sums[stop] - sums[start]) / (stop - start)
    return [(step, value) for (step, _), value in zip(points, means.tolist(), strict=True)]


def _cells(
    shares: NDArray[np.float64], names: Sequence[str], left: float, top: float, cell: int, *, numbered: bool
) -> Markup:
    drawn = []
    for row, of_row in enumerate(shares.tolist()):
        for column, share in enumerate(of_row):
            if share < 0.0005:
                continue
            x, y, kind = left + column * cell, top + row * cell, "hit" if row == column else "miss"
            tip = f"{names[row]} predicted as {names[column]}: {percent(share)}"
            drawn.append(
                Markup(
                    '<rect class="{}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.2f}"><title>{}</title></rect>'
                ).format(kind, svg.trim(x), svg.trim(y), cell, cell, _shade(share), tip)
            )
            if numbered and share >= 0.005:
                ink = "number strong" if _shade(share) > 0.85 else "number"
                drawn.append(svg.text(f"{100 * share:.0f}", x + cell / 2, y + cell / 2 + 4, ink, "middle"))
    return Markup().join(drawn)


def _raster(shares: NDArray[np.float64]) -> str:
    """Return a PNG as data URI, one pixel a cell; opacity is the share, so that it suits any background."""
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = _WRONG_RGB
    pixels[np.eye(len(shares), dtype=bool), :3] = _RIGHT_RGB
    pixels[..., 3] = np.round(255 * np.vectorize(_shade, otypes=[float])(shares))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _shade(share: float) -> float:
    """Return the opacity of a cell: 1 % must already show, so it grows with the square root."""
    return math.sqrt(share) if share >= 0.0005 else 0.0


def _clipped(name: str, most: int = 20) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _legend(names: Sequence[str]) -> Markup:
    parts, x = [], float(_LEFT)
    for place, name in enumerate(names):
        parts.append(svg.line(f"line s{place}", x, 10, x + 16, 10))
        parts.append(svg.text(name, x + 21, 14, "tick"))
        x += 34 + 6.3 * len(name)
    return Markup().join(parts)


def _polyline(points: Sequence[Point], x: _Scale, y: _Scale, kind: str) -> Markup:
    path = " ".join(f"{svg.trim(x(step))},{svg.trim(y(value))}" for step, value in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)
