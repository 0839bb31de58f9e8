"""A data set spec, a split and the folder with the downloads -> a plan of what is read from where.

Every download may still be the archive, or be unpacked: into a folder of its own name, or in place.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vfmseg.data.archives import open_source
from vfmseg.data.pairing import Pairs, Ref, Unpaired, in_published_order, is_hidden, match_keys
from vfmseg.data.source import Listing, Source, decode_text, summarise_entries, summarise_folders
from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec
from vfmseg.errors import ArchiveError, DataError

_SHOWN = 8
_UP_TO_DIGITS = re.compile(r".*(\d|/)")
"""What stands before the ending that tells kinds of files apart: the number of an image, or else its folder."""


@dataclass(frozen=True)
class SplitPlan:
    """Images and labels of a split of a known data set, each in one or several sources."""

    title: str
    split: SplitSpec
    sources: tuple[Source, ...]
    image_sources: tuple[int, ...]
    label_sources: tuple[int, ...]
    missing: tuple[str, ...] = ()
    """Downloads left out because ``allow_missing`` was given."""

    @property
    def fingerprint(self) -> str:
        """Title, sources, folders, suffixes and list of the split."""
        sets = [(s.folders, s.prefix, s.suffix, s.subfolders) for s in (self.split.images, self.split.labels)]
        paths = [(source.title, str(source.path.resolve())) for source in self.sources]
        facts = [self.title, sets, self.split.list_file, paths, self.image_sources, self.label_sources]
        return json.dumps([*facts, self.missing])

    def under(self, source: int) -> Sequence[str]:
        """Return the folders of a source that matter."""
        folders = _places(self.split.images) if source in self.image_sources else []
        if source in self.label_sources:
            folders += _places(self.split.labels)
        if self.split.list_file:
            folders.append(self.split.list_file.rpartition("/")[0])
        return folders

    def pair(self, listings: Sequence[Listing]) -> Pairs:
        """Find image and label of every sample: same folder, same name before the suffix."""
        images = self._find(self.split.images, self.image_sources, listings)
        labels = self._find(self.split.labels, self.label_sources, listings)
        if self.split.shares_labels:
            labels = {
                f"{one}/{key}": ref for one in self.split.images.subfolders for key, ref in labels.items()
            }
        unpaired: list[Unpaired] = []
        lists: list[Ref] = []
        if self.split.list_file:
            lists = [self._list_file(listings)]
            source, member = self.sources[lists[0].source], listings[lists[0].source].member(lists[0].line)
            text = decode_text(source.read(member), f"{source.title}: {member.name}")
            stems = list(dict.fromkeys(text.split()))
            unpaired = [Unpaired(stem, "is listed but has no image") for stem in stems if stem not in images]
            images = {stem: images[stem] for stem in stems if stem in images}
            labels = {stem: labels[stem] for stem in stems if stem in labels and stem in images}
        both, lonely_images, lonely_labels = match_keys(images, labels)
        unpaired += [Unpaired(_name(images[key], listings), "has no label") for key in lonely_images]
        unpaired += [Unpaired(_name(labels[key], listings), "has no image") for key in lonely_labels]
        label_of = {images[key]: labels[key] for key in both}
        order = in_published_order(label_of, listings)
        read = ", ".join(source.title for source in self.sources[:2])
        read += f" and {len(self.sources) - 2} more" if len(self.sources) > 2 else ""
        return Pairs(
            images=order,
            labels=[label_of[ref] for ref in order],
            unpaired=unpaired,
            sentence=f"{self.title}: {len(order)} images with labels, read from {read}."
            + (f" Left out, not there: {', '.join(self.missing)}." if self.missing else ""),
            lists=lists,
        )

    def _find(self, files: FileSet, sources: Sequence[int], listings: Sequence[Listing]) -> dict[str, Ref]:
        found: dict[str, Ref] = {}
        for source in sources:
            names = listings[source].names
            lines = next((some for folder in files.folders if (some := _lines(names, folder, files))), {})
            if not lines:
                raise self._not_in(
                    source, names, files, f"{files.subfolders[0]}/" if len(files.subfolders) == 1 else ""
                )
            for key, line in lines.items():
                if key in found and found[key].source != source:
                    other = self.sources[found[key].source].title
                    raise DataError(
                        f"{names[line]} is in both {other} and {self.sources[source].title}. Remove one."
                    )
                found[key] = Ref(source, line)
        for one in files.subfolders:
            if not any(key.startswith(f"{one}/") for key in found):
                raise self._not_in(sources[0], listings[sources[0]].names, files, f"{one}/")
        return found

    def _not_in(self, source: int, names: Sequence[str], files: FileSet, inside: str) -> ArchiveError:
        folder = f"{files.folder}/{inside}"
        return ArchiveError(
            f"{self.sources[source].title} is not what {self.title} needs: expected files "
            f"{folder}{files.prefix}*{files.suffix}, but {_found_instead(names, folder)}. "
            f"They come in {_downloads((files,))}."
        )

    def _list_file(self, listings: Sequence[Listing]) -> Ref:
        for source, listing in enumerate(listings):
            if (line := listing.line_of(self.split.list_file)) >= 0:
                return Ref(source, line)
        titles = ", ".join(source.title for source in self.sources)
        raise ArchiveError(
            f"{self.title} needs the list {self.split.list_file}, which is not in {titles}. "
            "Fetch the whole archive, with its ImageSets folder."
        )


def plan_split(spec: DatasetSpec, path: str | Path, split: str, *, allow_missing: bool = False) -> SplitPlan:
    """Find the downloads of one split below ``path``.

    Args:
        spec: the data set.
        path: the folder that holds the downloads; or the one archive or unpacked folder itself.
        split: ``train``, ``val``, ...
        allow_missing: of downloads that come in parts, use those that are there.

    Raises:
        ArchiveError: downloads are missing; all of them are named, with where to get them.
        DataError: the data set has no such split.
    """
    chosen = spec.split(split)
    root = Path(os.path.expanduser(path))
    if not os.path.exists(root):  # Path.exists raises where a name is too long or the way there is barred
        raise ArchiveError(
            f"{root} does not exist. It should hold {_downloads((chosen.images, chosen.labels))}. "
            f"Get the files from {spec.homepage}"
        )
    image_paths, label_paths = (_find_parts(root, files) for files in (chosen.images, chosen.labels))
    missing = [
        " or ".join(part)
        for files, paths in ((chosen.images, image_paths), (chosen.labels, label_paths))
        for part, found in zip(files.archives, paths, strict=True)
        if found is None
    ]
    if allow_missing and len(image_paths) > 1:
        complete = [
            i for i, pair in enumerate(zip(image_paths, label_paths, strict=True)) if None not in pair
        ]
        image_paths = [image_paths[i] for i in complete]
        label_paths = [label_paths[i] for i in complete]
    elif missing:
        raise _missing_error(spec, split, root, list(dict.fromkeys(missing)))
    found = dict.fromkeys(p for p in (*image_paths, *label_paths) if p is not None)
    if not found:
        raise _missing_error(spec, split, root, list(dict.fromkeys(missing)))
    number = {p: i for i, p in enumerate(found)}
    return SplitPlan(
        title=f"{spec.title} {split}",
        split=chosen,
        sources=tuple(open_source(p) for p in found),
        image_sources=tuple(dict.fromkeys(number[p] for p in image_paths if p is not None)),
        label_sources=tuple(dict.fromkeys(number[p] for p in label_paths if p is not None)),
        missing=tuple(dict.fromkeys(missing)),
    )


def _find_parts(root: Path, files: FileSet) -> list[Path | None]:
    """Return where each part is to be read from, None where it is not there."""
    unpacked = next((at for folder in files.folders if (at := _unpacked_root(root, folder))), None)
    return [_find_part(root, part, files.folders) or unpacked for part in files.archives]


def _find_part(root: Path, names: Sequence[str], folders: Sequence[str]) -> Path | None:
    if root.is_file():
        return root
    for name in names:
        if (root / name).is_file():
            return root / name
        if any((root / Path(name).stem / folder).is_dir() for folder in folders):
            return root / Path(name).stem
    return None


def _unpacked_root(root: Path, folder: str) -> Path | None:
    """Return the folder below which ``folder`` lies: ``root``, or above if ``root`` already is inside."""
    if (root / folder).is_dir():
        return root
    wanted, given = Path(folder).parts, root.resolve()
    for depth in range(1, len(wanted)):
        if given.parts[-depth:] == wanted[:depth] and (given.parents[depth - 1] / folder).is_dir():
            return given.parents[depth - 1]
    return None


def _places(files: FileSet) -> list[str]:
    """Return the folders to be listed."""
    inside = files.subfolders or ("",)
    return [f"{folder}/{one}".rstrip("/") for folder in files.folders for one in inside]


def _lines(names: Sequence[str], folder: str, files: FileSet) -> dict[str, int]:
    """Return the files of a folder: what an image and its label share of their paths -> line of the listing."""
    start, inside = f"{folder}/", tuple(f"{one}/" for one in files.subfolders) or ("",)
    found: dict[str, int] = {}
    for line, name in enumerate(names):
        if name.startswith(start) and name.endswith(files.suffix) and not is_hidden(name):
            key = name[len(start) : -len(files.suffix)]
            above, slash, stem = key.rpartition("/")
            if key.startswith(inside) and stem.startswith(files.prefix):
                found[f"{above}{slash}{stem.removeprefix(files.prefix)}"] = line
    return found


def _found_instead(names: Sequence[str], prefix: str) -> str:
    """Return how the files in a folder end, the most frequent first, or where there is none, which folders there are."""
    endings = Counter(
        _UP_TO_DIGITS.sub("", name) for name in names if name.startswith(prefix) and not is_hidden(name)
    )
    if not endings:
        return f"inside is {summarise_folders(names)}"
    return "there are only " + ", ".join(
        f"{count} *{ending}" for ending, count in endings.most_common(_SHOWN)
    )


def _name(ref: Ref, listings: Sequence[Listing]) -> str:
    return listings[ref.source].names[ref.line]


def _downloads(sets: Iterable[FileSet]) -> str:
    names = list(dict.fromkeys(part[0] for one in sets for part in one.archives))
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} ... {names[-1]} ({len(names)} files)"


def _missing_error(spec: DatasetSpec, split: str, root: Path, missing: list[str]) -> ArchiveError:
    chosen = spec.split(split)
    total = len({part for s in (chosen.images, chosen.labels) for part in s.archives})
    folders = " and ".join(
        f"{folder}/" for folder in dict.fromkeys((chosen.images.folder, chosen.labels.folder))
    )
    partly = " To use the parts that are there, say allow_missing: true." if 2 < total != len(missing) else ""
    return ArchiveError(
        f"{spec.title} {split}: {len(missing)} of {total} files missing in {root}: {', '.join(missing)}; "
        f"nor are they unpacked there as {folders}. In {root.name or root} there is: {summarise_entries(root)}. "
        f"Get them from {spec.homepage}, or point the path to the folder that holds them.{partly}"
    )
