"""The observations of a split, one by one -> its sums: values, sizes, times, and the files that stand out."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vfmseg.data.annotations import pack_colour, unpack_colour
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.data.doctor_report import Place, SplitFacts, ValueRow
from vfmseg.data.doctor_scan import LabelKind, Observation
from vfmseg.data.spec import LabelMap, format_ranges
from vfmseg.types import IGNORE_INDEX, Size

MAX_COLOURS: Final = 4096
"""Colours counted one by one; labels that hold more hold no classes."""

_SHOWN_VALUES: Final = 4

Oddity = Literal[
    "image_unreadable", "label_unreadable", "label_jpeg", "size", "size_known", "size_turned", "exif_applied",
    "exif_unclear", "exif_unused",
    "unknown", "colours_unnamed", "colours_grey", "colours", "palette", "void", "constant",
]  # fmt: skip
"""What may be odd about one sample."""


class Classes:
    """What the raw values mean: a label map, looked up value by value."""

    def __init__(self, label_map: LabelMap) -> None:
        self.label_map = label_map
        self.names = label_map.label_space.names
        self._of_colour = {pack_colour(colour): i for colour, i in label_map.colours.items()}

    @property
    def has_colours(self) -> bool:
        """Whether labels stored as RGB can be read."""
        return bool(self._of_colour)

    def of(self, code: int, *, is_colour: bool) -> int | None:
        """Return the class of a raw value, ``IGNORE_INDEX``, or None where no class has it."""
        return (self._of_colour if is_colour else self.label_map.raw_to_id).get(code)


class SplitTally:
    """One split, added up while its samples pass by."""

    def __init__(
        self,
        split: str,
        dataset: SegmentationDataset,
        classes: Classes | None,
        *,
        num_examined: int,
        resizes_labels: bool = False,
    ) -> None:
        self.split = split
        self.dataset = dataset
        self.classes = classes
        """None where the classes have no names yet."""
        self.num_examined = num_examined
        self.resizes_labels = resizes_labels
        """Labels of other sizes are known and resized, as published code does for this data set."""
        self.oddities: defaultdict[Oddity, list[Place]] = defaultdict(list)
        self.pixels: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
        """Is it a colour -> pixels of each raw value."""
        self.images: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
        """Is it a colour -> labels that hold each raw value."""
        self.has_more_colours = False
        """Colours beyond ``MAX_COLOURS`` were met, and not counted."""
        self.readable: list[int] = []
        """Samples whose label was counted."""
        self.num_colour_labels = 0
        """Of those, how many are stored as RGB."""
        self.first_seen: list[int] = []
        """Samples in which some value was met for the first time."""
        self.digests: dict[int, bytes] = {}
        """Sample -> what its image file is known by."""
        self.hashes: dict[int, bytes] = {}
        """Sample -> what its picture looks like, unless it is flat."""
        self._sizes: Counter[Size] = Counter()
        self._read_s = 0.0
        self._decode_s = 0.0

    def add(self, seen: Observation) -> None:
        """Take one sample into account."""
        self._read_s += seen.read_s
        self._decode_s += seen.decode_s
        if seen.digest:
            self.digests[seen.index] = seen.digest
        if seen.difference_hash:
            self.hashes[seen.index] = seen.difference_hash
        if seen.image_problem:
            self._note("image_unreadable", seen, seen.image_problem)
        if seen.label_problem:
            self._note("label_unreadable", seen, seen.label_problem, of_label=True)
        if seen.kind == "jpeg":
            self._note("label_jpeg", seen, of_label=True)
        if seen.image_size is not None:
            self._sizes[seen.image_size] += 1
            self._add_size(seen, seen.image_size)
        if seen.codes:
            self._add_values(seen)

    @property
    def num_labels(self) -> int:
        """Labels whose values were counted."""
        return len(self.readable)

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return self.dataset.index.images.name(index)

    def meaning(self, code: int, *, is_colour: bool) -> tuple[int, str]:
        """Return the class of a raw value and its name; of what is no class, a number behind all classes."""
        if self.classes is None:
            return IGNORE_INDEX + 1, "(no name yet)"
        class_id = self.classes.of(code, is_colour=is_colour)
        if class_id is None:
            return IGNORE_INDEX + 1, "(no class)"
        return class_id, "(ignored)" if class_id == IGNORE_INDEX else self.classes.names[class_id]

    def facts(self) -> SplitFacts:
        """Return the sums."""
        looked_at = self.num_examined or float("nan")
        return SplitFacts(
            split=self.split,
            sentence=self.dataset.sentence,
            num_samples=len(self.dataset),
            num_examined=self.num_examined,
            ignored_share=self._ignored_share(),
            read_ms=1000 * self._read_s / looked_at,
            decode_ms=1000 * self._decode_s / looked_at,
            sizes=tuple(self._sizes.most_common()),
        )

    def class_pixels(self) -> NDArray[np.int64]:
        """Return (K,) pixels of each class."""
        assert self.classes is not None
        totals = np.zeros(len(self.classes.names), np.int64)
        for is_colour, pixels in self.pixels.items():
            for code, count in pixels.items():
                class_id = self.classes.of(code, is_colour=is_colour)
                if class_id is not None and class_id != IGNORE_INDEX:
                    totals[class_id] += count
        return totals

    def _ignored_share(self) -> float:
        total = sum(pixels.total() for pixels in self.pixels.values())
        if self.classes is None or not total:
            return float("nan")
        ignored = sum(
            count
            for is_colour, pixels in self.pixels.items()
            for code, count in pixels.items()
            if self.classes.of(code, is_colour=is_colour) == IGNORE_INDEX
        )
        return ignored / total

    def _add_size(self, seen: Observation, image_size: Size) -> None:
        label_size, turns = seen.label_size, seen.orientation
        if label_size is None:
            return
        if label_size == image_size:
            if turns != 1:
                tells_by_size = turns >= 5 and image_size[0] != image_size[1]
                self._note("exif_unused" if tells_by_size else "exif_unclear", seen, f"orientation {turns}")
        elif label_size == image_size[::-1] and turns >= 5:
            self._note("exif_applied", seen, f"orientation {turns}")
        else:
            sizes = f"image {_text(image_size)}, label {_text(label_size)}"
            what: Oddity = "size_turned" if label_size == image_size[::-1] else "size"
            what = "size_known" if self.resizes_labels else what
            self._note(what, seen, sizes, of_label=True)

    def _add_values(self, seen: Observation) -> None:
        is_colour = seen.kind == "colours"
        pixels, images = self.pixels[is_colour], self.images[is_colour]
        self.readable.append(seen.index)
        self.num_colour_labels += is_colour
        for code, count in zip(seen.codes, seen.counts, strict=True):
            if is_colour and code not in pixels and len(pixels) >= MAX_COLOURS:
                self.has_more_colours = True
                continue
            if code not in pixels and self.first_seen[-1:] != [seen.index]:
                self.first_seen.append(seen.index)
            pixels[code] += count
            images[code] += 1
        self._note_kind(seen.kind, seen)
        if self.classes is None:
            return
        if is_colour and not self.classes.has_colours:
            is_grey = all(len(set(unpack_colour(code))) == 1 for code in seen.codes)
            self._note("colours_grey" if is_grey else "colours_unnamed", seen, of_label=True)
            return
        ids = [self.classes.of(code, is_colour=is_colour) for code in seen.codes]
        if None in ids:
            self._note("unknown", seen, self._unknown_text(seen, ids), of_label=True)
        elif set(ids) == {IGNORE_INDEX}:
            self._note("void", seen, of_label=True)
        elif len(ids) == 1:
            self._note("constant", seen, self.meaning(seen.codes[0], is_colour=is_colour)[1], of_label=True)

    def _note_kind(self, kind: LabelKind, seen: Observation) -> None:
        if kind == "palette":
            self._note("palette", seen, of_label=True)
        elif kind == "colours" and (self.classes is None or self.classes.has_colours):
            self._note("colours", seen, of_label=True)

    def _unknown_text(self, seen: Observation, ids: list[int | None]) -> str:
        is_colour = seen.kind == "colours"
        unknown = [
            (count, code) for code, count, i in zip(seen.codes, seen.counts, ids, strict=True) if i is None
        ]
        unknown.sort(reverse=True)
        shown = ", ".join(
            f"{value_text(code, is_colour=is_colour)}: {count} px" for count, code in unknown[:_SHOWN_VALUES]
        )
        return shown + (f" and {len(unknown) - _SHOWN_VALUES} more" if len(unknown) > _SHOWN_VALUES else "")

    def _note(self, what: Oddity, seen: Observation, detail: str = "", *, of_label: bool = False) -> None:
        table = self.dataset.index.labels if of_label else self.dataset.index.images
        self.oddities[what].append(Place(self.split, table.name(seen.index), detail))


def value_text(code: int, *, is_colour: bool) -> str:
    """Return a raw value, or a colour as a list of three numbers."""
    return str(list(unpack_colour(code))) if is_colour else str(code)


def value_rows(tallies: list[SplitTally], classes: Classes | None) -> tuple[ValueRow, ...]:
    """Return how often each raw value occurs: by class, then what is ignored, then what no class has.

    A class that never occurs has a row, too.
    """
    names: dict[tuple[int, bool, int], str] = {}
    pixels: defaultdict[tuple[int, bool, int], list[int]] = defaultdict(lambda: [0] * len(tallies))
    images: defaultdict[tuple[int, bool, int], list[int]] = defaultdict(lambda: [0] * len(tallies))
    for split, tally in enumerate(tallies):
        for is_colour, counts in tally.pixels.items():
            for code, count in counts.items():
                class_id, name = tally.meaning(code, is_colour=is_colour)  # splits may differ in that
                key = (class_id, is_colour, code)
                names[key] = name
                pixels[key][split] = count
                images[key][split] = tally.images[is_colour][code]
    values = {key: value_text(key[2], is_colour=key[1]) for key in names}
    if classes is not None:
        shown = {class_id for class_id, _, _ in names}
        for class_id in set(range(len(classes.names))) - shown:
            raw = [value for value, i in classes.label_map.raw_to_id.items() if i == class_id]
            key = (class_id, False, 0)
            names[key], values[key] = classes.names[class_id], format_ranges(sorted(raw))
    return tuple(
        ValueRow(
            value=values[key], class_name=names[key], pixels=tuple(pixels[key]), images=tuple(images[key])
        )
        for key in sorted(names)
    )


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
