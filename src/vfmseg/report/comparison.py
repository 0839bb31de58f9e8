"""Turns records of models into the table that compares them: a row a method, a column a target, and what they come to.

Models of one recipe that differ in their seed only are one method: the mean of their scores, and their standard
deviation.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vfmseg.errors import CheckpointError
from vfmseg.report.evaluations import CorruptionRecord, EvaluationRecord, ModelFacts, TargetRecord


@dataclass(frozen=True, eq=False)
class Scored:
    """One model with all that was measured of it."""

    folders: tuple[Path, ...]
    model: ModelFacts
    targets: Mapping[str, TargetRecord]
    corruptions: CorruptionRecord | None


@dataclass(frozen=True)
class Spread:
    """A score over seeds."""

    mean: float
    deviation: float | None = None
    """Sample standard deviation; None of one seed."""


@dataclass(frozen=True, eq=False)
class Method:
    """One row: a model, or the models of one recipe by their seeds."""

    name: str
    """Unique in the comparison, as short as that allows."""
    members: tuple[Scored, ...]
    source: Spread | None
    scores: Mapping[str, Spread | None]
    """By target; None where it was not scored on it."""
    mean: Spread | None
    """Over the targets that all methods have."""
    worst: Spread | None
    worst_target: str | None
    gap: Spread | None
    """Source minus mean."""

    @property
    def model(self) -> ModelFacts:
        """The facts of the first member; those of a method are the same."""
        return self.members[0].model

    @property
    def seeds(self) -> list[int]:
        """What the members were trained with."""
        return [one.model.seed for one in self.members if one.model.seed is not None]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All methods beside each other."""

    methods: tuple[Method, ...]
    targets: tuple[str, ...]
    common: tuple[str, ...]
    """Targets that all methods were scored on."""
    best: Mapping[str, frozenset[int]]
    """Column (a target's name, or ``source``, ``mean``, ``worst``, ``gap`` with a slash before) -> best methods."""


def gather(records: Iterable[EvaluationRecord]) -> list[Scored]:
    """Return the models that the records are of, each once, in their order.

    Raises:
        CheckpointError: tasks or classes differ; one model was scored on one target twice; targets of one name are not
            the same.
    """
    found: dict[tuple[object, ...], list[EvaluationRecord]] = {}
    for record in records:
        found.setdefault(record.model.identity, []).append(record)
    scored = [_merged(of_one) for of_one in found.values()]
    for one in scored[1:]:
        _refuse_different(scored[0], one)
    for number, one in enumerate(scored):
        for other in scored[:number]:
            _refuse_other_data(other, one)
            _refuse_other_classes(other, one)
    return scored


def compare(scored: Sequence[Scored]) -> Comparison:
    """Return the table of the models."""
    groups = _groups(scored)
    names = _names(groups)
    targets = tuple(dict.fromkeys(name for one in scored for name in one.targets))
    common = tuple(name for name in targets if all(_score(one, name) is not None for one in scored))
    methods = tuple(_method(name, group, targets, common) for name, group in zip(names, groups, strict=True))
    columns: dict[str, list[Spread | None]] = {name: [m.scores[name] for m in methods] for name in targets}
    columns |= {"/source": [m.source for m in methods], "/mean": [m.mean for m in methods]}
    columns |= {"/worst": [m.worst for m in methods], "/gap": [m.gap for m in methods]}
    best = {name: best_of(values, min if name == "/gap" else max) for name, values in columns.items()}
    return Comparison(methods, targets, common, best)


def spread_of(values: Sequence[float | None]) -> Spread | None:
    """Return mean and deviation of scores; None where one of them is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


def _merged(records: Sequence[EvaluationRecord]) -> Scored:
    targets: dict[str, TargetRecord] = {}
    corruptions = None
    for number, record in enumerate(records):
        twice = sorted(set(targets) & set(record.targets))
        if twice or (corruptions is not None and record.corruptions is not None):
            earlier = ", ".join(repr(str(one.folder)) for one in records[:number])
            raise CheckpointError(
                f"{str(record.folder)!r} and {earlier} hold {', '.join(twice) or 'corruptions'} of one model "
                f"({record.model.checkpoint}). Give one of them."
            )
        targets |= record.targets
        corruptions = corruptions or record.corruptions
    model = next((one.model for one in records if one.model.classes), records[0].model)
    return Scored(tuple(one.folder for one in records), model, targets, corruptions)


def _refuse_different(one: Scored, other: Scored) -> None:
    where = f"{str(one.folders[0])!r} and {str(other.folders[0])!r} cannot be compared: "
    if one.model.task != other.model.task:
        raise CheckpointError(
            f"{where}their tasks are {one.model.task} and {other.model.task}. Compare models of one task."
        )
    mine, theirs = one.model.classes, other.model.classes
    if mine and theirs and set(mine) != set(theirs):
        raise CheckpointError(
            f"{where}their models know other classes. In the first only: {_some(set(mine) - set(theirs))}; in the second "
            f"only: {_some(set(theirs) - set(mine))}. Compare models of the same classes."
        )


def _refuse_other_data(one: Scored, other: Scored) -> None:
    pairs = [
        (f"target {name}", one.targets[name].what, other.targets[name].what)
        for name in one.targets
        if name in other.targets
    ]
    if one.corruptions is not None and other.corruptions is not None:
        pairs.append(("corruptions", one.corruptions.what, other.corruptions.what))
    for name, mine, theirs in pairs:
        if mine != theirs:
            raise CheckpointError(
                f"{str(one.folders[0])!r} and {str(other.folders[0])!r} cannot be compared: their {name} is not the same "
                f"data: {mine[2]} images of {mine[0]} ({mine[1]}), and {theirs[2]} of {theirs[0]} ({theirs[1]}). "
                "Validate both on the same data, or name the targets differently."
            )


def _refuse_other_classes(one: Scored, other: Scored) -> None:
    """A target's classes are matched to the model's by name, or as the user says; so they may differ by validation."""
    for name in sorted(set(one.targets) & set(other.targets)):
        mine, theirs = one.targets[name].scored, other.targets[name].scored
        if mine != theirs:
            raise CheckpointError(
                f"{str(one.folders[0])!r} and {str(other.folders[0])!r} cannot be compared: target {name} was scored "
                f"over {mine or 'all classes'} in the first, and over {theirs or 'all classes'} in the second. "
                "Validate both with the same `classes` of the target."
            )


def _some(names: Iterable[str]) -> str:
    chosen = sorted(names)
    more = f" and {len(chosen) - 6} more" if len(chosen) > 6 else ""
    return f"{', '.join(chosen[:6])}{more}" if chosen else "none"


def _groups(scored: Sequence[Scored]) -> list[tuple[Scored, ...]]:
    """Return the models by recipe; those that do not differ in their seeds stay apart."""
    by_recipe: dict[str, list[Scored]] = {}
    for one in scored:
        by_recipe.setdefault(one.model.recipe_id, []).append(one)
    groups: list[tuple[Scored, ...]] = []
    for of_one in by_recipe.values():
        seeds = [one.model.seed for one in of_one]
        repeated = None not in seeds and len(set(seeds)) == len(seeds)
        groups += [tuple(of_one)] if repeated else [(one,) for one in of_one]
    return groups


def _names(groups: Sequence[tuple[Scored, ...]]) -> list[str]:
    """Return what tells each method from the others: of tuning, decoder and encoder what differs, else the folder."""
    models = [group[0].model for group in groups]
    parts = [tuple(getattr(model, part) for model in models) for part in ("tuning", "decoder", "encoder")]
    telling = [part for part in parts if len(set(part)) > 1] or parts[:1]
    names = [" × ".join(words) for words in zip(*telling, strict=True)]
    folders = [group[0].folders[0] for group in groups]
    told = [f"{n} ({f.name})" if names.count(n) > 1 else n for n, f in zip(names, folders, strict=True)]
    return [f"{n} ({f})" if told.count(t) > 1 else t for n, t, f in zip(names, told, folders, strict=True)]


def _score(one: Scored, target: str) -> float | None:
    return one.targets[target].score if target in one.targets else None


def _method(name: str, members: tuple[Scored, ...], targets: Sequence[str], common: Sequence[str]) -> Method:
    scores = {target: spread_of([_score(one, target) for one in members]) for target in targets}
    means = [
        statistics.fmean(score for target in common if (score := _score(one, target)) is not None)
        if common
        else None
        for one in members
    ]
    gaps = [
        None if mean is None or one.model.source is None else one.model.source - mean
        for one, mean in zip(members, means, strict=True)
    ]
    there = {target: found.mean for target in common if (found := scores[target]) is not None}
    worst = min(there, key=there.__getitem__) if there else None
    return Method(
        name=name,
        members=members,
        source=spread_of([one.model.source for one in members]),
        scores=scores,
        mean=spread_of(means),
        worst=None if worst is None else scores[worst],
        worst_target=worst,
        gap=spread_of(gaps),
    )


def best_of(values: Sequence[Spread | None], choose: Callable[[list[float]], float]) -> frozenset[int]:
    """Return the places of the best scores, all that are equal; of none where fewer than two are known."""
    known = [value.mean for value in values if value is not None]
    if len(known) < 2:
        return frozenset()
    wanted = choose(known)
    return frozenset(i for i, value in enumerate(values) if value is not None and value.mean == wanted)
