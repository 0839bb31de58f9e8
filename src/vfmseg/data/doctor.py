"""Somebody's images and labels -> a report of all that is wrong or worth knowing, before anything is trained."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vfmseg.data import catalog
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.data.doctor_duplicates import duplicate_findings
from vfmseg.data.doctor_findings import Wishes, file_findings
from vfmseg.data.doctor_label_findings import label_findings, no_names
from vfmseg.data.doctor_report import SEVERITIES, Finding, Report
from vfmseg.data.doctor_scan import scan
from vfmseg.data.doctor_tally import Classes, SplitTally, value_rows
from vfmseg.data.folder_finder import Finder
from vfmseg.data.folder_plan import plan_folder
from vfmseg.data.index import load_or_build_index
from vfmseg.data.layouts import ALL
from vfmseg.data.locate import plan_split
from vfmseg.data.pairing import Plan
from vfmseg.data.proposal import MAX_LABELS, propose_description
from vfmseg.data.sets import folder
from vfmseg.data.spec import LabelMap
from vfmseg.errors import DataError, LabelError
from vfmseg.types import LabelSpace

MIN_THREADS: Final = 2
"""One reads while the other decodes, whatever the number of cores."""

_SPLITS: Final = ("train", "val", "test")


def examine(
    path: str | Path,
    *,
    name: str = folder.NAME,
    splits: Sequence[str] = (),
    limit: int | None = None,
    allow_unpaired: bool = False,
    skip_bad: bool = False,
    skip_constant_labels: bool = False,
    num_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Look at every image and label of a data set once.

    Args:
        path: as in ``open_dataset``: the folder with the downloads; for ``folder`` a folder, archive or YAML file.
        name: one of ``catalog.DATASETS``.
        splits: which; by default those that are there.
        limit: look at no more than this many samples a split, evenly spread; None: at all.
        allow_unpaired: files without partner will be left out, so they are no errors.
        skip_bad: files that cannot be used will be left out, so they are no errors.
        skip_constant_labels: labels of one single value will be left out.
        num_threads: to read and decode with; None: one a core, two at least.
        progress: called now and then with the samples looked at so far and in all.

    Raises:
        ArchiveError: downloads are missing, wrong or damaged.
        DataError: unknown data set or split, mistakes in the YAML file, nothing that is an image with a label.
    """
    catalog.check_name(name)
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; at least 1 sample a split is looked at.")
    chosen = tuple(dict.fromkeys(splits)) or find_splits(path, name)
    wishes = Wishes(
        allow_unpaired=allow_unpaired,
        skip_bad=skip_bad,
        skip_constant_labels=skip_constant_labels,
        is_folder=name == folder.NAME,
        resizes_labels=name != folder.NAME and any(catalog.SPECS[name].split(s).resize_labels for s in chosen),
    )
    tallies = [_open_split(path, name, split, limit) for split in chosen]
    started_s = time.perf_counter()
    threads = num_threads or max(MIN_THREADS, os.cpu_count() or 0)
    _look(tallies, threads, progress)
    total = sum(tally.num_examined for tally in tallies)
    images_per_s = total / max(time.perf_counter() - started_s, 1e-9)
    classes = tallies[0].classes
    findings = [
        *file_findings(tallies, wishes),
        *label_findings(tallies, classes, wishes),
        *duplicate_findings(tallies),
        *([] if splits else _absent_splits(chosen)),
    ]
    proposal = ""
    if classes is None:
        proposal = _propose(tallies, str(path))
        findings.append(no_names(proposal, f"{Path(path).stem or 'dataset'}.yaml"))
    return Report(
        title=str(path) if name == folder.NAME else f"{catalog.SPECS[name].title} in {path}",
        class_names=() if classes is None else classes.names,
        splits=tuple(tally.facts() for tally in tallies),
        values=value_rows(tallies, classes),
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        proposal=proposal,
        images_per_s=images_per_s,
    )


def find_splits(path: str | Path, name: str = folder.NAME) -> tuple[str, ...]:
    """Return the splits that a data set has.

    Raises:
        ArchiveError: nothing is there, or it is damaged.
        DataError: mistakes in the YAML file or the lists; no images with labels.
    """
    if name != folder.NAME:
        return tuple(catalog.SPECS[name].splits)
    plan, _ = plan_folder(path, "train")
    if plan.patterns:
        found = set(plan.patterns)
    else:
        finder = Finder(plan.source, plan.source.list_members())
        found = {split for split in finder.list_file_splits() if finder.by_list_file(split)}
        found = found or {"train" if split == ALL else split for split in finder.layout.splits}
    if plan.val_fraction:
        found |= {"train", "val"}
    return tuple(split for split in _SPLITS if split in found) or ("train",)


def _open_split(path: str | Path, name: str, split: str, limit: int | None) -> SplitTally:
    """Find the samples of a split; unlike for training, files without partner and missing names are no obstacle."""
    label_map: LabelMap | None
    plan: Plan
    if name == folder.NAME:
        plan, description = plan_folder(path, split)
        label_map = None if description is None else description.label_map
    else:
        spec = catalog.SPECS[name]
        plan = plan_split(spec, path, split)
        label_map = spec.label_map(split)
    index = load_or_build_index(plan)
    dataset = SegmentationDataset(plan, index, label_map or LabelMap(LabelSpace((), (), ()), {}))
    num_examined = len(dataset) if limit is None else min(limit, len(dataset))
    return SplitTally(split, dataset, label_map and Classes(label_map), num_examined=num_examined)


def _look(tallies: Sequence[SplitTally], threads: int, progress: Callable[[int, int], None] | None) -> None:
    done, total = 0, sum(tally.num_examined for tally in tallies)
    for tally in tallies:
        chosen = np.linspace(0, len(tally.dataset) - 1, tally.num_examined).round().astype(int).tolist()
        for seen in scan(tally.dataset, chosen, num_threads=threads):
            tally.add(seen)
            done += 1
            if progress is not None:
                progress(done, total)


def _absent_splits(there: Sequence[str]) -> Iterator[Finding]:
    if "train" not in there:
        yield Finding(
            severity="info",
            code="no_train_split",
            what="there is no train split: models can be validated on these data, not trained",
            remedy="To train, name a folder train, list its files in train.txt, or give `train:` in a YAML file.",
        )
    if "val" not in there:
        yield Finding(
            severity="warning",
            code="no_val_split",
            what="there is no val split, so `vfmseg fit` cannot score what it learns",
            remedy="Name a folder val, list its files in val.txt, or write `val_fraction: 0.1` in the YAML file.",
        )


def _propose(tallies: Sequence[SplitTally], path: str) -> str:
    """Return a YAML description from labels that show every value met, as far as that many are enough."""

    def labels() -> Iterator[NDArray[np.uint8] | NDArray[np.uint16]]:
        for tally in tallies:
            for index in tally.first_seen[:MAX_LABELS]:
                try:
                    yield tally.dataset.read_raw_label(index)
                except LabelError as error:  # it could be read a moment ago
                    raise LabelError(f"{error} It has changed while it was examined.") from error

    if not any(tally.num_labels for tally in tallies):
        return ""
    return propose_description(path, labels())
