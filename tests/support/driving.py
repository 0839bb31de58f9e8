"""Tiny fake copies of the data sets to test generalisation with, in their original archives and folders.

As in ``support.archives``: every ``write_*`` function fills a folder the way somebody does who downloads the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from support.archives import SIZE, Files, Packing, Size, draw_image, draw_label, encode, encode_palette, pack

CONDITIONS = ("fog", "night", "rain", "snow")


def write_bdd100k(
    folder: Path, *, num_train: int = 4, num_val: int = 2, size: Size = SIZE, packing: Packing = "zip"
) -> Path:
    """BDD100K: two zips, train ids as grey PNGs, images without labels of the test split, colour maps."""
    images: Files = {"bdd100k/images/10k/test/ac6d4f42-00000000.jpg": b""}
    labels: Files = {"bdd100k/labels/sem_seg/polygons/sem_seg_val.json": b"[]"}
    for split, first, count in (("train", 1, num_train), ("val", 1001, num_val)):
        for number in range(first, first + count):
            label = draw_label([0, 2, 255, 10, 18], size, number)
            stem = f"{split}/{number:08x}-{number * 7919:08x}"
            images[f"bdd100k/images/10k/{stem}.jpg"] = encode(draw_image(label, number), "JPEG", quality=95)
            labels[f"bdd100k/labels/sem_seg/masks/{stem}.png"] = encode(label, "PNG")
            labels[f"bdd100k/labels/sem_seg/colormaps/{stem}.png"] = encode(draw_image(label, 0), "PNG")
    pack(images, folder / "bdd100k_images_10k.zip" if packing == "zip" else folder, packing)
    pack(labels, folder / "bdd100k_sem_seg_labels_trainval.zip" if packing == "zip" else folder, packing)
    return folder


def write_mapillary(
    folder: Path,
    *,
    version: str = "2.0",
    num_train: int = 4,
    num_val: int = 2,
    size: Size = SIZE,
    packing: Packing = "zip",
) -> Path:
    """Mapillary Vistas: palette PNGs; 2.0 holds the labels of 1.2 too, 1.2 has them beside the images."""
    files: Files = {f"config_v{version}.json": b"{}", "testing/images/-abc.jpg": b""}
    for split, first, count in (("training", 1, num_train), ("validation", 1001, num_val)):
        for number in range(first, first + count):
            v1 = draw_label([13, 2, 65, 27, 58], size, number)  # road, curb, unlabeled, sky, on rails
            v2 = draw_label([21, 4, 123, 61, 90], size, number)  # the same; a traffic light for the train
            stem = f"{number:02d}_aB-cD{number * 7919:06d}"
            files[f"{split}/images/{stem}.jpg"] = encode(draw_image(v1, number), "JPEG", quality=95)
            if version == "1.2":
                files[f"{split}/labels/{stem}.png"] = encode_palette(v1)
                files[f"{split}/instances/{stem}.png"] = b""
                continue
            for name, label in (("v1.2", v1), ("v2.0", v2)):
                files[f"{split}/{name}/labels/{stem}.png"] = encode_palette(label)
                files[f"{split}/{name}/panoptic/{stem}.png"] = b""
    archive = folder / f"mapillary-vistas-dataset_public_v{version}.zip"
    pack(files, archive if packing == "zip" else folder, packing)
    return folder


def write_acdc(
    folder: Path,
    *,
    num_train: int = 1,
    num_val: int = 1,
    size: Size = SIZE,
    packing: Packing = "zip",
    conditions: Sequence[str] = CONDITIONS,
) -> Path:
    """ACDC: two zips, conditions over splits over drives, reference images, test images without labels."""
    images: Files = {}
    labels: Files = {}
    for place, condition in enumerate(conditions):
        images[f"rgb_anon/{condition}/test/GP010000/GP010000_frame_000001_rgb_anon.png"] = b""
        for split, count in (("train", num_train), ("val", num_val)):
            for number in range(count):
                label = draw_label([0, 2, 255, 10, 13], size, 10 * place + number)
                drive = f"GOPR{place:04d}"
                stem = f"{condition}/{split}/{drive}/{drive}_frame_{number:06d}"
                reference = stem.replace(f"/{split}/", f"/{split}_ref/")
                images[f"rgb_anon/{stem}_rgb_anon.png"] = encode(draw_image(label, number), "PNG")
                images[f"rgb_anon/{reference}_rgb_ref_anon.png"] = b""
                labels[f"gt/{stem}_gt_labelTrainIds.png"] = encode(label, "PNG")
                labels[f"gt/{stem}_gt_labelIds.png"] = encode(label, "PNG")
                labels[f"gt/{stem}_gt_invIds.png"] = encode(label, "PNG")
    pack(images, folder / "rgb_anon_trainvaltest.zip" if packing == "zip" else folder, packing)
    pack(labels, folder / "gt_trainval.zip" if packing == "zip" else folder, packing)
    return folder


def encode_synthia(label: NDArray[np.uint8], instances: NDArray[np.uint16]) -> bytes:
    """Return a PNG of three channels of 16 bits: the class, the instance, nothing."""
    blue_green_red = np.stack([np.zeros_like(instances), instances, label.astype(np.uint16)], axis=2)
    return bytes(cv2.imencode(".png", blue_green_red)[1])


def write_synthia(
    folder: Path, *, num_train: int = 4, size: Size = SIZE, root: str = "RAND_CITYSCAPES/"
) -> Path:
    """SYNTHIA-RAND-CITYSCAPES, unpacked (it comes as RAR): labels of 16 bits with classes and instances."""
    files: Files = {}
    for number in range(num_train):
        label = draw_label([3, 2, 22, 1, 10], size, number)
        instances = np.where(label == 10, 300 + number, 0).astype(np.uint16)
        files[f"{root}RGB/{number:07d}.png"] = encode(draw_image(label, number), "PNG")
        files[f"{root}GT/LABELS/{number:07d}.png"] = encode_synthia(label, instances)
        files[f"{root}GT/COLOR/{number:07d}.png"] = b""
    return pack(files, folder, "folder")


def write_urbansyn(
    folder: Path, *, num_train: int = 4, size: Size = SIZE, packing: Packing = "folder"
) -> Path:
    """UrbanSyn: archives or folders of files whose names begin with what they are."""
    parts: dict[str, Files] = {"rgb": {}, "ss": {}, "ss_color": {}}
    for number in range(1, num_train + 1):
        label = draw_label([0, 2, 19, 10, 13], size, number)
        parts["rgb"][f"rgb/rgb_{number:04d}.png"] = encode(draw_image(label, number), "PNG")
        parts["ss"][f"ss/ss_{number:04d}.png"] = encode(label, "PNG")
        parts["ss_color"][f"ss_color/ss_color_{number:04d}.png"] = b""
    for name, files in parts.items():
        pack(files, folder if packing == "folder" else folder / f"{name}.zip", packing)
    return folder


def write_cityscapes_c(
    folder: Path,
    *,
    corruptions: Sequence[str],
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    num_val: int = 2,
    size: Size = SIZE,
) -> Path:
    """Cityscapes-C: the images of ``write_cityscapes``'s val split once for each corruption and severity."""
    files: Files = {}
    for corruption in corruptions:
        for severity in severities:
            for number in range(num_val):
                image = draw_image(draw_label([7, 11, 0, 23, 26], size, number), number) // severity
                stem = f"{corruption}/{severity}/val/munster/munster_{number:06d}_000019"
                files[f"Cityscapes-C/{stem}_leftImg8bit.png"] = encode(image, "PNG")
    return pack(files, folder, "folder")
