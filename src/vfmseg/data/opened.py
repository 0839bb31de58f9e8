"""A data set's name, path and split -> what its samples are read from; here for the task semantic."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from vfmseg.data import catalog
from vfmseg.data.folder_plan import plan_folder
from vfmseg.data.index import Index, load_or_build_index
from vfmseg.data.locate import plan_split
from vfmseg.data.pairing import ReadFrom
from vfmseg.data.segments import TASKS, Annotator
from vfmseg.data.sets import folder
from vfmseg.data.spec import LabelMap
from vfmseg.errors import DataError, nearest

logger = logging.getLogger(__name__)

_SHOWN = 3


@dataclass(frozen=True)
class Opened:
    """All that a data set is made of."""

    plan: ReadFrom
    index: Index
    label_map: LabelMap | None
    """The classes that the labels are read with (the annotator's may be fewer); None where nobody named them."""
    annotator: Annotator | None = None
    """What reads segments; None for the task semantic."""
    resize_labels: bool = False
    """Labels of another size than their image are resized, as published code does for this data set."""


def check_task(name: str, task: str) -> None:
    """Raise if a data set cannot be asked for a task.

    Raises:
        DataError: unknown task, or one for which the data set has no labels; those it has are listed.
    """
    if task not in TASKS:
        raise DataError(f"There is no task {task!r}. Tasks: {', '.join(TASKS)}.{nearest(task, TASKS)}")
    known = catalog.tasks_of(name)
    if task not in known:
        others = [other for other in catalog.DATASETS if task in catalog.tasks_of(other)]
        raise DataError(
            f"{catalog.DATASETS[name].title} has no labels for the task {task}. It has: {', '.join(known)}. "
            f"Data sets with {task} labels: {', '.join(others)}."
        )


def open_semantic(
    name: str, path: str | Path, split: str, *, allow_missing: bool, val_fraction: float, seed: int
) -> Opened:
    """Find the images and label images of one split.

    Raises:
        ArchiveError: downloads are missing, wrong or damaged.
        DataError: no such split, or one that cannot be told apart.
    """
    if name in (folder.NAME, catalog.SCENES_NAME):
        own, description = plan_folder(path, split, val_fraction=val_fraction, seed=seed)
        return Opened(own, load_or_build_index(own), None if description is None else description.label_map)
    spec = catalog.SPECS[name]
    plan = plan_split(spec, path, split, allow_missing=allow_missing)
    resize = spec.split(split).resize_labels
    return Opened(plan, load_or_build_index(plan), spec.label_map(split), resize_labels=resize)


def check_index(index: Index, plan: ReadFrom, *, allow_unpaired: bool) -> None:
    """Raise if files have no partner, unless that is allowed, or if no pair is left.

    Raises:
        DataError: the first of the files are named, with what is wrong with each.
    """
    if index.skipped and not allow_unpaired:
        first = "; ".join(f"{file.name} {file.reason}" for file in index.skipped[:_SHOWN])
        raise DataError(
            f"{plan.title}: {len(index.skipped)} files have no partner, beside {len(index)} pairs: {first}"
            f"{'; ...' if len(index.skipped) > _SHOWN else ''}. Complete the files, or leave these out with "
            "allow_unpaired: true."
        )
    if not len(index):
        raise DataError(f"{plan.title} is empty: no image has a label. {index.sentence}")
    if index.skipped:
        logger.warning("%s: %d files without partner left out.", plan.title, len(index.skipped))
