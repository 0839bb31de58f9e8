"""Turns scores into horizontal bars, a bar a line, all on one scale from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vfmseg.report import svg
from vfmseg.report.comparison import Spread
from vfmseg.report.numbers import percent, points

_WIDTH, _LINE, _BAR, _VALUE = 360, 24, 14, 52
_COLOURS = 5
"""That the style sheet has for series."""


@dataclass(frozen=True)
class Bar:
    """One line."""

    name: str
    score: Spread | None
    """In 0..1; None draws no bar."""
    colour: int
    """Counted from 0; those past the palette begin anew, as the names tell bars apart."""


def bars(title: str, lines: Sequence[Bar], *, full: float) -> Markup:
    """Return an SVG of the bars with their names and values; a whisker is the deviation over seeds.

    Args:
        title: accessible name, unique on the page.
        lines: from above.
        full: share in 0..1 at which a bar fills its space.
    """
    most = max(len(line.name) for line in lines)
    left = min(150.0, 12 + 6.6 * most)
    space = _WIDTH - left - _VALUE
    parts, said = [Markup()], []
    for number, line in enumerate(lines):
        top = 4 + number * _LINE
        middle = top + _BAR / 2 + 4
        shown = line.name if len(line.name) <= 21 else f"{line.name[:20]}…"
        parts.append(svg.text("bar-name", shown, left - 8, middle, "end", tip=line.name))
        if line.score is None:
            said.append(f"{line.name}: not measured")
            parts.append(svg.text("tick", "not measured", left + 4, middle))
            continue
        said.append(f"{line.name}: {written(line.score)} %")
        length = space * max(0.0, line.score.mean) / full
        parts.append(svg.box(f"fill f{line.colour % _COLOURS}", left, top, length, _BAR, said[-1]))
        end = left + length
        if line.score.deviation is not None:
            reach = space * line.score.deviation / full
            parts.append(svg.line("whisker", end - reach, top + _BAR / 2, end + reach, top + _BAR / 2))
            end += reach
        parts.append(svg.text("bar-value", percent(line.score.mean, 1), end + 6, middle))
    parts.append(svg.line("grid", left, 0, left, 4 + len(lines) * _LINE - 6))
    return svg.drawing(title, ". ".join(said), _WIDTH, 4 + len(lines) * _LINE, Markup().join(parts), "chart")


def written(score: Spread | None) -> str:
    """Return ``"71.3"`` percent, over seeds ``"71.3 ± 0.4"``, and a dash for None."""
    if score is None or score.deviation is None:
        return points(None if score is None else score.mean)
    return f"{points(score.mean)} ± {points(score.deviation)}"
