"""Turns the reliability of methods into tables beside each other: method × domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vfmseg.report.comparison import Comparison, Method, Spread, best_of, spread_of
from vfmseg.report.reliability import Reliability

Choice = Callable[[list[float]], float]


@dataclass(frozen=True)
class ReliabilityTable:
    """One number of all methods on all targets that have it."""

    title: str
    targets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Spread | None, ...]], ...]
    """Name of a method, and its number by target."""
    best: tuple[frozenset[int], ...]
    """By target, which methods are best."""


def reliability_tables(comparison: Comparison) -> tuple[ReliabilityTable, ...]:
    """Return ECE and AUROC; without those that no method has."""
    wanted: list[tuple[str, Callable[[Reliability], float | None], Choice]] = [
        ("ECE", lambda found: found.ece, min),
        ("AUROC of right and wrong pixels", lambda found: found.auroc, max),
    ]
    tables = []
    for title, number, choose in wanted:
        columns = {
            target: [_spread(method, target, number) for method in comparison.methods]
            for target in comparison.targets
        }
        columns = {target: column for target, column in columns.items() if any(column)}
        if columns:
            rows = [
                (method.name, tuple(column[i] for column in columns.values()))
                for i, method in enumerate(comparison.methods)
            ]
            best = tuple(best_of(column, choose) for column in columns.values())
            tables.append(ReliabilityTable(title, tuple(columns), tuple(rows), best))
    return tuple(tables)


def _spread(method: Method, target: str, number: Callable[[Reliability], float | None]) -> Spread | None:
    found = [one.targets[target].reliability if target in one.targets else None for one in method.members]
    return spread_of([None if one is None else number(one) for one in found])
