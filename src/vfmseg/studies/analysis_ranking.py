"""One setting of a study in, the ranking of its models out: how sure it is, what it costs, what would make it surer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vfmseg.errors import StudyError
from vfmseg.studies.analysis_settings import CostKind, CountedImages, Setting
from vfmseg.studies.statistics.images import ImageCounts, image_influence
from vfmseg.studies.statistics.noise import ScoreNoise, image_noise, seed_and_image_noise, seed_noise
from vfmseg.studies.statistics.pareto import pareto_front
from vfmseg.studies.statistics.power import images_to_separate, seeds_to_separate
from vfmseg.studies.statistics.ranks import Ranking, rank_models
from vfmseg.studies.statistics.seeds import SeedTable, pooled_spread, summarize_seeds

MOST_PAIRS = 20
"""Models up to which all pairs are listed; of more, neighbours."""
_MOST_RANKED = 500
"""Models up to which ranks have confidence sets."""


@dataclass(frozen=True, kw_only=True)
class ModelScore:
    """One model in one setting."""

    model: str
    seeds: int
    mean: float
    """Over seeds, in 0..1."""
    sd: float | None
    """Sample standard deviation over seeds; None of one seed."""
    lower: float | None
    upper: float | None
    """Interval of this score alone; None where nothing is known of its error. Overlap says nothing about a difference."""
    rank: int
    """1 is best; equal scores share a rank."""
    best_rank: int | None
    worst_rank: int | None
    """With the confidence of the analysis, all true ranks at once lie within these; None where nothing is known."""
    may_be_best: bool | None
    costs: Mapping[str, float | None]
    """By column of the table, mean over seeds."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models in one setting, the better first."""

    first: str
    second: str
    difference: float
    lower: float | None
    upper: float | None
    """Interval that holds together with those of all pairs; None where nothing is known."""
    p: float | None
    """Of no difference, adjusted for all pairs."""
    is_separated: bool
    """The first is surely better."""
    seeds: int | None = None
    """Seeds of each model that would show this difference in four of five repetitions, were it the true one."""
    images: int | None = None
    """Images that would, with the same models; groups of images like these where images were resampled in groups."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """Which models are worth a look when both score and one cost count."""

    cost: str
    """Column of the table."""
    title: str
    unit: str
    models: tuple[str, ...]
    """No other is at least as good and as cheap, and better in one of the two. Best score first."""


@dataclass(frozen=True, kw_only=True)
class SettingRanking:
    """The models of one setting, best first."""

    name: str
    levels: Mapping[str, str]
    target: str | None
    is_reference: bool
    metric: str
    chance: str
    """What the sets leave to chance: ``seeds``, ``images``, ``seeds and images``; empty where nothing is known."""
    models: tuple[ModelScore, ...]
    pairs: tuple[Pair, ...]
    """All pairs, or of many models neighbours in rank."""
    groups: tuple[tuple[str, ...], ...]
    """Largest sets of models that cannot be told apart, best first."""
    fronts: tuple[Front, ...]
    missing: tuple[str, ...]
    """Models of the study without a score here."""
    notes: tuple[str, ...]
    """What cannot be said, and why, in sentences."""
    image_groups: int | None = None
    """In how many groups images were resampled; None: each by itself, or not at all."""


@dataclass(frozen=True, eq=False)
class RankedSetting:
    """A setting with its ranking, and what is known of the errors of its scores."""

    setting: Setting
    ranking: SettingRanking
    noise: ScoreNoise | None


def rank_setting(
    setting: Setting,
    results: Path,
    *,
    confidence: float,
    draws: int,
    reads_images: bool,
    no_sizes: str,
) -> RankedSetting:
    """Rank the models of a setting.

    Args:
        setting: At least one model.
        results: Folder of results, for the counts of images.
        confidence: Of all rank sets together, in 0..1.
        draws: Of errors; 0 makes no confidence sets.
        reads_images: Resample images, too, where runs hold their counts.
        no_sizes: Why it is not said how many seeds or images would separate neighbours; empty to say it.
    """
    table, notes = setting.table(), list[str]()
    noise, counted = _noise(setting, table, results, draws, reads_images, notes)
    ranked = None if noise is None else rank_models(noise, confidence=confidence)
    order = sorted(range(len(table.models)), key=lambda j: (-table.means[j], j))
    intervals = None
    if noise is not None:
        shares = [(1 - confidence) / 2, (1 + confidence) / 2]
        intervals = np.quantile(noise.plausible_scores(), shares, axis=0)
    costs = setting.costs() if setting.target is None else []
    summaries = summarize_seeds(table, confidence=confidence)
    models = tuple(
        ModelScore(
            model=table.models[j],
            seeds=summaries[j].n,
            mean=summaries[j].mean,
            sd=summaries[j].sd,
            lower=None if intervals is None else float(intervals[0, j]),
            upper=None if intervals is None else float(intervals[1, j]),
            rank=1 + int((table.means > table.means[j]).sum()),
            best_rank=None if ranked is None else int(ranked.best_ranks[j]),
            worst_rank=None if ranked is None else int(ranked.worst_ranks[j]),
            may_be_best=None if ranked is None else table.models[j] in ranked.possible_winners,
            costs={kind.key: setting.cost(table.models[j], kind.key) for kind in costs},
        )
        for j in order
    )
    if noise is not None and no_sizes:
        notes.append(no_sizes)
    seeds = {summary.n for summary in summaries}
    if len(seeds) > 1:
        notes.append(f"Models have between {min(seeds)} and {max(seeds)} seeds.")
    ranking = SettingRanking(
        name=setting.name,
        levels=setting.levels,
        target=setting.target,
        is_reference=setting.is_reference,
        metric=setting.metric,
        chance="" if noise is None else noise.source,
        models=models,
        pairs=_pairs(order, table, ranked, None if no_sizes else counted, not no_sizes, confidence),
        groups=() if ranked is None else ranked.groups,
        fronts=tuple(_front(setting, table, kind) for kind in costs),
        missing=setting.missing,
        notes=tuple(notes),
        image_groups=None if counted is None else counted.groups,
    )
    return RankedSetting(setting, ranking, noise)


def _noise(
    setting: Setting,
    table: SeedTable,
    results: Path,
    draws: int,
    reads_images: bool,
    notes: list[str],
) -> tuple[ScoreNoise | None, CountedImages | None]:
    """Return what is known of the errors: of seeds and images if both are there, or of what is; say why not."""
    if len(table.models) < 2:
        notes.append("A single model has a score here, so there is nothing to rank it against.")
        return None, None
    if len(table.models) > _MOST_RANKED or not draws:
        notes.append(
            f"{len(table.models)} models in so many settings are ranked by their means alone: confidence sets of all of "
            "them would take too long."
        )
        return None, None
    has_seeds = bool((table.counts > 1).any())
    if not has_seeds:
        notes.append(
            "Every model has one seed, so nothing is known of what another seed would change. Add seeds: "
            "`axes: {seed: [0, 1, 2]}`."
        )
    counted: CountedImages | str = "the study is too large for it"
    if reads_images:
        counted = setting.image_counts(results)
    if isinstance(counted, str):
        notes.append(f"Images were not resampled: {counted}.")
    else:
        try:
            make = seed_and_image_noise if has_seeds else image_noise
            noise = make(counted.counts, draws=min(draws, 4_000))
            notes += counted.notes
            return noise, counted
        except StudyError as error:
            notes.append(f"Images were not resampled. {error}")
    if has_seeds:
        try:
            return seed_noise(table, draws=draws), None
        except StudyError as error:
            notes.append(str(error))
    return None, None


def _pairs(
    order: list[int],
    table: SeedTable,
    ranked: Ranking | None,
    counted: CountedImages | None,
    says_sizes: bool,
    confidence: float,
) -> tuple[Pair, ...]:
    """Return all pairs of a few models, neighbours of many; sizes are of neighbours that are not separated."""
    places = range(len(order))
    reach = len(order) if len(order) <= MOST_PAIRS else 2
    spread = 0.0
    if says_sizes and (table.counts > 1).any():
        spread = pooled_spread(table).variance ** 0.5
    influence = None if counted is None else _influence(counted.counts)
    found = []
    for place in places:
        for other in range(place + 1, min(place + reach, len(order))):
            j, k = order[place], order[other]
            difference = float(table.means[j] - table.means[k])
            is_separated = ranked is not None and bool(ranked.is_better[j, k])
            seeds = images = None
            if says_sizes and other == place + 1 and not is_separated:
                if spread > 0:
                    seeds = seeds_to_separate(difference, spread, confidence=confidence).n
                sd = 0.0 if influence is None else float((influence[j] - influence[k]).std(ddof=1))
                if sd > 0:
                    images = images_to_separate(difference, sd, confidence=confidence).n
            found.append(
                Pair(
                    first=table.models[j],
                    second=table.models[k],
                    difference=difference,
                    lower=None if ranked is None else float(ranked.lower[j, k]),
                    upper=None if ranked is None else float(ranked.upper[j, k]),
                    p=None if ranked is None else float(ranked.adjusted_p[j, k]),
                    is_separated=is_separated,
                    seeds=seeds,
                    images=images,
                )
            )
    return tuple(found)


def _influence(counts: ImageCounts) -> np.ndarray:
    """Return (J, N) influence of images on the mean score of each model."""
    of_runs = image_influence(counts)
    return np.stack([of_runs[counts.model_of_run == j].mean(axis=0) for j in range(len(counts.models))])


def _front(setting: Setting, table: SeedTable, kind: CostKind) -> Front:
    costs = [setting.cost(model, kind.key) for model in table.models]
    front = pareto_front(table.models, table.means, np.array(costs, dtype=float))
    return Front(cost=kind.key, title=kind.title, unit=kind.unit, models=front.models)
