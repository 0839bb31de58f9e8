"""A data set's name, path, split and task -> what its segments are read from and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfmseg.data import catalog
from vfmseg.data.annotations import is_constant
from vfmseg.data.coco_json import read_instances, read_panoptic
from vfmseg.data.folder_coco import draw_rows, plan_coco_folder
from vfmseg.data.folder_instances import FolderInstancesPlan
from vfmseg.data.folder_plan import plan_folder
from vfmseg.data.index import Index, load_or_build_index
from vfmseg.data.json_plan import JsonPlan, load_or_build
from vfmseg.data.locate import plan_split
from vfmseg.data.opened import Opened, check_task, open_semantic
from vfmseg.data.panoptic_pngs import PanopticPngs, segment_arrays
from vfmseg.data.segment_locate import is_there, plan_json
from vfmseg.data.segment_maps import CityscapesInstanceIds, InstancePixels, NumberedInstances, ThingsOnly
from vfmseg.data.segment_spec import InstanceIds, JsonSegments, JsonShapes, SegmentSpec, StuffAndThings
from vfmseg.data.segments import Annotator, LabelFiles
from vfmseg.data.sets import folder
from vfmseg.data.shapes import Shapes, shape_arrays
from vfmseg.data.spec import DatasetSpec, LabelMap, read_label_map
from vfmseg.data.stuff_and_things import StuffAndThingsImages
from vfmseg.errors import DataError, nearest


def open_task(
    name: str,
    path: str | Path,
    split: str,
    task: str,
    *,
    allow_missing: bool,
    val_fraction: float,
    seed: int,
) -> Opened:
    """Find what one split is read from for a task.

    Raises:
        ArchiveError: downloads are missing, wrong or damaged.
        DataError: no such data set or split, no labels for this task, contradicting annotations.
    """
    catalog.check_name(name)
    check_task(name, task)
    is_own = name in (folder.NAME, catalog.SCENES_NAME)
    if val_fraction and not is_own:
        raise DataError(f"val_fraction is for your own folders; {name} has its own splits.")
    if task == "semantic":
        return open_semantic(
            name, path, split, allow_missing=allow_missing, val_fraction=val_fraction, seed=seed
        )
    if is_own:
        return _open_own(path, split, task, val_fraction=val_fraction, seed=seed)
    return _open_known(catalog.SPECS[name], path, split, task)


def _open_own(path: str | Path, split: str, task: str, *, val_fraction: float, seed: int) -> Opened:
    """Own data: a COCO JSON if there is one, else masks with instance numbers beside them."""
    draws_val = val_fraction > 0 and split in ("train", "val")
    coco = plan_coco_folder(path, "train" if draws_val else split, task, draws_val=draws_val)
    if coco is None:
        return _open_numbered(path, split, task, val_fraction=val_fraction, seed=seed)
    opened = _things_for(task, open_json(coco.plan, coco.label_map, is_panoptic=coco.is_panoptic))
    return _draw(opened, split, val_fraction, seed) if draws_val else opened


def _open_known(spec: DatasetSpec, path: str | Path, split: str, task: str) -> Opened:
    splits = spec.segments[task]
    if split not in splits:
        raise DataError(
            f"{spec.title} has no split {split!r} with public labels for the task {task}. "
            f"Splits: {', '.join(splits)}.{nearest(split, splits)}"
        )
    way = _choose(splits[split], path)
    if isinstance(way, JsonSegments | JsonShapes):
        opened = _open_json(spec, way, path, split)
    elif isinstance(way, InstanceIds):
        plan = plan_split(replace(spec, splits={split: way.split}), path, split)
        ids = CityscapesInstanceIds(read_label_map(way.split.classes))
        opened = Opened(plan, load_or_build_index(plan), ids.label_map, ids)
    else:
        opened = _open_stuff_and_things(spec, way, path, split)
    return _things_for(task, opened)


def _draw(opened: Opened, split: str, val_fraction: float, seed: int) -> Opened:
    """Divide the images of train into train and val."""
    rows = draw_rows(len(opened.index), split, val_fraction, seed)
    sentence = f"{opened.index.sentence} Of these {len(rows)} (val_fraction {val_fraction:g}, seed {seed})."
    index = replace(opened.index.keep(rows, ()), sentence=sentence)
    annotator = opened.annotator
    return replace(opened, index=index, annotator=None if annotator is None else annotator.take(rows))


def _open_json(spec: DatasetSpec, way: JsonSegments | JsonShapes, path: str | Path, split: str) -> Opened:
    plan = plan_json(spec, way, path, split)
    label_map = read_label_map(way.classes)
    return open_json(plan, label_map, is_panoptic=isinstance(way, JsonSegments))


def open_json(plan: JsonPlan, label_map: LabelMap, *, is_panoptic: bool) -> Opened:
    """Read the segments of a JSON, or take them from the cache."""
    known = label_map.raw_to_id
    read, arrays_of = (read_panoptic, segment_arrays) if is_panoptic else (read_instances, shape_arrays)
    index, table = load_or_build(
        plan,
        lambda data: read(data, known, plan.json_title),
        arrays_of,
        f"{'panoptic' if is_panoptic else 'instance'} {sorted(known.items())}",
    )
    annotator = (PanopticPngs if is_panoptic else Shapes)(label_map.label_space, table)
    return Opened(plan, index, label_map, annotator)


def _open_stuff_and_things(spec: DatasetSpec, way: StuffAndThings, path: str | Path, split: str) -> Opened:
    """ADE20K: two label images for each image; one index each."""
    semantic, instances = way.semantic, replace(way.semantic, labels=way.instances)
    plan = plan_split(replace(spec, splits={split: semantic}), path, split)
    other = plan_split(replace(spec, splits={split: instances}, homepage=way.homepage), path, split)
    index, numbers = align(load_or_build_index(plan), load_or_build_index(other))
    label_map = read_label_map(semantic.classes, semantic.ignored_values)
    pixels = InstancePixels(numbers, other.sources)
    return Opened(plan, index, label_map, StuffAndThingsImages(label_map, semantic.classes, pixels))


def _things_for(task: str, opened: Opened) -> Opened:
    """Leave out stuff where the task is to find instances."""
    annotator = opened.annotator
    if task == "instance" and annotator is not None and not all(annotator.label_space.is_thing):
        return replace(opened, annotator=ThingsOnly(annotator))
    return opened


def _choose(ways: Sequence[SegmentSpec], path: str | Path) -> SegmentSpec:
    """Return the first way whose files are there; the last one will say what is missing."""
    for way in ways[:-1]:
        if isinstance(way, JsonSegments | JsonShapes) and is_there(way, path):
            return way
    return ways[-1]


def align(index: Index, other: Index) -> tuple[Index, Index]:
    """Return both without the samples that the other does not have; what was left out is listed in the first."""
    names = {name: row for row, name in enumerate(other.names)}
    rows = np.array([names.get(name, -1) for name in index.names], np.int64)
    kept = np.flatnonzero(rows >= 0)
    if len(kept) == len(index) == len(other) and (rows == kept).all():
        skipped = [file for file in other.skipped if file not in index.skipped]
        return (index.keep(kept, skipped) if skipped else index), other
    lost = [file for file in other.skipped if file not in index.skipped]
    return index.keep(kept, lost), other.keep(rows[kept], ())


def rows_kept(index: Index, whole: Index) -> NDArray[np.int64]:
    """Return which rows of ``whole`` an index made by leaving out some of them still has."""
    names = {name: row for row, name in enumerate(whole.names)}
    return np.fromiter((names[name] for name in index.names), np.int64, len(index))


def why_without_segments(annotator: Annotator, row: int, files: LabelFiles) -> str:
    """Return why published loaders leave out a sample, or an empty string.

    They leave out label images of one single value, and images without any segment.
    """
    count = annotator.num_segments(row)
    if count is not None:
        return "" if count else "no segment is annotated"
    if is_constant(files.read_raw_label(row)):
        return "its label has one single value"
    classes = annotator.targets(row, files).segment_classes
    return "" if classes is not None and len(classes) else "it has no segment"


def _open_numbered(path: str | Path, split: str, task: str, *, val_fraction: float, seed: int) -> Opened:
    plan, description = plan_folder(path, split, val_fraction=val_fraction, seed=seed)
    if description is None:
        raise DataError(
            f"{plan.title}: the classes have no names yet. Open it once for the task semantic, which proposes a "
            f"YAML file; say there which classes are things (`things: [...]`)."
        )
    things = [n for n, t in zip(*_names_and_things(description.label_map), strict=True) if t]
    if not things:
        raise DataError(
            f"{plan.title}: no class is a thing, so there are no instances to tell apart. List the countable "
            f"classes under `things:` in the YAML file. Classes: "
            f"{', '.join(description.label_map.label_space.names)}."
        )
    index = load_or_build_index(plan)
    numbers_plan = FolderInstancesPlan(plan)
    index, numbers = align(index, load_or_build_index(numbers_plan))
    pixels = InstancePixels(numbers, numbers_plan.sources)
    annotator = NumberedInstances(description.label_map, pixels)
    return _things_for(task, Opened(plan, index, description.label_map, annotator))


def _names_and_things(label_map: LabelMap) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    return label_map.label_space.names, label_map.label_space.is_thing
