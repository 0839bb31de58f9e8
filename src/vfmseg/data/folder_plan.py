"""Somebody's own folder, archive or YAML file -> a plan of which image goes with which mask in a split."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from vfmseg.data.archives import open_source
from vfmseg.data.description import Description, read_description
from vfmseg.data.folder_finder import Finder, Found
from vfmseg.data.folder_source import FolderSource
from vfmseg.data.layouts import describe_layout
from vfmseg.data.pairing import Pairs, Ref
from vfmseg.data.sets.folder import DESCRIPTION_FILES
from vfmseg.data.source import Listing, Source, decode_text, read_text
from vfmseg.errors import DataError, nearest

YAML_ENDINGS: Final = (".yaml", ".yml")


@dataclass(frozen=True)
class FolderPlan:
    """The images and masks of one split of a folder data set, all in one source."""

    source: Source
    split: str
    patterns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Split -> patterns, as the YAML file gives them."""
    list_texts: dict[str, str] = field(default_factory=dict)
    """Split -> text of the list file that the YAML file names for it."""
    val_fraction: float = 0.0
    seed: int = 0

    @property
    def title(self) -> str:
        """Source and split, for messages."""
        return f"{self.source.title} {self.split}"

    @property
    def sources(self) -> tuple[Source]:
        """The one source."""
        return (self.source,)

    @property
    def fingerprint(self) -> str:
        """Source, split and everything the YAML file says about splits."""
        facts = [
            self.source.title,
            str(self.source.path.resolve()),
            self.split,
            self.patterns,
            self.list_texts,
        ]
        return json.dumps([*facts, self.val_fraction, self.seed], sort_keys=True)

    def under(self, source: int) -> Sequence[str]:
        """Return the top: everything matters."""
        return ("",)

    def pair(self, listings: Sequence[Listing]) -> Pairs:
        """Find image and mask of every sample: by patterns, by list files, or by the folders' names.

        Raises:
            DataError: the split cannot be found; the message says what is there.
        """
        (listing,) = listings
        finder = Finder(self.source, listing)
        draws_val = self.val_fraction > 0 and self.split in ("train", "val")
        if draws_val and "val" in (self.patterns or finder.list_file_splits() or finder.layout.splits):
            raise DataError(f"{self.source.title} has a val split of its own: leave out val_fraction.")
        found = self._find(finder, "train" if draws_val else self.split)
        sentence = f"{self.title}: {len(found.pairs)} images with masks"
        if draws_val:
            found, sentence = self._draw(found)
        line_of = {name: line for line, name in enumerate(listing.names)}
        sentence += f", {describe_layout(found.pairs)}{found.how}."
        sentence += finder.unused(found)
        return Pairs(
            images=[Ref(0, line_of[pair.image]) for pair in found.pairs],
            labels=[Ref(0, line_of[pair.label]) for pair in found.pairs],
            unpaired=found.unpaired,
            sentence=sentence,
            lists=[Ref(0, line_of[name]) for name in finder.lists_read],
        )

    def _find(self, finder: Finder, split: str) -> Found:
        if self.patterns:
            if split not in self.patterns:
                raise DataError(
                    f"The YAML file of {self.source.title} gives {', '.join(self.patterns)} but no {split}: "
                    f"add `{split}:`" + (", or `val_fraction: 0.1`." if split == "val" else ".")
                )
            if split in self.list_texts:
                return finder.by_list_text(self.patterns[split][0], self.list_texts[split])
            return finder.by_patterns(self.patterns[split])
        return finder.by_list_file(split) or finder.by_layout(split)

    def _draw(self, found: Found) -> tuple[Found, str]:
        """Divide into train and val: a share drawn with the seed, the same for both splits."""
        total = len(found.pairs)
        num_val = round(total * self.val_fraction)
        if not 0 < num_val < total:
            raise DataError(
                f"val_fraction {self.val_fraction:g} of {total} images leaves train or val empty."
            )
        val = set(np.random.default_rng(self.seed).permutation(total)[:num_val].tolist())
        pairs = [pair for i, pair in enumerate(found.pairs) if (i in val) == (self.split == "val")]
        share = f"val_fraction {self.val_fraction:g}, seed {self.seed}"
        sentence = f"{self.title}: {len(pairs)} of {total} images with masks ({share})"
        return Found(pairs, found.unpaired, found.how), sentence


def plan_folder(
    path: str | Path, split: str, *, val_fraction: float = 0.0, seed: int = 0
) -> tuple[FolderPlan, Description | None]:
    """Read what is known about a folder data set.

    Args:
        path: a folder, an archive, or the YAML file that describes one. A folder or archive may hold its
            own ``dataset.yaml`` at the top.
        split: ``train``, ``val`` or ``test``.
        val_fraction: share of the images to validate on, where there is no val split; 0: as the YAML says.
        seed: of the draw.

    Returns:
        The plan, and the description if there is one.

    Raises:
        ArchiveError: nothing is there, or it is damaged.
        DataError: the YAML file has mistakes.
    """
    path = Path(os.path.expanduser(path))
    if path.suffix.lower() in YAML_ENDINGS and os.path.isfile(path):
        base, name, text = path.parent, path.name, read_text(path)
    else:
        base = path
        name, text = _own_description(open_source(path))
    if not name:
        return FolderPlan(open_source(path), split, val_fraction=val_fraction, seed=seed), None
    description = read_description(text, str(base / name))
    if val_fraction == 0:
        val_fraction, seed = description.val_fraction, description.seed
    source = open_source(base / os.path.expanduser(description.path))
    plan = FolderPlan(
        source,
        split,
        dict(description.patterns),
        {
            split: _read_list(base, source, patterns[0])
            for split, patterns in description.patterns.items()
            if _is_list(patterns)
        },
        val_fraction,
        seed,
    )
    return plan, description


def _own_description(source: Source) -> tuple[str, str]:
    """Return name and text of the ``dataset.yaml`` at the top of a folder or archive; empty without one."""
    if isinstance(source, FolderSource):
        for name in DESCRIPTION_FILES:
            if (source.path / name).is_file():
                return name, read_text(source.path / name)
    else:
        listing = source.list_members()
        for name in DESCRIPTION_FILES:
            if (line := listing.line_of(name)) >= 0:
                return name, decode_text(source.read(listing.member(line)), f"{source.title}: {name}")
    return "", ""


def _is_list(patterns: Sequence[str]) -> bool:
    return len(patterns) == 1 and patterns[0].endswith(".txt")


def _read_list(base: Path, source: Source, name: str) -> str:
    """Return the text of a list file that a YAML file names: beside the YAML file, or in the data."""
    for folder in (base, source.path):
        if (folder / name).is_file():
            return read_text(folder / name)
    if isinstance(source, FolderSource):
        known = [path.name for folder in (base, source.path) for path in folder.glob("*.txt")]
    else:
        listing = source.list_members()
        if (line := listing.line_of(name)) >= 0:
            return decode_text(source.read(listing.member(line)), f"{source.title}: {name}")
        known = [name for name in listing.names if name.endswith(".txt")]
    raise DataError(
        f"There is no list {name} beside the YAML file in {base} or in {source.title}.{nearest(name, known)}"
    )
