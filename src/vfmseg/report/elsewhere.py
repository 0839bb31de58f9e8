"""Turns records of models into the sections of a page: domains × methods, bars, corruptions, classes, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from vfmseg.report.bars import Bar, bars, written
from vfmseg.report.comparison import Comparison, Method, Scored, Spread, compare
from vfmseg.report.corruption_tables import CorruptionTables, corruption_tables
from vfmseg.report.evaluation import evaluate
from vfmseg.report.measures import Measure
from vfmseg.report.numbers import millions, size_of_file
from vfmseg.report.pictures import Example, worst_of
from vfmseg.report.reliability import reliability_diagram, reliability_facts
from vfmseg.report.reliability_tables import (
    ReliabilityTable,
    corruption_reliability_tables,
    reliability_tables,
)
from vfmseg.report.run_folder import Finding
from vfmseg.report.tables import Colour, markdown_table

_WORST_OF_ONE, _WORST_OF_MANY = 6, 3
"""Pictures of each target, on a page of one model and of several."""


@dataclass(frozen=True)
class Card:
    """A drawing with its title."""

    title: str
    svg: Markup
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ClassLine:
    """One class on all targets."""

    name: str
    colour: Colour | None
    """None for the mean."""
    values: tuple[float | None, ...]
    """By target, in 0..1."""


@dataclass(frozen=True)
class TargetPictures:
    """The worst images of a target."""

    target: str
    examples: list[Example]


@dataclass(frozen=True)
class Detail:
    """What stands on the page of one model, and is folded up on a page of several."""

    name: str
    note: str
    """Which of the seeds it is, or empty."""
    targets: tuple[str, ...]
    """Those with numbers by class."""
    classes: tuple[ClassLine, ...]
    mean: ClassLine | None
    diagrams: tuple[Card, ...]
    pictures: tuple[TargetPictures, ...]


@dataclass(frozen=True)
class Elsewhere:
    """All that a page says of how models fare on targets."""

    measure: Measure
    comparison: Comparison
    bars: tuple[Card, ...]
    corruptions: CorruptionTables | None
    reliability: tuple[ReliabilityTable, ...]
    """Of targets on a page of several, as the page of one has diagrams; of corruptions on any."""
    details: tuple[Detail, ...]
    findings: tuple[Finding, ...]
    folders: tuple[Path, ...]

    @property
    def matched(self) -> dict[str, str]:
        """Targets that were not scored over all classes -> over which."""
        records = [one.targets for method in self.comparison.methods for one in method.members]
        return {name: target.scored for of_one in records for name, target in of_one.items() if target.scored}

    @property
    def seen(self) -> dict[str, str]:
        """How images were seen, where not as by default -> where, as ``"night, corruptions"``."""
        methods = self.comparison.methods
        places: dict[str, list[str]] = {}
        for method in methods:
            for one in method.members:
                found = {name: target.seen for name, target in one.targets.items()}
                if one.corruptions is not None:
                    found["corruptions"] = one.corruptions.seen
                for name, seen in found.items():
                    if seen:
                        place = f"{method.name} on {name}" if len(methods) > 1 else name
                        places.setdefault(seen, []).append(place)
        return {seen: ", ".join(dict.fromkeys(names)) for seen, names in places.items()}

    @property
    def has_seeds(self) -> bool:
        """Whether any row is the mean of several runs."""
        return any(len(method.members) > 1 for method in self.comparison.methods)


def elsewhere(scored: Sequence[Scored]) -> Elsewhere:
    """Return the sections of at least one model; :func:`vfmseg.report.comparison.gather` says which go together."""
    comparison = compare(scored)
    findings: list[Finding] = []
    many = len(comparison.methods) > 1
    details = [
        _detail(method, _WORST_OF_MANY if many else _WORST_OF_ONE, findings) for method in comparison.methods
    ]
    return Elsewhere(
        measure=scored[0].model.measure,
        comparison=comparison,
        bars=tuple(_bars_by_target(comparison) if many else _bars_of_one(comparison)),
        corruptions=corruption_tables(comparison.methods),
        reliability=(
            *(reliability_tables(comparison) if many else ()),
            *corruption_reliability_tables(comparison.methods),
        ),
        details=tuple(detail for detail in details if detail.classes or detail.diagrams or detail.pictures),
        findings=tuple(findings),
        folders=tuple(folder for one in scored for folder in one.folders),
    )


def _bars_of_one(comparison: Comparison) -> list[Card]:
    (method,) = comparison.methods
    source = [Bar("source", method.source, 2)] if method.source is not None else []
    lines = [*source, *(Bar(name, method.scores[name], 0) for name in comparison.targets)]
    title = "Score by domain"
    return [Card(title, bars(title, lines, full=_full(comparison)))] if comparison.targets else []


def _bars_by_target(comparison: Comparison) -> list[Card]:
    full, cards = _full(comparison), []
    for name in comparison.targets:
        lines = [Bar(method.name, method.scores[name], i) for i, method in enumerate(comparison.methods)]
        cards.append(Card(name, bars(f"{name} by method", lines, full=full)))
    if len(comparison.common) > 1:
        lines = [Bar(method.name, method.mean, i) for i, method in enumerate(comparison.methods)]
        cards.append(Card("mean", bars("Mean over targets by method", lines, full=full)))
    return cards


def _full(comparison: Comparison) -> float:
    """Return where bars end: the highest score with its deviation, so that whiskers stay inside."""
    scores = [score for method in comparison.methods for score in (method.source, *method.scores.values())]
    reached = [score.mean + (score.deviation or 0.0) for score in scores if score is not None]
    return max(reached, default=1.0) or 1.0


def _detail(method: Method, most: int, findings: list[Finding]) -> Detail:
    one = method.members[0]
    of_targets: dict[str, dict[str, float | None]] = {}
    colours: dict[str, Colour] = {}
    means: list[float | None] = []
    diagrams, pictures = [], []
    for name, target in one.targets.items():
        if target.validation is not None and target.score is not None:
            table = evaluate(target.validation).table
            of_targets[name] = {row.name: row.score for row in table.rows}
            colours = {row.name: row.colour for row in table.rows} | colours
            means.append(table.means[0][1][0])
        if target.validation is not None:
            examples = worst_of(target.validation, target.folder, method.model.measure, most, findings)
            if examples:
                pictures.append(TargetPictures(name, examples))
        if target.reliability is not None:
            found = target.reliability
            title = f"Reliability of {method.name} on {name}"
            drawn = reliability_diagram(title, found) if found.bins else Markup()
            note = found.confidence.replace("_", " ")
            diagrams.append(Card(name, drawn, tuple(reliability_facts(found)), note))
    targets = tuple(of_targets)
    # in the order of the model, and not of any target's scores, so that columns can be compared
    order = [*(name for name in method.model.classes if name in colours)]
    order += [name for name in colours if name not in order]
    classes = tuple(
        ClassLine(name, colours[name], tuple(of_targets[target].get(name) for target in targets))
        for name in order
    )
    seed = f"seed {one.model.seed}" if len(method.members) > 1 else ""
    mean = ClassLine("Mean", None, tuple(means)) if targets else None
    return Detail(method.name, seed, targets, classes, mean, tuple(diagrams), tuple(pictures))


def markdown_comparison(found: Elsewhere) -> str:
    """Return the table domains × methods, scores in percent; the best of a column is bold."""
    comparison = found.comparison
    ends = ["mean", "worst", "gap"] if comparison.targets else []
    columns = ["trainable", "total", "checkpoint", "source", *comparison.targets, *ends]
    rows = []
    for number, method in enumerate(comparison.methods):
        model = method.model

        def cell(column: str, number: int = number, method: Method = method) -> str:
            value = {
                "/source": method.source,
                "/mean": method.mean,
                "/worst": method.worst,
                "/gap": method.gap,
            }.get(column, method.scores.get(column))
            text = written(value)
            text = f"{text} ({method.worst_target})" if column == "/worst" and method.worst_target else text
            return f"**{text}**" if number in comparison.best[column] else text

        wanted = ["/source", *comparison.targets, *(f"/{name}" for name in ends)]
        rows.append(
            [
                f"{method.name} ({model.encoder} × {model.tuning} × {model.decoder}{seeds_of(method)})",
                millions(model.parameters_trainable),
                millions(model.parameters_total),
                size_of_file(model.checkpoint_bytes),
                *map(cell, wanted),
            ]
        )
    return markdown_table(["method", *columns], rows, numeric=True)


def markdown_corruptions(tables: CorruptionTables) -> str:
    """Return kind × method, scores in percent."""
    rows = [[line.name, *(written(cell.score) for cell in line.cells)] for line in tables.kinds]
    rows += [[f"**{name}**", *map(written, values)] for name, values in ends_of(tables)]
    return markdown_table(["corruption", *tables.methods], rows, numeric=True)


def ends_of(tables: CorruptionTables) -> list[tuple[str, tuple[Spread | None, ...]]]:
    """Return the last lines of the table kind × method."""
    return [
        ("Mean", tables.mean),
        ("Without corruption", tables.clean),
        ("Mean's share of it", tables.relative),
    ]


def seeds_of(method: Method) -> str:
    """Return ``", 3 seeds"``, or nothing for one."""
    return f", {len(method.members)} seeds" if len(method.members) > 1 else ""
