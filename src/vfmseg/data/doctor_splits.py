"""A data set's name and path -> the splits that are there, ready to be added up; and what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vfmseg.data import catalog
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.data.doctor_report import Finding
from vfmseg.data.doctor_tally import Classes, SplitTally
from vfmseg.data.folder_finder import Finder
from vfmseg.data.folder_plan import plan_folder
from vfmseg.data.index import load_or_build_index
from vfmseg.data.layouts import ALL
from vfmseg.data.locate import plan_split
from vfmseg.data.pairing import Plan
from vfmseg.data.sets import folder
from vfmseg.data.spec import LabelMap
from vfmseg.errors import ArchiveError, DataError
from vfmseg.types import LabelSpace

_SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which data set, from where; as ``open_dataset`` is told."""

    name: str
    path: Path
    allow_missing: bool = False
    val_fraction: float = 0.0

    def __post_init__(self) -> None:
        catalog.check_name(self.name)
        if self.val_fraction and not self.is_folder:
            raise DataError(f"val_fraction is for your own folders; {self.name} has its own splits.")

    @property
    def is_folder(self) -> bool:
        """Whether it is somebody's own data, which a YAML file may describe."""
        return self.name in (folder.NAME, catalog.SCENES_NAME)

    @property
    def title(self) -> str:
        """Name and path, for people."""
        return str(self.path) if self.is_folder else f"{catalog.SPECS[self.name].title} in {self.path}"


def find_splits(origin: Origin) -> tuple[str, ...]:
    """Return the splits that a data set has.

    Raises:
        ArchiveError: nothing is there, or it is damaged.
        DataError: mistakes in the YAML file or the lists; no images with labels.
    """
    if not origin.is_folder:
        return tuple(catalog.SPECS[origin.name].splits)
    plan, _ = plan_folder(origin.path, "train", val_fraction=origin.val_fraction)
    if plan.patterns:
        found = set(plan.patterns)
    else:
        finder = Finder(plan.source, plan.source.list_members())
        found = {split for split in finder.list_file_splits() if finder.by_list_file(split)}
        found = found or {"train" if split == ALL else split for split in finder.layout.splits}
    if plan.val_fraction:
        found |= {"train", "val"}
    # where there is none, looking for train says so
    return tuple(split for split in _SPLITS if split in found) or ("train",)


def open_splits(
    origin: Origin, splits: Sequence[str], *, limit: int | None, must_be_there: bool
) -> tuple[list[SplitTally], dict[str, str]]:
    """Find the samples of splits; files without partner and classes without names are no obstacle.

    Args:
        origin: the data set.
        splits: at least one.
        limit: of the samples to be looked at in each; None: all.
        must_be_there: all splits are needed; otherwise it is enough that the downloads of one are there.

    Returns:
        The splits, and split -> reason for those whose downloads are missing.

    Raises:
        ArchiveError: downloads are missing, wrong or damaged.
        DataError: mistakes in the YAML file, or a split that cannot be found.
    """
    tallies: list[SplitTally] = []
    absent: dict[str, ArchiveError] = {}
    for split in splits:
        try:
            tallies.append(_open(origin, split, limit))
        except ArchiveError as error:
            if must_be_there or origin.is_folder:
                raise
            absent[split] = error
    if not tallies:
        raise next(iter(absent.values()))
    return tallies, {split: str(error) for split, error in absent.items()}


def absent_splits(there: Sequence[str], absent: Mapping[str, str]) -> Iterator[Finding]:
    """Say what cannot be done without the splits that are not there.

    Args:
        there: the splits that are.
        absent: split -> why it is not there, where more is known than that.
    """
    if "train" not in there:
        yield Finding(
            severity="info",
            code="no_train_split",
            what="no train split: models can be validated on these data, not trained",
            remedy=absent.get("train")
            or "To train: name a folder train, list files in train.txt, or give `train:` in a YAML file.",
        )
    if "val" not in there:
        yield Finding(
            severity="error",
            code="no_val_split",
            what="no val split, so `vfmseg fit` could not score what it learns",
            remedy=absent.get("val")
            or "Name a folder val, list files in val.txt, or take a share of the images: "
            "--data.val_fraction 0.1",
        )


def _open(origin: Origin, split: str, limit: int | None) -> SplitTally:
    label_map: LabelMap | None
    plan: Plan
    resizes_labels = False
    if origin.is_folder:
        plan, description = plan_folder(origin.path, split, val_fraction=origin.val_fraction)
        label_map = None if description is None else description.label_map
    else:
        spec = catalog.SPECS[origin.name]
        plan = plan_split(spec, origin.path, split, allow_missing=origin.allow_missing)
        label_map = spec.label_map(split)
        resizes_labels = spec.split(split).resize_labels
    index = load_or_build_index(plan)
    dataset = SegmentationDataset(plan, index, label_map or LabelMap(LabelSpace((), (), ()), {}))
    return SplitTally(
        split,
        dataset,
        None if label_map is None else Classes(label_map),
        num_examined=len(dataset) if limit is None else min(limit, len(dataset)),
        resizes_labels=resizes_labels,
    )
