"""Turns scores under corruptions into tables: kind × method, and of each method kind × severity."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vfmseg.report.comparison import Method, Scored, Spread, spread_of


@dataclass(frozen=True)
class Cell:
    """One score with how dark its cell is."""

    score: Spread | None
    shade: float
    """Share of the score without corruption, 0..1."""


@dataclass(frozen=True)
class Line:
    """One kind of corruption, or what all come to."""

    name: str
    cells: tuple[Cell, ...]
    mean: Cell | None = None


@dataclass(frozen=True)
class HeatTable:
    """Kind × severity of one method, the kind that harms most first."""

    method: str
    severities: tuple[int, ...]
    lines: tuple[Line, ...]
    clean: Spread | None
    mean: Spread | None
    """Over all cells."""
    relative: Spread | None
    """The mean's share of the score without corruption; as in arXiv 1907.07484."""


@dataclass(frozen=True)
class CorruptionTables:
    """What corruptions do to all methods that were scored under them."""

    what: str
    """The data, in words."""
    methods: tuple[str, ...]
    kinds: tuple[Line, ...]
    """A cell a method: the mean over severities."""
    clean: tuple[Spread | None, ...]
    mean: tuple[Spread | None, ...]
    relative: tuple[Spread | None, ...]
    is_partial: bool
    """Some methods have cells that others lack; kinds, mean and relative are over what all have."""
    heat: tuple[HeatTable, ...]


def corruption_tables(methods: Sequence[Method]) -> CorruptionTables | None:
    """Return the tables of the methods that were scored under corruptions; None where there are none."""
    tested = [(method, _tested(method)) for method in methods]
    tested = [(method, members) for method, members in tested if members]
    if not tested:
        return None
    cells = [_cells(one) for _, members in tested for one in members]
    shared = [pair for pair in cells[0] if all(pair in others for others in cells)]
    kinds = []
    for kind in dict.fromkeys(kind for kind, _ in shared):
        of_kind = [pair for pair in shared if pair[0] == kind]
        kinds.append(Line(kind, tuple(_cell(members, of_kind) for _, members in tested)))
    heat = tuple(_heat(method.name, members) for method, members in tested)
    record = tested[0][1][0].corruptions
    assert record is not None
    data, split, images = record.what
    return CorruptionTables(
        what=f"{images:,} images of {data} ({split})",
        methods=tuple(method.name for method, _ in tested),
        kinds=tuple(sorted(kinds, key=lambda line: line.cells[0].score.mean if line.cells[0].score else 2.0)),
        clean=tuple(table.clean for table in heat),
        mean=tuple(spread_of([_mean(one, shared) for one in members]) for _, members in tested),
        relative=tuple(spread_of([_relative(one, shared) for one in members]) for _, members in tested),
        is_partial=any(len(one) > len(shared) for one in cells),
        heat=heat,
    )


def _tested(method: Method) -> list[Scored]:
    found = [one for one in method.members if one.corruptions is not None]
    return found if len(found) == len(method.members) else []


def _cells(one: Scored) -> dict[tuple[str, int], float]:
    """Return the scores by kind and severity; those of nothing to score are left out."""
    assert one.corruptions is not None
    return {
        (kind, severity): score
        for kind, of_kind in one.corruptions.scores.items()
        for severity, score in of_kind.items()
        if score is not None
    }


def _mean(one: Scored, pairs: Sequence[tuple[str, int]]) -> float | None:
    cells = _cells(one)
    found = [cells[pair] for pair in pairs if pair in cells]
    return statistics.fmean(found) if found else None


def _relative(one: Scored, pairs: Sequence[tuple[str, int]]) -> float | None:
    assert one.corruptions is not None
    mean, clean = _mean(one, pairs), one.corruptions.clean
    return mean / clean if mean is not None and clean else None


def _cell(members: Sequence[Scored], pairs: Sequence[tuple[str, int]]) -> Cell:
    score = spread_of([_mean(one, pairs) for one in members])
    shares = spread_of([_relative(one, pairs) for one in members])
    return Cell(score, 0.0 if shares is None else min(1.0, max(0.0, shares.mean)))


def _heat(method: str, members: Sequence[Scored]) -> HeatTable:
    pairs = list(_cells(members[0]))
    severities = tuple(sorted({severity for _, severity in pairs}))
    lines = []
    for kind in dict.fromkeys(kind for kind, _ in pairs):
        cells = tuple(_cell(members, [(kind, severity)]) for severity in severities)
        lines.append(Line(kind, cells, _cell(members, [pair for pair in pairs if pair[0] == kind])))
    order = sorted(lines, key=lambda line: line.mean.score.mean if line.mean and line.mean.score else 2.0)
    clean = spread_of([one.corruptions.clean for one in members if one.corruptions is not None])
    mean = spread_of([_mean(one, pairs) for one in members])
    relative = spread_of([_relative(one, pairs) for one in members])
    return HeatTable(method, severities, tuple(order), clean, mean, relative)
