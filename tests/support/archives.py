"""Tiny fake copies of the real data sets, in their original archives and folders, written by code.

Every ``write_*`` function fills a folder the way somebody does who downloads the data set, and returns that
folder. Images show their labels (each class has its own brightness and tint), so a small model can learn.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

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
            labels[f"gtFine/{stem}_gtFine_instanceIds.png"] = encode(cityscapes_instance_ids(label), "PNG")
            labels[f"gtFine/{stem}_gtFine_labelIds.png"] = encode(label, "PNG")
            labels[f"gtFine/{stem}_gtFine_polygons.json"] = b"{}"
    if packing == "zip":
        pack(images, folder / "leftImg8bit_trainvaltest.zip", "zip")
        pack(labels, folder / "gtFine_trainvaltest.zip", "zip", compression=zipfile.ZIP_DEFLATED)
    else:
        pack(images | labels, folder, "folder")
    return folder


def cityscapes_instance_ids(label: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return instance ids of label ids: cars numbered in the upper half, a group in the lower."""
    ids = label.astype(np.uint16)
    half, middle = label.shape[0] // 2, label.shape[1] // 2
    for number, columns in enumerate((slice(None, middle), slice(middle, None))):
        part = ids[:half, columns]
        part[part == 26] = 26000 + number
    return ids


def write_cityscapes_panoptic(folder: Path, split: str = "train", *, packing: Packing = "folder") -> Path:
    """Write what the toolkit makes of the unpacked ``*_instanceIds.png``: a JSON, and PNGs in one folder."""
    stem = f"cityscapes_panoptic_{split}"
    labels: Files = {}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "road"}]}
    for path in sorted((folder / "gtFine" / split).rglob("*_instanceIds.png")):
        ids, image_id = np.asarray(Image.open(path)), path.name.removesuffix("_gtFine_instanceIds.png")
        kept, segments = np.zeros(ids.shape, np.uint32), []
        for value in np.unique(ids).tolist():
            label_id = value if value < 1000 else value // 1000
            if label_id in (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33):
                kept[ids == value] = value
                crowd = int(value < 1000 and label_id >= 24)
                segments.append(
                    {"id": value, "category_id": label_id, "iscrowd": crowd, "area": 1, "bbox": [0] * 4}
                )
        name = f"{image_id}_gtFine_panoptic.png"
        labels[f"{stem}/{name}"] = encode(as_rgb_ids(kept), "PNG")
        size = {"height": ids.shape[0], "width": ids.shape[1]}
        content["images"].append({"id": image_id, "file_name": f"{image_id}_gtFine_leftImg8bit.png", **size})
        content["annotations"].append({"image_id": image_id, "file_name": name, "segments_info": segments})
    (folder / "gtFine" / f"{stem}.json").write_text(json.dumps(content))
    pack(labels, folder / "gtFine" / f"{stem}.zip" if packing == "zip" else folder / "gtFine", packing)
    return folder


def write_ade20k_instances(folder: Path, *, packing: Packing = "zip") -> Path:
    """ADE20K's ``annotations_instance`` for four and two images: doors and walls as they are in ``write_ade20k``.

    Raw label 21 (car) becomes two instances; one of them also covers pixels of a wall.
    """
    files: Files = {}
    for split, short, count in (("training", "train", 4), ("validation", "val", 2)):
        for number in range(1, count + 1):
            files[f"annotations_instance/{split}/ADE_{short}_{number:08d}.png"] = encode(
                ade20k_instances(draw_label([1, 3, 0, 150, 21], SIZE, number)), "PNG"
            )
    pack(files, folder if packing == "folder" else folder / f"annotations_instance.{packing}", packing)
    return folder


def ade20k_instances(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3): cars of the left half are instance 5, of the right 9, a strip of pixels no instance."""
    red_green = np.zeros((*label.shape, 3), np.uint8)
    middle = label.shape[1] // 2
    for number, columns in ((5, slice(4, middle)), (9, slice(middle, None))):
        part = red_green[:, columns]
        part[label[:, columns] == 21] = (ADE_CAR, number, 0)
    red_green[0, :2] = (ADE_CAR, 5, 0)
    return red_green


ADE_CAR = 9
"""Red value of cars."""


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


def write_coco(
    folder: Path,
    *,
    kind: str = "panoptic",
    packing: Packing = "zip",
    num_train: int = 4,
    num_val: int = 2,
    size: Size = SIZE,
    edit: Callable[[str, dict[str, Any], Files], None] | None = None,
    stamp: bool = True,
) -> Path:
    """COCO 2017 as released: zips of images, and a zip of JSONs; for panoptic with zips of PNGs inside.

    Image 3 of train has no objects, image 4 only a crowd. ``edit`` may change split, JSON and label files.
    """
    annotations: Files = {}
    for split, first, count in (("train", 1, num_train), ("val", 1001, num_val)):
        content: dict[str, Any] = {
            "info": {"description": "COCO"},
            "licenses": [],
            "images": [],
            "annotations": [],
        }
        content["categories"] = [{"supercategory": "person", "isthing": 1, "id": 1, "name": "person"}]
        images: Files = {}
        labels: Files = {}
        for number in range(first, first + count):
            stem, label = f"{number:012d}", draw_label([0, 1, 2, 3], size, number)
            label[:] = {2: 0, 3: (label > 2) * 3}.get(number - first, label)
            images[f"{split}2017/{stem}.jpg"] = encode(draw_image(label, number), "JPEG", quality=95)
            content["images"].append(
                {"license": 4, "file_name": f"{stem}.jpg", "coco_url": f"http://x/{stem}.jpg", "height": size[0],
                 "width": size[1], "date_captured": "2013-11-14 17:02:52", "id": number}
            )  # fmt: skip
            if kind == "panoptic":
                labels[f"{stem}.png"] = encode(as_rgb_ids(COCO_IDS[label]), "PNG")
                found = [coco_segment(value, label) for value in (1, 2, 3) if (label == value).any()]
                content["annotations"].append(
                    {"segments_info": found, "file_name": f"{stem}.png", "image_id": number}
                )
            else:
                content["annotations"] += [
                    {"id": 10 * number + value, "image_id": number, **coco_instance(value, label)}
                    for value in (1, 2, 3)
                    if (label == value).any()
                ]
        if edit is not None:
            edit(split, content, labels)
        pack(images, folder / f"{split}2017.zip" if packing == "zip" else folder, packing)
        stem = f"panoptic_{split}2017" if kind == "panoptic" else f"instances_{split}2017"
        annotations[f"annotations/{stem}.json"] = json.dumps(content).encode()
        if packing == "zip" and kind == "panoptic":
            inner = pack(
                {f"{stem}/{name}": data for name, data in labels.items()}, folder / "inner.zip", "zip"
            )
            annotations[f"annotations/{stem}.zip"] = inner.read_bytes()
            inner.unlink()
        else:
            annotations |= {f"annotations/{stem}/{name}": data for name, data in labels.items()}
    outer = "panoptic_annotations_trainval2017.zip" if kind == "panoptic" else "annotations_trainval2017.zip"
    pack(annotations, folder / outer if packing == "zip" else folder, packing)
    if stamp:
        make_old(folder)
    return folder


COCO_IDS = np.array([0, 3226956, 6979964, 513], np.uint32)
"""Pixel of ``draw_label`` -> segment id."""
_COCO_KINDS = {1: (1, 0), 2: (200, 0), 3: (3, 1)}
"""Value of ``draw_label`` -> category id and crowd: a person, a rug, a crowd of cars."""


def as_rgb_ids(ids: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return (H, W, 3) colours of segment ids: red + 256 green + 65536 blue."""
    return np.stack([ids >> shift & 255 for shift in (0, 8, 16)], axis=2).astype(np.uint8)


def coco_segment(value: int, label: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the ``segments_info`` of the pixels of one value."""
    category, crowd = _COCO_KINDS[value]
    area = int((label == value).sum())
    return {
        "id": int(COCO_IDS[value]),
        "category_id": category,
        "iscrowd": crowd,
        "bbox": [0, 0, 1, 1],
        "area": area,
    }


def coco_instance(value: int, label: NDArray[np.uint8]) -> dict[str, Any]:
    """Return an instance annotation of the box around the pixels of one value; crowds as run lengths."""
    rows, columns = np.nonzero(label == value)
    top, left, bottom, right = (
        int(v) for v in (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    )
    category, crowd = {1: (1, 0), 2: (90, 0), 3: (3, 1)}[value]
    outline: Any = [[left, top, right, top, right, bottom, left, bottom + 0.0]]
    if crowd:
        flat = (label == value).ravel(order="F").astype(np.int8)
        changes = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
        outline = {"counts": np.diff([0, *changes, len(flat)]).tolist(), "size": list(label.shape)}
    return {
        "segmentation": outline,
        "area": float((bottom - top) * (right - left)),
        "iscrowd": crowd,
        "bbox": [left, top, right - left, bottom - top],
        "category_id": category,
    }


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
