"""The table of a study in, its settings out: which models were scored in each, how well, and at what cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfmseg.studies.folder import TARGETS, trial_folder
from vfmseg.studies.image_groups import group_images
from vfmseg.studies.plan_file import Plan
from vfmseg.studies.statistics.images import MIN_IMAGES, ImageCounts, pooled_scores
from vfmseg.studies.statistics.seeds import SeedTable, seed_table
from vfmseg.studies.store import Row
from vfmseg.studies.study_file import SEED

IMAGE_COUNTS = "image_counts.npz"
_MOST_COUNTS = 10_000_000
"""Numbers of one kind that are held at once: 80 MB."""


@dataclass(frozen=True)
class CostKind:
    """Something that a model costs; less is better."""

    key: str
    """Column of the table."""
    title: str
    unit: str


COSTS = (
    CostKind("cost/seconds_alone", "Time of a trial", "s"),
    CostKind("cost/gpu_hours_alone", "GPU hours", "h"),
    CostKind("cost/cpu_hours_alone", "CPU hours", "h"),
    CostKind("cost/energy_kwh", "Energy", "kWh"),
    CostKind("peak_memory_gib", "Peak memory", "GiB"),
    CostKind("parameters_total", "Parameters", ""),
    CostKind("parameters_trainable", "Trainable parameters", ""),
    CostKind("gflops", "GFLOPs", ""),
    CostKind("latency_ms", "Latency", "ms"),
)


@dataclass(frozen=True, eq=False)
class CountedImages:
    """What each run of a setting counted on images, or on groups of them that are resampled together."""

    counts: ImageCounts
    groups: int | None
    """How many groups; None where each image is by itself."""
    notes: tuple[str, ...]
    """What is to be said of the groups, in sentences."""


@dataclass(frozen=True, eq=False)
class Setting:
    """One way of training and scoring under which models are ranked: levels of the other axes, and maybe a target."""

    name: str
    """Its levels in a word each, and the target; unique in the study."""
    levels: Mapping[str, str]
    target: str | None
    """None: the validation of the trial's own data."""
    is_reference: bool
    metric: str
    """What models are ranked by, such as ``miou``; higher is better."""
    runs: Mapping[str, tuple[Row, ...]]
    """Model -> its rows that have a score, by seed."""
    missing: tuple[str, ...]
    """Models of the study without a score here."""
    image_groups: str = ""
    """As in the study file."""

    @property
    def column(self) -> str:
        """The column of the score."""
        return _column(self.metric, self.target)

    @property
    def models(self) -> tuple[str, ...]:
        """Those with a score, in the order of the axis."""
        return tuple(self.runs)

    def table(self) -> SeedTable:
        """Return the scores, models by seeds; seeds are numbered in the order of the study."""
        seeds = {label: n for n, label in enumerate(dict.fromkeys(map(_seed, self._rows())))}
        return seed_table(
            (model, seeds[_seed(row)], float(row[self.column]))
            for model, rows in self.runs.items()
            for row in rows
        )

    def cost(self, model: str, key: str) -> float | None:
        """Return the mean of a cost over the seeds of a model; None where a run does not say."""
        return mean_of(self.runs[model], key)

    def costs(self) -> list[CostKind]:
        """Return the costs that are known of every model and that differ from zero for one."""
        found = []
        for kind in COSTS:
            values = [self.cost(model, kind.key) for model in self.models]
            if values and all(value is not None for value in values) and any(values):
                found.append(kind)
        return found

    def image_counts(self, results: Path) -> CountedImages | str:
        """Return what each run counted on each image, or on each group of images, or why that is not known.

        Args:
            results: folder of results.
        """
        if self.metric != "miou":
            return f"only semantic trials keep counts of images ({IMAGE_COUNTS})"
        parts: list[NDArray[np.float64]] = []
        model_of_run: list[int] = []
        names: list[str] | None = None
        for place, model in enumerate(self.models):
            for row in self.runs[model]:
                folder = trial_folder(results, str(row["id"]))
                path = (folder if self.target is None else folder / TARGETS / self.target) / IMAGE_COUNTS
                if not path.is_file():
                    return f"{_named(row)} holds no counts of images ({IMAGE_COUNTS})"
                with np.load(path) as file:
                    own = file["names"].tolist()
                    part = np.stack([file["intersections"], file["unions"]]).astype(np.float64)
                if names is not None and own != names:
                    return f"{_named(row)} was scored on other images than the first run"
                if parts and part.shape != parts[0].shape:
                    return f"{_named(row)} was scored on other classes than the first run"
                names = own
                if part.size // 2 * (len(parts) + 1) > _MOST_COUNTS:
                    return f"there are more than {_MOST_COUNTS:,} counts of images"
                parts.append(part)
                model_of_run.append(place)
        together = np.stack(parts, axis=1)  # 2 T N K
        counts = ImageCounts(
            models=self.models,
            model_of_run=np.array(model_of_run),
            intersections=together[0],
            unions=together[1],
        )
        scores = [float(row[self.column]) for row in self._rows()]
        if not np.allclose(pooled_scores(counts), scores, atol=1e-6):
            return "the scores are not the means over classes that the counts of images give"
        return _grouped(counts, names or [], self.image_groups)

    def _rows(self) -> Iterable[Row]:
        return (row for rows in self.runs.values() for row in rows)


def settings_of(plan: Plan, rows: Sequence[Row]) -> list[Setting]:
    """Return the settings in which a model was scored, the reference first, then in the order of the study.

    A target is a setting of its own: the ranking there may differ from that on the data of training.
    """
    models = list(dict.fromkeys(str(row[f"axis.{plan.ranked}"]) for row in rows if not row["prepares"]))
    of_levels: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if not row["prepares"]:
            of_levels.setdefault(tuple(row[f"axis.{axis}"] for axis in plan.setting_axes), []).append(row)
    found = []
    for labels, own in of_levels.items():
        done = [row for row in own if row["status"] == "done"]
        metric = next((headline(row) for row in done if headline(row)), None)
        if metric is None:
            continue
        levels = dict(zip(plan.setting_axes, labels, strict=True))
        for target in (None, *plan.targets):
            column = _column(metric, target)
            runs: dict[str, list[Row]] = {model: [] for model in models}
            for row in done:
                if _is_score(row.get(column)):
                    runs[str(row[f"axis.{plan.ranked}"])].append(row)
            scored = {model: tuple(rows) for model, rows in runs.items() if rows}
            if scored:
                missing = tuple(model for model in models if model not in scored)
                is_reference = target is None and levels == dict(plan.reference)
                name = _name(labels, target)
                found.append(
                    Setting(name, levels, target, is_reference, metric, scored, missing, plan.image_groups)
                )
    return sorted(found, key=lambda one: not one.is_reference)


def _grouped(counts: ImageCounts, names: Sequence[str], pattern: str) -> CountedImages | str:
    """Return the counts of groups, where the study says which images belong together."""
    if not pattern:
        return CountedImages(counts, None, ())
    found = group_images(names, pattern)
    images = _count(len(names), "image")
    if found.matches_none:
        note = f"No image matches the study's image_groups, such as {names[0]}: images were resampled one by one."
        return CountedImages(counts, None, (note,))
    missed = ""
    if found.unmatched:
        missed = (
            f"{len(found.unmatched):,} of {images} do not match the study's image_groups, such as "
            f"{found.unmatched[0]}: each is a group of its own"
        )
    if found.num_groups < MIN_IMAGES:
        groups = _count(found.num_groups, "group")
        few = f"{images} in {groups} are too few groups; {MIN_IMAGES} are the least, 100 better"
        return f"{few}. {missed}" if missed else few
    said = f"Images were resampled in groups: {images} in {found.num_groups:,} groups."
    return CountedImages(
        counts.grouped(found.labels), found.num_groups, (said, f"{missed}.") if missed else (said,)
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def headline(row: Row) -> str | None:
    """Return the number that a run is judged by, such as ``miou``: ``result.json`` says it as ``best/miou``."""
    return next((key.removeprefix("best/") for key in row if key.startswith("best/")), None)


def mean_of(rows: Iterable[Row], column: str) -> float | None:
    """Return the mean of a column; None where a row has no number in it."""
    values = [row.get(column) for row in rows]
    numbers = [float(value) for value in values if value is not None and _is_score(value)]
    return statistics.fmean(numbers) if numbers and len(numbers) == len(values) else None


def _name(labels: Sequence[str], target: str | None) -> str:
    levels = " ".join(labels)
    if target is None:
        return levels or "validation"
    return f"{levels} on {target}" if levels else target


def _column(metric: str, target: str | None) -> str:
    return f"val/{metric}" if target is None else f"target/{target}/val/{metric}"


def _seed(row: Row) -> str:
    return str(row.get(f"axis.{SEED}", ""))


def _named(row: Row) -> str:
    return f"trial {row['id']}"


def _is_score(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
