"""Turns the reliability of methods into tables beside each other: method × domain, method × kind of corruption."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vfmseg.report.comparison import Comparison, Method, Scored, Spread, best_of, spread_of
from vfmseg.report.reliability import Reliability

Choice = Callable[[list[float]], float]
_CLEAN = ("", 0)


@dataclass(frozen=True)
class ReliabilityTable:
    """One number of all methods in all columns that have it."""

    title: str
    by: str
    """What a column is."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Spread | None, ...]], ...]
    """Name of a method, and its number by column."""
    best: tuple[frozenset[int], ...]
    """By column, which methods are best."""


_WANTED: tuple[tuple[str, Callable[[Reliability], float | None], Choice], ...] = (
    ("ECE", lambda found: found.ece, min),
    ("AUROC of right and wrong pixels", lambda found: found.auroc, max),
)


def reliability_tables(comparison: Comparison) -> tuple[ReliabilityTable, ...]:
    """Return ECE and AUROC by target; without those that no method has."""
    tables = []
    for title, number, choose in _WANTED:
        columns = {
            target: [_spread(method, target, number) for method in comparison.methods]
            for target in comparison.targets
        }
        tables += _table(title, "target", comparison.methods, columns, choose)
    return tuple(tables)


def corruption_reliability_tables(methods: Sequence[Method]) -> tuple[ReliabilityTable, ...]:
    """Return ECE and AUROC by kind of corruption, each the mean over the severities that all methods have.

    Methods of which a seed was not asked are left out, and so are tables that none has.
    """
    judged = [method for method in methods if all(_judged(one) for one in method.members)]
    cells = [_judged(one) for method in judged for one in method.members]
    if not cells:
        return ()
    shared = [pair for pair in cells[0] if pair != _CLEAN and all(pair in others for others in cells)]
    groups = {"no corruption": [_CLEAN]}
    for kind, severity in shared:
        groups.setdefault(kind.replace("_", " "), []).append((kind, severity))
    groups["mean under corruption"] = shared
    tables = []
    for title, number, choose in _WANTED:
        columns = {
            name: [spread_of([_mean(_judged(one), pairs, number) for one in m.members]) for m in judged]
            for name, pairs in groups.items()
        }
        tables += _table(f"{title} under corruption", "kind", judged, columns, choose)
    return tuple(tables)


def _table(
    title: str,
    by: str,
    methods: Sequence[Method],
    columns: Mapping[str, list[Spread | None]],
    choose: Choice,
) -> list[ReliabilityTable]:
    """Return the table of the columns in which a method has a number; none where there is none."""
    kept = {name: column for name, column in columns.items() if any(column)}
    if not kept:
        return []
    rows = [(m.name, tuple(column[i] for column in kept.values())) for i, m in enumerate(methods)]
    best = tuple(best_of(column, choose) for column in kept.values())
    return [ReliabilityTable(title, by, tuple(kept), tuple(rows), best)]


def _judged(one: Scored) -> Mapping[tuple[str, int], Reliability]:
    return {} if one.corruptions is None else one.corruptions.reliability


def _mean(
    cells: Mapping[tuple[str, int], Reliability],
    pairs: Sequence[tuple[str, int]],
    number: Callable[[Reliability], float | None],
) -> float | None:
    """Return the mean; None where there is no cell, or one has no such number."""
    found = [number(cells[pair]) for pair in pairs]
    known = [value for value in found if value is not None]
    return statistics.fmean(known) if known and len(known) == len(found) else None


def _spread(method: Method, target: str, number: Callable[[Reliability], float | None]) -> Spread | None:
    found = [one.targets[target].reliability if target in one.targets else None for one in method.members]
    return spread_of([None if one is None else number(one) for one in found])
