"""Tiny fake copies of the real data sets, in their original archives and folders, written by code.

Every ``write_*`` function fills a folder the way somebody does who downloads the data set, and returns that
folder. Images show their labels (each class has its own brightness and tint), so a small model can learn.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Packing = Literal["zip", "tar", "tar.gz", "folder"]
Size = tuple[int, int]
Files = dict[str, bytes]

SIZE: Size = (48, 64)
"""(height, width) of the images, unless told otherwise."""

OLD_NS = 1_600_000_000_000_000_000
"""A modification time long ago: folders changed within the last two seconds are not cached."""


def draw_label(values: Sequence[int], size: Size, seed: int) -> NDArray[np.uint8]:
    """Return (H, W) uint8: rectangles of the given raw values on a ground of the first."""
    rng = np.random.default_rng(seed)
    height, width = size
    label = np.full(size, values[0], np.uint8)
    for value in values[1:]:
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        label[top : top + height // 2, left : left + width // 2] = value
    label[0, 0], label[-1, -1] = values[0], values[-1]  # never constant
    return label


def draw_image(label: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB in which each raw value has a colour of its own, with some noise."""
    colours = np.random.default_rng(12345).integers(30, 225, (256, 3))
    noise = np.random.default_rng(seed).integers(-12, 13, (*label.shape, 3))
    return (colours[label] + noise).clip(0, 255).astype(np.uint8)


def encode(pixels: NDArray[np.generic], file_format: str, **options: object) -> bytes:
    """Return pixels as the bytes of a ``JPEG``, ``PNG``, ``TIFF`` ... file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def encode_palette(indices: NDArray[np.uint8]) -> bytes:
    """Return indices as a PNG with a palette, whose colours say nothing about the indices."""
    image = Image.fromarray(indices)
    image.putpalette(np.random.default_rng(7).integers(0, 256, 768).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pack(
    files: Mapping[str, bytes], path: Path, packing: Packing, *, compression: int = zipfile.ZIP_STORED
) -> Path:
    """Write files into an archive at ``path``, or below the folder ``path``."""
    if packing == "folder":
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if packing == "zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            for folder in sorted({f"{parent}/" for name in files for parent in _parents(name)}):
                archive.writestr(folder, b"")
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if packing == "tar.gz" else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_ade20k(
    folder: Path, *, num_train: int = 4, num_val: int = 2, size: Size = SIZE, packing: Packing = "zip"
) -> Path:
    """ADE20K: ``ADEChallengeData2016.zip`` or the folder in it; labels 0 (other) to 150."""
    files: Files = {"ADEChallengeData2016/objectInfo150.txt": b"Idx\tRatio\tTrain\tVal\tName\n"}
    for split, short, count in (("training", "train", num_train), ("validation", "val", num_val)):
        for number in range(1, count + 1):
            label = draw_label([1, 3, 0, 150, 21], size, number)
            stem = f"ADE_{short}_{number:08d}"
            image = encode(draw_image(label, number), "JPEG", quality=95)
            files[f"ADEChallengeData2016/images/{split}/{stem}.jpg"] = image
            files[f"ADEChallengeData2016/annotations/{split}/{stem}.png"] = encode(label, "PNG")
    pack(files, folder / "ADEChallengeData2016.zip" if packing == "zip" else folder, packing)
    return folder


def write_pascal_voc(
    folder: Path, *, num_train: int = 4, num_val: int = 2, size: Size = SIZE, packing: Packing = "zip"
) -> Path:
    """PASCAL VOC 2012: palette PNGs 0-20 and 255, split lists, and images without labels, as originally."""
    root = "VOCdevkit/VOC2012"
    stems = [f"2007_{number:06d}" for number in range(1, num_train + num_val + 1)]
    files: Files = {
        f"{root}/ImageSets/Segmentation/train.txt": "".join(
            f"{stem}\n" for stem in stems[:num_train]
        ).encode(),
        f"{root}/ImageSets/Segmentation/val.txt": "\n".join(stems[num_train:]).encode(),
        f"{root}/JPEGImages/2008_000001.jpg": encode(np.zeros((*size, 3), np.uint8), "JPEG"),
        f"{root}/Annotations/2008_000001.xml": b"<annotation/>",
    }
    for number, stem in enumerate(stems, start=1):
        label = draw_label([0, 15, 255, 7], size, number)
        files[f"{root}/JPEGImages/{stem}.jpg"] = encode(draw_image(label, number), "JPEG", quality=95)
        files[f"{root}/SegmentationClass/{stem}.png"] = encode_palette(label)
    path = folder if packing == "folder" else folder / f"VOCtrainval_11-May-2012.{packing}"
    pack(files, path, packing)
    return folder


def write_cityscapes(
    folder: Path, *, num_train: int = 4, num_val: int = 2, size: Size = SIZE, packing: Packing = "zip"
) -> Path:
    """Cityscapes: two zips, cities as folders, and other annotation files beside the label ids."""
    images: Files = {"README": b"", "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png": b""}
    labels: Files = {"README": b""}
    for split, city, count in (("train", "aachen", num_train), ("val", "munster", num_val)):
        for number in range(count):
            label = draw_label([7, 11, 0, 23, 26], size, number)
            stem = f"{split}/{city}/{city}_{number:06d}_000019"
            images[f"leftImg8bit/{stem}_leftImg8bit.png"] = encode(draw_image(label, number), "PNG")
            labels[f"gtFine/{stem}_gtFine_color.png"] = encode(draw_image(label, 0), "PNG")
            labels[f"gtFine/{stem}_gtFine_instanceIds.png"] = encode(label.astype(np.uint16), "PNG")
            labels[f"gtFine/{stem}_gtFine_labelIds.png"] = encode(label, "PNG")
            labels[f"gtFine/{stem}_gtFine_polygons.json"] = b"{}"
    if packing == "zip":
        pack(images, folder / "leftImg8bit_trainvaltest.zip", "zip")
        pack(labels, folder / "gtFine_trainvaltest.zip", "zip", compression=zipfile.ZIP_DEFLATED)
    else:
        pack(images | labels, folder, "folder")
    return folder


def write_gta5(
    folder: Path,
    *,
    num_per_part: int = 1,
    size: Size = SIZE,
    packing: Packing = "zip",
    parts: Iterable[int] = range(1, 11),
    odd_sized: Sequence[int] = (),
) -> Path:
    """GTA V: ten zips of images and ten of palette labels; ``odd_sized`` frames get smaller labels."""
    for part in parts:
        images: Files = {}
        labels: Files = {}
        for number in range((part - 1) * num_per_part + 1, part * num_per_part + 1):
            label = draw_label([7, 8, 34, 24], size, number)
            stored = label[::2, ::2].copy() if number in odd_sized else label
            images[f"images/{number:05d}.png"] = encode(draw_image(label, number), "PNG")
            labels[f"labels/{number:05d}.png"] = encode_palette(stored)
        pack(images, folder / f"{part:02d}_images.zip" if packing == "zip" else folder, packing)
        pack(labels, folder / f"{part:02d}_labels.zip" if packing == "zip" else folder, packing)
    return folder


def write_folder(
    folder: Path,
    *,
    values: Sequence[int] = (0, 1, 2),
    num_train: int = 4,
    num_val: int = 2,
    size: Size = SIZE,
    image_name: str = "images/{split}/{stem}.jpg",
    label_name: str = "masks/{split}/{stem}.png",
    names: Sequence[str] | None = ("ground", "box", "cone"),
) -> Path:
    """Somebody's own images and masks; with ``dataset.yaml`` unless ``names`` is None."""
    files: Files = {}
    for split, count in (("train", num_train), ("val", num_val)):
        for number in range(count):
            label = draw_label(values, size, number + (1000 if split == "val" else 0))
            stem = f"{split[0]}{number:03d}"
            image = image_name.format(split=split, stem=stem)
            file_format = "JPEG" if image.endswith(".jpg") else "PNG"
            files[image] = encode(draw_image(label, number), file_format)
            files[label_name.format(split=split, stem=stem)] = encode(label, "PNG")
    if names is not None:
        files["dataset.yaml"] = f"names: [{', '.join(names)}]\n".encode()
    return pack(files, folder, "folder")


def make_old(folder: Path) -> None:
    """Set back the modification time of a folder and all below it, as if it had been there for years."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, ns=(OLD_NS, OLD_NS))


def _parents(name: str) -> Iterable[str]:
    parts = name.split("/")[:-1]
    return ("/".join(parts[: i + 1]) for i in range(len(parts)))
