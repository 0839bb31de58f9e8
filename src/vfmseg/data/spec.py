"""What is known about a data set before any file is opened: layout, splits, classes and raw label values.

A data set is constants: :class:`DatasetSpec` says where the images and labels of each split lie inside the
files people download, and which class file in ``data/classes`` names the raw values of its labels.
Importing this module costs no torch and opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vfmseg.data.yaml_text import load_yaml
from vfmseg.errors import DataError, nearest
from vfmseg.types import IGNORE_INDEX, LabelSpace

if TYPE_CHECKING:
    from vfmseg.data.segment_spec import SegmentSpec

MAX_CLASSES = 254
"""Class ids are uint8: 255 is ignore and 254 marks raw values that no class has while they are looked up."""

CLASSES_FOLDER = Path(__file__).parent / "classes"
_SHOWN_PARTS: Final = 8


@dataclass(frozen=True)
class LabelMap:
    """Raw label values -> class ids ``0..K-1``; raw values it does not list are errors, never ignored."""

    label_space: LabelSpace
    raw_to_id: Mapping[int, int]
    """Raw value (0..65535) -> class id, or ``IGNORE_INDEX``."""
    colours: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    """RGB -> class id or ``IGNORE_INDEX``, for labels stored as RGB; empty where labels hold indices."""
    remedy: str = "These are not the labels as they were released: fetch them again."
    """What to do about other values, for messages."""
    channel: int | None = None
    """Of label files with several channels, the one that holds the raw values; None where they have one."""
    never_drawn: frozenset[int] = frozenset()
    """Raw values that are defined, but that no label of the data set holds."""

    @property
    def drawn_ids(self) -> frozenset[int]:
        """Ids of the classes that labels can hold."""
        by_value = {i for raw, i in self.raw_to_id.items() if raw not in self.never_drawn}
        return frozenset(by_value | set(self.colours.values())) - {IGNORE_INDEX}

    @property
    def raw_values(self) -> str:
        """The raw values allowed, as text for messages: ``0-33, 255``."""
        return format_ranges(sorted(self.raw_to_id))


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """Where one kind of file (images or labels) of one split lies."""

    archives: tuple[tuple[str, ...], ...]
    """Downloads that hold the files: all parts are needed; a part lists its alternative file names."""
    folder: str
    """Folder inside the archives, and below ``path`` once unpacked."""
    suffix: str
    """End of the file names; what stands before it must be equal for an image and its label."""
    prefix: str = ""
    """Start of the file names that an image and its label do not share."""
    subfolders: tuple[str, ...] = ()
    """Only these folders inside ``folder`` count, and each must hold files; empty: all that is inside."""
    other_folders: tuple[str, ...] = ()
    """Where other releases keep the same files, instead of in ``folder``."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Where the files may lie, the first that holds any is taken."""
        return (self.folder, *self.other_folders)


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """One split: its images, its labels and how they belong together."""

    images: FileSet
    labels: FileSet
    list_file: str = ""
    """Member that lists the stems of the split, one a line; empty where the folder is the split."""
    classes: str
    """Class file in ``data/classes``, without ``.yaml``."""
    onto: str = ""
    """Class file onto whose classes those of ``classes`` are mapped, by name; empty: they stay what they are."""
    ignored_values: tuple[int, ...] = ()
    """Raw values, beyond those of the class file, that mean "no class"."""
    resize_labels: bool = False
    """Resize a label of another size than its image (nearest) and count it; otherwise that is an error."""
    shares_labels: bool = False
    """Each subfolder of the images shows the same scenes, so that a label belongs to one image in each of them."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set: its splits and what a person wants to know before downloading it."""

    name: str
    title: str
    num_classes: int
    """K."""
    splits: Mapping[str, SplitSpec]
    licence: str
    homepage: str
    """Where the files are to be had."""
    segments: Mapping[str, Mapping[str, tuple[SegmentSpec, ...]]] = field(default_factory=dict)
    """Task (panoptic, instance) -> split -> what its segments are read from: the first of these that is there."""
    parts: Mapping[str, SplitSpec] = field(default_factory=dict)
    """Parts of the splits that can be asked for like a split: one weather, one corruption."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the labels can be read for; ``splits`` is empty where there are no semantic ones."""
        return (*(("semantic",) if self.splits else ()), *self.segments)

    @property
    def files(self) -> tuple[str, ...]:
        """First-choice names of all downloads, in order, each once; where possible those of the task semantic."""
        sets = [s for split in self.splits.values() for s in (split.images, split.labels)]
        names = [part[0] for s in sets for part in s.archives]
        if not names:
            ways = [way for task in self.segments.values() for split in task.values() for way in split]
            names = [name for way in ways for name in way.downloads]
        return tuple(dict.fromkeys(names))

    def split(self, name: str) -> SplitSpec:
        """Return one split.

        Raises:
            DataError: the data set has no such split; the message lists those it has.
        """
        known = {**self.splits, **self.parts}
        if name not in known:
            shown = list(self.parts)[:_SHOWN_PARTS]
            rest = f" and {len(self.parts) - len(shown)} more" if len(self.parts) > len(shown) else ""
            parts = f" Parts of them: {', '.join(shown)}{rest}." if shown else ""
            raise DataError(
                f"{self.title} has no split {name!r} with public labels. "
                f"Splits: {', '.join(self.splits)}.{parts}{nearest(name, known)}"
            )
        return known[name]

    def label_map(self, split: str) -> LabelMap:
        """Return raw label value -> class id for a split."""
        chosen = self.split(split)
        return read_label_map(chosen.classes, chosen.ignored_values, chosen.onto)


@cache
def read_label_map(classes: str, ignored_values: tuple[int, ...] = (), onto: str = "") -> LabelMap:
    """Read ``data/classes/<classes>.yaml`` into a label map.

    Raw values come from ``id``, class ids from ``train_id``; negative ids are never drawn and left out.

    Args:
        classes: the file that names the raw values.
        ignored_values: further raw values that mean "no class".
        onto: the file whose classes are wanted instead. A row of ``classes`` says in its key of that name which
            of them it counts as (null: none); without the key it is the one that is called the same.
    """
    path = CLASSES_FOLDER / f"{classes}.yaml"
    raw = load_yaml(path.read_text(encoding="utf-8"), str(path))
    rows = [row for row in raw["classes"] if row["id"] >= 0]
    if onto:
        space = read_label_map(onto).label_space
        ids = {name: class_id for class_id, name in enumerate(space.names)} | {None: IGNORE_INDEX}
        raw_to_id = {row["id"]: ids[row.get(onto, row["name"])] for row in rows}
    else:
        evaluated = sorted(
            (row for row in rows if row["train_id"] != IGNORE_INDEX), key=lambda r: r["train_id"]
        )
        space = LabelSpace(
            names=tuple(row["name"] for row in evaluated),
            colours=tuple((row["colour"][0], row["colour"][1], row["colour"][2]) for row in evaluated),
            is_thing=tuple(row["isthing"] for row in evaluated),
            category_ids=tuple(row["id"] for row in evaluated),
        )
        raw_to_id = {row["id"]: row["train_id"] for row in rows}
    raw_to_id.update(dict.fromkeys(ignored_values, IGNORE_INDEX))
    never_drawn = frozenset(raw.get("never_drawn", ()))
    return LabelMap(space, raw_to_id, channel=raw.get("channel"), never_drawn=never_drawn)


def format_ranges(values: list[int]) -> str:
    """Return sorted integers as text with runs joined: ``[0, 1, 2, 255]`` -> ``"0-2, 255"``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
