"""Images and labels -> a report of all that is wrong or worth knowing, before anything is trained."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vfmseg.data import catalog
from vfmseg.data.doctor_duplicates import duplicate_findings
from vfmseg.data.doctor_findings import Wishes, file_findings
from vfmseg.data.doctor_label_findings import label_findings, no_names
from vfmseg.data.doctor_report import SEVERITIES, Report
from vfmseg.data.doctor_scan import scan
from vfmseg.data.doctor_segments import examine_segments
from vfmseg.data.doctor_splits import Origin, absent_splits, find_splits, open_splits
from vfmseg.data.doctor_tally import SplitTally, value_rows
from vfmseg.data.proposal import MAX_LABELS, propose_description
from vfmseg.data.sets import folder
from vfmseg.errors import DataError

MIN_THREADS: Final = 2
"""One reads while the other decodes, whatever the number of cores."""


def examine(
    path: str | Path,
    *,
    name: str = folder.NAME,
    task: str | None = None,
    splits: Sequence[str] = (),
    limit: int | None = None,
    allow_unpaired: bool = False,
    skip_bad: bool = False,
    skip_constant_labels: bool = False,
    allow_missing: bool = False,
    val_fraction: float = 0.0,
    num_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Look at every image and label of a data set once.

    Args:
        path: the folder with the downloads; for ``folder`` a folder, archive or YAML file.
        name: one of ``catalog.DATASETS``.
        task: whose labels are looked at; None: semantic ones, or the first others where there are none.
        splits: which; by default those that are there.
        limit: look at no more than this many samples a split, evenly spread; None: at all.
        allow_unpaired: files without partner will be left out, so they are no errors.
        skip_bad: files that cannot be used will be left out, so they are no errors.
        skip_constant_labels: labels of one single value will be left out.
        allow_missing: of downloads in parts (GTA V), look at those that are there.
        val_fraction: only ``folder`` without a val split: share of the images to validate on.
        num_threads: to read and decode with; None: one a core, two at least.
        progress: called now and then with the samples looked at so far and in all.

    Raises:
        ArchiveError: downloads are missing, wrong or damaged.
        DataError: unknown data set or split, mistakes in the YAML file, no image with a label anywhere.
    """
    origin = Origin(name=name, path=Path(path), allow_missing=allow_missing, val_fraction=val_fraction)
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; at least 1 sample a split is looked at.")
    threads = num_threads or max(MIN_THREADS, os.cpu_count() or 0)
    task = catalog.tasks_of(name)[0] if task is None else task
    if task != "semantic":
        return examine_segments(
            path,
            name=name,
            task=task,
            splits=splits,
            limit=limit,
            allow_unpaired=allow_unpaired,
            skip_bad=skip_bad,
            val_fraction=val_fraction,
            num_threads=threads,
            progress=progress,
        )
    chosen = tuple(dict.fromkeys(splits)) or find_splits(origin)
    wishes = Wishes(
        allow_unpaired=allow_unpaired,
        skip_bad=skip_bad,
        skip_constant_labels=skip_constant_labels,
        is_folder=origin.is_folder,
    )
    tallies, absent = open_splits(origin, chosen, limit=limit, must_be_there=bool(splits))
    started_s = time.perf_counter()
    _look(tallies, threads, progress)
    total = sum(tally.num_examined for tally in tallies)
    images_per_s = total / max(time.perf_counter() - started_s, 1e-9)
    classes = tallies[0].classes
    findings = [
        *file_findings(tallies, wishes),
        *label_findings(tallies, classes, wishes),
        *duplicate_findings(tallies),
        *([] if splits else absent_splits([tally.split for tally in tallies], absent)),
    ]
    proposal = ""
    if classes is None:
        proposal = _propose(tallies, str(path))
        findings.append(no_names(proposal, _free_name(Path(path))))
    return Report(
        title=origin.title,
        class_names=() if classes is None else classes.names,
        splits=tuple(tally.facts() for tally in tallies),
        values=value_rows(tallies, classes),
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        proposal=proposal,
        images_per_s=images_per_s,
    )


def _look(tallies: Sequence[SplitTally], threads: int, progress: Callable[[int, int], None] | None) -> None:
    done, total = 0, sum(tally.num_examined for tally in tallies)
    for tally in tallies:
        chosen = np.linspace(0, len(tally.dataset) - 1, tally.num_examined).astype(int).tolist()
        for seen in scan(tally.dataset, chosen, num_threads=threads):
            tally.add(seen)
            done += 1
            if progress is not None:
                progress(done, total)


def _propose(tallies: Sequence[SplitTally], path: str) -> str:
    """Return a YAML description from some labels, those that show a value for the first time among them."""

    def labels() -> Iterator[NDArray[np.uint8] | NDArray[np.uint16]]:
        for tally in tallies:
            spread = np.linspace(0, tally.num_labels - 1, min(MAX_LABELS, tally.num_labels)).astype(int)
            some = (tally.readable[i] for i in spread)
            for index in dict.fromkeys((*tally.first_seen[:MAX_LABELS], *some)):
                yield tally.dataset.read_raw_label(index)

    return propose_description(path, labels()) if any(tally.num_labels for tally in tallies) else ""


def _free_name(path: Path) -> str:
    """Return the name of a YAML file for these data that is not there yet where the user is."""
    stem = path.resolve().name.partition(".")[0] or "dataset"
    return next(
        name for i in count(1) if not Path(name := f"{stem}{'' if i == 1 else f'_{i}'}.yaml").exists()
    )
