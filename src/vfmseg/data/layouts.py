"""The listing of somebody's own folder or archive -> which mask belongs to which image, and in which split.

One rule covers the usual layouts (``{images,masks}/{train,val}``, ``{train,val}/{images,masks}``,
``img_dir|ann_dir``, ``train|train_labels``, masks beside the images ...): words in the names of the folders
say image or label, and train, val or test. An image and its mask then have the same path once these words,
and endings such as ``_mask``, are taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vfmseg.data.pairing import is_hidden, sort_key
from vfmseg.data.sets.folder import (
    FILLER_WORDS,
    IMAGE_ENDINGS,
    IMAGE_SUFFIXES,
    IMAGE_WORDS,
    INSTANCE_FOLDER,
    LABEL_SUFFIXES,
    LABEL_WORDS,
    SPLIT_WORDS,
)
from vfmseg.errors import DataError

_SEPARATORS: Final = re.compile(r"[ _.\-]+")
_JOINED: Final = re.compile(f"({'|'.join(SPLIT_WORDS)})?({'|'.join(IMAGE_WORDS | LABEL_WORDS)})")
"""Words written as one: ``trainannot``."""
ALL: Final = "all"
"""The split of files whose path names none."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Paths of an image and its mask."""

    image: str
    label: str
    split: str


@dataclass(frozen=True)
class Layout:
    """What a listing turned out to be."""

    pairs: list[Pair]
    """In the published order of the images."""
    images_alone: dict[str, str]
    """Image without a mask -> its split."""
    labels_alone: dict[str, str]
    """Mask without an image -> its split."""
    outside: list[str]
    """Pictures outside the folders of images and masks."""

    @property
    def splits(self) -> dict[str, int]:
        """Split -> number of pairs."""
        counts = dict.fromkeys(("train", "val", "test", ALL), 0)
        for pair in self.pairs:
            counts[pair.split] += 1
        return {split: count for split, count in counts.items() if count}


@dataclass(frozen=True)
class _File:
    name: str
    role: str
    """``image``, ``label``, or empty where no folder says so."""
    split: str
    key: Key
    """Path without role words and ending."""


def detect_layout(names: Iterable[str]) -> Layout:
    """Pair images and masks by their paths.

    Args:
        names: all files of a source, of any kind; hidden files and files that are no images are passed over.

    Raises:
        DataError: two images share a mask, or two masks an image; the message names them.
    """
    files = [
        _classify(name)
        for name in dict.fromkeys(names)
        if name.lower().endswith(IMAGE_ENDINGS) and not is_hidden(name)
    ]
    if not any(file.role == "label" for file in files):
        files = [_classify_by_suffix(file) for file in files]
    says_image = any(file.role == "image" for file in files)
    images = _by_key(
        file for file in files if file.role != "label" and (file.role == "image" or not says_image)
    )
    short_images = {
        (*key[:-1], key[-1].removesuffix(suffix)): file
        for key, file in images.items()
        for suffix in IMAGE_SUFFIXES
        if key[-1].endswith(suffix)
    }
    label_of: dict[str, str] = {}
    split_of: dict[str, str] = {}
    labels_alone: dict[str, str] = {}
    for label in (file for file in files if file.role == "label"):
        image = next(
            (i for key in _partner_keys(label.key) if (i := images.get(key) or short_images.get(key))), None
        )
        if image is None:
            labels_alone[label.name] = label.split
            continue
        if image.name in label_of:
            raise DataError(
                f"{image.name} has two masks, {label_of[image.name]} and {label.name}. Move one away, or "
                "list the pairs in train.txt, one `image<TAB>mask` a line."
            )
        label_of[image.name], split_of[image.name] = label.name, image.split
    order = sorted(label_of, key=sort_key)
    pairs = [Pair(image, label_of[image], split_of[image]) for image in order]
    alone = {file.name: file.split for file in images.values() if file.name not in label_of}
    outside = [file.name for file in files if says_image and not file.role]
    outside = [
        name for name in outside if INSTANCE_FOLDER not in name.split("/")[:-1]
    ]  # read for other tasks
    return Layout(pairs, alone, labels_alone, outside)


def describe_layout(pairs: Sequence[Pair]) -> str:
    """Return one line about folders and counts: ``images/train/*.jpg with masks/train/*.png (367 train)``."""
    groups: dict[tuple[str, str, str], int] = {}
    for pair in pairs:
        group = (_pattern(pair.image), _pattern(pair.label), pair.split)
        groups[group] = groups.get(group, 0) + 1
    shown = [
        f"{image} with {label} ({count} {split})" for (image, label, split), count in list(groups.items())[:4]
    ]
    return ", ".join(shown) + (f" and {len(groups) - 4} more folders" if len(groups) > 4 else "")


def split_word(text: str) -> str:
    """Return the split a folder or file name speaks of, or an empty string."""
    return next((SPLIT_WORDS[word] for word in _words(text) if word in SPLIT_WORDS), "")


def _classify(name: str) -> _File:
    *folders, file_name = name.split("/")
    stem = file_name.rpartition(".")[0]
    role, role_at = "", -1
    for at, folder in enumerate(folders):  # the deepest folder that says image or label decides
        words = set(_words(folder))
        if words & LABEL_WORDS:
            role, role_at = "label", at
        elif words & IMAGE_WORDS:
            role, role_at = "image", at
    split = next((found for folder in reversed(folders) if (found := split_word(folder))), ALL)
    if role_at >= 0:
        folders[role_at] = "_".join(
            word for word in _words(folders[role_at]) if word not in LABEL_WORDS | IMAGE_WORDS | FILLER_WORDS
        )
    return _File(name, role, split, (*(folder.lower() for folder in folders if folder), stem))


def _classify_by_suffix(file: _File) -> _File:
    """Tell masks that lie beside their images by the ending of their stems."""
    if file.key[-1].endswith(LABEL_SUFFIXES):
        return _File(file.name, "label", file.split, file.key)
    return file


def _partner_keys(key: Key) -> Iterable[Key]:
    yield key
    for suffix in LABEL_SUFFIXES:
        if key[-1].endswith(suffix):
            yield (*key[:-1], key[-1].removesuffix(suffix))


def _by_key(files: Iterable[_File]) -> dict[Key, _File]:
    found: dict[Key, _File] = {}
    for file in files:
        if file.key in found:
            raise DataError(
                f"{found[file.key].name} and {file.name} are two images of one name. Rename one, or list the "
                "pairs in train.txt, one `image<TAB>mask` a line."
            )
        found[file.key] = file
    return found


def _words(text: str) -> list[str]:
    words: list[str] = []
    for word in _SEPARATORS.split(text.lower()):
        joined = _JOINED.fullmatch(word)
        words += joined.groups(default="") if joined else [word]
    return [word for word in words if word]


def _pattern(name: str) -> str:
    folder, _, file_name = name.rpartition("/")
    return f"{folder}/*.{file_name.rpartition('.')[2]}" if folder else f"*.{file_name.rpartition('.')[2]}"
