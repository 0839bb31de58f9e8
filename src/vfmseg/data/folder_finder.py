"""The listing of somebody's own data -> the pairs of a split, by patterns, a list file, or folder names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vfmseg.data.layouts import ALL, Layout, Pair, detect_layout
from vfmseg.data.pairing import Unpaired, is_hidden
from vfmseg.data.patterns import select
from vfmseg.data.sets.folder import SPLIT_WORDS
from vfmseg.data.source import Listing, Source, decode_text, summarise_folders
from vfmseg.errors import DataError

_SHOWN: Final = 4


@dataclass(frozen=True)
class Found:
    """The pairs of a split and the files of the split that have no partner."""

    pairs: list[Pair]
    unpaired: list[Unpaired]
    how: str = ""
    """Ends the sentence: by which list, by which patterns."""


class Finder:
    """One listing, looked at from several sides."""

    def __init__(self, source: Source, listing: Listing) -> None:
        self._source = source
        self._listing = listing
        self._names = set(listing.names)
        self._layout: Layout | None = None
        self.lists_read: list[str] = []
        """Members whose content decided something."""

    @property
    def layout(self) -> Layout:
        """What the names of the folders say; looked at only where needed, since it may be ambiguous."""
        if self._layout is None:
            self._layout = detect_layout(self._listing.names)
        return self._layout

    def list_file_splits(self) -> dict[str, str]:
        """Return split -> list file of image and mask, those nearest to the top."""
        found: dict[str, str] = {}
        for name in sorted(self._names, key=lambda n: (n.count("/"), n)):
            file_name = name.rpartition("/")[2]
            split = SPLIT_WORDS.get(file_name.removesuffix(".txt").lower())
            if file_name.endswith(".txt") and split and split not in found and not is_hidden(name):
                found[split] = name
        return found

    def by_list_file(self, split: str) -> Found | None:
        """Read ``train.txt``: pairs of image and mask always, images alone unless folders say the split.

        Raises:
            DataError: there are lists, folders do not say the split, and this split has no list.
        """
        lists = self.list_file_splits()
        if split in lists:
            rows = self._read_list(lists[split])
            if all(len(row) == 2 for row in rows) or set(self.layout.splits) == {ALL}:
                return self._from_rows(lists[split], rows)
        elif lists and set(self.layout.splits) == {ALL}:
            there = ", ".join(lists.values())
            raise DataError(
                f"{self._source.title} has {there} but no {split}.txt. Add it, or remove the others."
            )
        return None

    def by_list_text(self, name: str, text: str) -> Found:
        """Take the pairs that the text of a list file names."""
        return self._from_rows(name, self._rows(text))

    def by_patterns(self, patterns: Sequence[str]) -> Found:
        """Select images by ``pattern`` and ``!pattern``."""
        images = [pair.image for pair in self.layout.pairs] + list(self.layout.images_alone)
        chosen = select(images, patterns, self._source.title)
        pairs = [pair for pair in self.layout.pairs if pair.image in chosen]
        unpaired = [Unpaired(name, "has no mask") for name in self.layout.images_alone if name in chosen]
        return Found(pairs, unpaired, f", chosen by {', '.join(patterns)}")

    def by_layout(self, split: str) -> Found:
        """Take the split that folder names say; for train all files where they say none."""
        layout = self.layout
        if not layout.pairs:
            raise self._no_pairs()
        wanted = ALL if set(layout.splits) == {ALL} and split == "train" else split
        if wanted not in layout.splits:
            raise self._no_split(split)
        unpaired = [Unpaired(name, "has no mask") for name, s in layout.images_alone.items() if s == wanted]
        unpaired += [Unpaired(name, "has no image") for name, s in layout.labels_alone.items() if s == wanted]
        return Found([pair for pair in layout.pairs if pair.split == wanted], unpaired)

    def unused(self, found: Found) -> str:
        """Return a sentence on what the folders hold beside the pairs of any split, or an empty string."""
        if self._layout is None:
            return ""
        count = len(self._layout.outside)
        if len(self._layout.splits) > 1:
            used = {pair.image for pair in found.pairs}
            count += sum(pair.split == ALL and pair.image not in used for pair in self._layout.pairs)
        return (
            f" Not used: {count} pictures that lie in no folder of images, masks or splits." if count else ""
        )

    def _read_list(self, name: str) -> list[list[str]]:
        self.lists_read.append(name)
        data = self._source.read(self._listing.member(self._listing.line_of(name)))
        return self._rows(decode_text(data, f"{self._source.title}: {name}"))

    def _rows(self, text: str) -> list[list[str]]:
        """Cut lines at tabs, else at blanks unless the whole line is the name of a file."""
        rows = []
        for line in filter(None, map(str.strip, text.splitlines())):
            cells = [line] if line.removeprefix("./") in self._names else line.split()
            rows.append([cell.strip() for cell in line.split("\t")] if "\t" in line else cells)
        return rows

    def _from_rows(self, list_name: str, rows: list[list[str]]) -> Found:
        folder = list_name.rpartition("/")[0]
        pairs, unpaired = [], []
        by_name: dict[str, Pair] = {}
        if any(len(row) == 1 for row in rows):
            for pair in self.layout.pairs:
                file_name = pair.image.rpartition("/")[2]
                by_name |= {pair.image: pair, file_name: pair, file_name.rpartition(".")[0]: pair}
        for row in rows:
            if len(row) > 2:
                raise DataError(
                    f"{self._source.title}: {list_name}: {' '.join(row)!r} is not `image<TAB>mask`."
                )
            if len(row) == 1:
                known = by_name.get(row[0].removeprefix("./")) or by_name.get(row[0].rpartition("/")[2])
                pair = known or Pair("", "", ALL)
            else:
                pair = Pair(self._resolve(row[0], folder), self._resolve(row[1], folder), ALL)
            if pair.image and pair.label:
                pairs.append(pair)
            else:
                unpaired.append(
                    Unpaired(" ".join(row), f"is listed in {list_name}, but there is no such file")
                )
        if not pairs:
            raise DataError(
                f"{self._source.title}: {list_name} lists {len(rows)} lines and none fits the files there; "
                f"the first is {' '.join(rows[0]) if rows else ''!r}."
            )
        counts = Counter(pair.image for pair in pairs)
        twice = next((pair.image for pair in pairs if counts[pair.image] > 1), None)
        if twice:
            raise DataError(
                f"{self._source.title}: {list_name} lists {twice} more than once. Remove the others."
            )
        return Found(pairs, unpaired, f", as listed in {list_name}")

    def _resolve(self, path: str, folder: str) -> str:
        """Return the member a list means, written from the top or from the list's folder; empty if none."""
        path = path.removeprefix("./")
        return next((name for name in (path, f"{folder}/{path}") if name in self._names), "")

    def _no_pairs(self) -> DataError:
        alone = list(self.layout.images_alone)[:_SHOWN]
        return DataError(
            f"{self._source.title} holds no images with masks. Expected folders such as images/train and "
            "masks/train with files of equal names (x.jpg, x.png), or train.txt with `image<TAB>mask` lines. "
            f"Inside: {summarise_folders(self._listing.names)}."
            + (f" Images without a mask: {', '.join(alone)} ..." if alone else "")
        )

    def _no_split(self, split: str) -> DataError:
        splits = self.layout.splits
        found = ", ".join(
            f"{count} without a split" if s == ALL else f"{count} {s}" for s, count in splits.items()
        )
        without_mask = sum(s == split for s in self.layout.images_alone.values())
        remedy = f"Name a folder {split}, list the files in {split}.txt, or give `{split}:` in a YAML file"
        if without_mask:
            remedy = f"Its {without_mask} {split} images have no masks"
        elif split == "val":
            remedy += ", or ask for a share of the images with val_fraction: 0.1"
        return DataError(f"{self._source.title} has no {split} split; found: {found}. {remedy}.")
