"""Turns the rankings of a study into inline SVG: intervals, ranks across settings, score against cost, agreement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from vfmseg.report import svg
from vfmseg.report.charts import nice_ticks
from vfmseg.report.numbers import compact, percent
from vfmseg.report.study_tables import tau_words
from vfmseg.studies.analysis_files import rank_words
from vfmseg.studies.analysis_ranking import Front, ModelScore, SettingRanking

WIDTH = 360
"""Of a chart in its own units, shown at about as many pixels."""
_LINE = 22
_COLOURS = 5
"""That the style sheet has for series."""
_NUMBERED = 20
"""Settings up to which an agreement is printed in its cell."""
_LONG = 20
"""Letters of a name that charts have room for."""
_LETTER = 7.2
"""Width of one, in the widest of the fonts that the style sheet asks for."""


def ranking_chart(title: str, scores: Sequence[ModelScore]) -> Markup:
    """Return a dot for every score, with a whisker for its interval, best first, and its possible ranks beside it.

    Args:
        title: Accessible name, unique on the page.
        scores: At least one.
    """
    left = 14 + _LETTER * max(min(len(one.model), _LONG) for one in scores)
    right, floor = WIDTH - 48.0, 18.0 + _LINE * len(scores)
    ends = [value for one in scores for value in (one.mean, one.lower, one.upper) if value is not None]
    ticks = _score_ticks(ends, 4)
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts = [svg.text("tick", "ranks", WIDTH - 4, 11, "end")]
    for tick in ticks:
        parts.append(svg.line("grid", x(tick), 16, x(tick), floor))
        parts.append(svg.text("tick", percent(tick), x(tick), floor + 15, "middle"))
    said = []
    for place, one in enumerate(scores):
        y = 18 + _LINE * (place + 0.5)
        words = f"{one.model}: {percent(one.mean, 1)}"
        if one.lower is not None and one.upper is not None:
            words += f", interval {percent(one.lower, 1)} to {percent(one.upper, 1)}"
            parts.append(svg.line("whisker", x(one.lower), y, x(one.upper), y))
        words += f", rank {one.rank}, possible {rank_words(one)}"
        said.append(words)
        parts.append(svg.text("bar-name", _short(one.model), left - 8, y + 4, "end", tip=one.model))
        parts.append(svg.circle(f"dot fill f{0 if one.may_be_best else 4}", x(one.mean), y, 4.5, words))
        parts.append(svg.text("bar-value", rank_words(one), WIDTH - 4, y + 4, "end"))
    return svg.drawing(title, ". ".join(said), WIDTH, floor + 20, Markup().join(parts), "chart")


def bump_chart(title: str, settings: Sequence[SettingRanking], models: Sequence[str]) -> Markup:
    """Return a line for every model: its rank in each setting, the reference first.

    Args:
        title: Accessible name, unique on the page.
        settings: Two or more.
        models: To draw, by their rank in the first setting.
    """
    names = 18 + _LETTER * max(min(len(model), _LONG) for model in models)
    step = 64.0
    width = 2 * names + step * (len(settings) - 1)
    labels = 16 + 6.6 * max(min(len(one.name), _LONG) for one in settings)
    ranks = [{score.model: score.rank for score in one.models} for one in settings]
    places = max(rank for of in ranks for model, rank in of.items() if model in models)
    floor = 12.0 + _LINE * places

    def spot(column: int, rank: int) -> tuple[float, float]:
        return names + step * column, 12 + _LINE * (rank - 0.5)

    parts, said = [Markup()], []
    for column, one in enumerate(settings):
        x = names + step * column
        parts.append(svg.line("grid", x, 8, x, floor))
        words = _short(one.name)
        parts.append(svg.text("tick", words, x + 4, floor + 8, "end", upwards=True, tip=one.name))
    for place, model in enumerate(models):
        track = [(column, of[model]) for column, of in enumerate(ranks) if model in of]
        spots = [spot(*one) for one in track]
        path = " ".join(f"{svg.short(x)},{svg.short(y)}" for x, y in spots)
        kind = f"s{place % _COLOURS}"
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(kind, path))
        said.append(f"{model}: " + ", ".join(f"{rank} in {settings[column].name}" for column, rank in track))
        for (column, rank), (x, y) in zip(track, spots, strict=True):
            tip = f"{model}: rank {rank} in {settings[column].name}"
            parts.append(svg.circle(f"dot {kind}", x, y, 4, tip))
    for column, anchor, shift in ((0, "end", -10.0), (len(settings) - 1, "start", 10.0)):
        taken: dict[int, int] = {}
        for model in models:
            if model in ranks[column]:
                rank = ranks[column][model]
                x, y = spot(column, rank)
                y += 11 * taken.get(rank, 0)  # models of one rank are named below each other
                taken[rank] = taken.get(rank, 0) + 1
                parts.append(svg.text("bar-name", _short(model), x + shift, y + 4, anchor, tip=model))
    return svg.drawing(title, ". ".join(said), width, floor + labels, Markup().join(parts), "bump")


def cost_chart(title: str, scores: Sequence[ModelScore], front: Front) -> Markup:
    """Return a dot for every model at its cost and score; those on the front are filled, joined and named.

    Args:
        title: Accessible name, unique on the page.
        scores: Each with this cost.
        front: Of this cost.
    """
    costs = {one.model: float(one.costs[front.cost] or 0.0) for one in scores}
    y_ticks = _score_ticks([one.mean for one in scores], 5)
    x, x_ticks = _cost_axis(list(costs.values()), 46.0, WIDTH - 18.0)
    height, floor = 230.0, 198.0

    def y(value: float) -> float:
        return floor - (floor - 16) * (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])

    parts = [Markup()]
    for tick in y_ticks:
        parts.append(svg.line("grid", 46, y(tick), WIDTH - 14, y(tick)))
        parts.append(svg.text("tick", percent(tick), 40, y(tick) + 4, "end"))
    for tick in x_ticks:
        parts.append(svg.line("grid", x(tick), floor, x(tick), floor + 4))
        parts.append(svg.text("tick", compact(tick), x(tick), floor + 16, "middle"))
    unit = f" ({front.unit})" if front.unit else ""
    parts.append(svg.text("tick", f"{front.title.lower()}{unit}", WIDTH - 14, floor + 30, "end"))
    on_front = [one for one in scores if one.model in front.models]
    path = " ".join(
        f"{svg.short(x(costs[one.model]))},{svg.short(y(one.mean))}"
        for one in sorted(on_front, key=lambda one: costs[one.model])
    )
    parts.append(Markup('<polyline class="line s0" points="{}"/>').format(path))
    said, taken = [], list[tuple[float, float, float]]()
    for one in sorted(scores, key=lambda one: one.model not in front.models):
        is_on = one.model in front.models
        words = f"{one.model}: {percent(one.mean, 1)} at {compact(costs[one.model])} {front.unit}".rstrip()
        said.append(words + (", on the front" if is_on else ""))
        at = x(costs[one.model]), y(one.mean)
        parts.append(svg.circle(f"dot {'fill f0' if is_on else 's4'}", *at, 4.5, said[-1]))
        if is_on or len(scores) <= 10:
            parts.append(_label(one.model, *at, taken))
    return svg.drawing(title, ". ".join(said), WIDTH, height + 4, Markup().join(parts), "chart")


def agreement_map(title: str, names: Sequence[str], taus: Sequence[Sequence[float | None]]) -> Markup:
    """Return a square of cells, blue where two settings rank alike, orange where they rank the other way round.

    Args:
        title: Accessible name, unique on the page.
        names: S settings.
        taus: (S, S) tau-b in -1..1; None where there is none.
    """
    cell = 38 if len(names) <= _NUMBERED else 16
    margin = 14 + 6.9 * max(min(len(name), _LONG) for name in names)
    parts, said = [Markup()], []
    for place, name in enumerate(names):
        middle = margin + (place + 0.5) * cell + 4
        parts.append(svg.text("name", _short(name), margin - 6, middle, "end", size=11.5, tip=name))
        parts.append(svg.text("name", _short(name), middle, margin - 6, upwards=True, size=11.5, tip=name))
    for row, of in enumerate(taus):
        for column, tau in enumerate(of):
            x, y = margin + column * cell, margin + row * cell
            words = f"{names[row]} and {names[column]}: {'no value' if tau is None else f'{tau:.2f}'}"
            if row < column:
                said.append(words)
            if tau is not None:
                parts.append(svg.square("hit" if tau >= 0 else "miss", x, y, cell, abs(tau) ** 0.8, words))
            if len(names) <= _NUMBERED:
                kind = "number strong" if tau is not None and abs(tau) > 0.8 else "number"
                shown = tau_words(tau)
                parts.append(svg.text(kind, shown, x + cell / 2, y + cell / 2 + 4, "middle"))
    side = margin + cell * len(names) + 4
    shown_words = said if len(said) <= 200 else [*said[:200], f"and {len(said) - 200} more"]
    return svg.drawing(title, ". ".join(shown_words), side, side, Markup().join(parts), "heat")


def _score_ticks(scores: Sequence[float], count: int) -> list[float]:
    """Return round scores to write; equal ones get an axis of two points, not one of a multiple of them."""
    low, high = min(scores), max(scores)
    slack = max(0.0, 0.02 - (high - low)) / 2
    # intervals may reach beyond what a score can be; the slack does not
    return nice_ticks(min(low, max(0.0, low - slack)), max(high, min(1.0, high + slack)), count)


def _cost_axis(
    costs: Sequence[float], left: float, right: float
) -> tuple[Callable[[float], float], list[float]]:
    """Return where a cost lies, and round costs to write: powers of ten where costs differ by more than 20 times."""
    low, high = min(costs), max(costs)
    if low > 0 and high / low > 20:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        every = max(1, (last - first) // 5)
        ticks = [10.0**power for power in range(first, last + 1, every)]

        def at_log(cost: float) -> float:
            return left + (right - left) * (math.log10(cost) - first) / (last - first)

        return at_log, ticks
    ticks = nice_ticks(low, high)

    def at(cost: float) -> float:
        return left + (right - left) * (cost - ticks[0]) / (ticks[-1] - ticks[0])

    return at, ticks


def _label(name: str, x: float, y: float, taken: list[tuple[float, float, float]]) -> Markup:
    """Return a name beside a dot, moved up or down from where another name is already."""
    words = _short(name)
    length = 6.4 * len(words)
    starts_right = x + 8 + length < WIDTH
    begin = x + 8 if starts_right else x - 8 - length
    for shift in (0, -12, 12, -24, 24, -36, 36):
        line = y + 4 + shift
        if all(begin > stop or begin + length < start or abs(line - at) > 11 for start, stop, at in taken):
            break
    taken.append((begin, begin + length, line))
    edge, anchor = (begin, "start") if starts_right else (x - 8, "end")
    return svg.text("point-name", words, edge, line, anchor, tip=name)


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"
