"""Reading one sample, image and label, from an archive: vfmseg against zipfile with Pillow.

Run: python benchmarks/data_archives.py [--repeats 40] [--out FILE.json]
Images are generated: smooth with some noise, labels of regions, in the sizes of ADE20K (JPEG and PNG) and Cityscapes
(PNG both, labels as palette for GTA V). Both ways must give equal pixels and ids before anything is timed; the steps of
ours stand below it.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import cv2
import numpy as np
import torch
from PIL import Image

from vfmseg.data.annotations import LabelTable
from vfmseg.data.archives import open_source
from vfmseg.data.images import decode_image, decode_label
from vfmseg.data.spec import read_label_map

BASE = "zipfile + Pillow"
Arrays = tuple[np.ndarray, np.ndarray]

CASES = {
    "ADE20K 683x512, JPEG + PNG": (512, 683, "ade20k", (0,), "JPEG", False),
    "Cityscapes 2048x1024, PNG + PNG": (1024, 2048, "cityscapes", (), "PNG", False),
    "GTA V 1914x1052, PNG + palette PNG": (1052, 1914, "gta5", (), "PNG", True),
}
"""height, width, class file, ignored values, format of the image, label with a palette"""


def generate(height: int, width: int, values: list[int]) -> Arrays:
    rng = np.random.default_rng(0)
    regions = rng.choice(np.array(values, np.uint8), (height // 32, width // 32))
    label = cv2.resize(regions, (width, height), interpolation=cv2.INTER_NEAREST)
    blobs = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
    smooth = cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(-3, 4, (height, width, 3))
    return (smooth.astype(int) + noise).clip(0, 255).astype(np.uint8), label


def encode(pixels: np.ndarray, file_format: str, palette: bool = False) -> bytes:
    picture = Image.fromarray(pixels)
    if palette:
        picture.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **({"quality": 90} if file_format == "JPEG" else {}))
    return buffer.getvalue()


def parts_of(path: Path, classes: str, ignored: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """Return what is timed: both ways of reading a sample, which must agree, and the steps of ours."""
    label_map = read_label_map(classes, ignored)
    table = LabelTable(label_map)
    lut = torch.full((256,), 255, dtype=torch.uint8)
    for value, class_id in label_map.raw_to_id.items():
        lut[value] = class_id
    source, archive = open_source(path), zipfile.ZipFile(path)
    listing = source.list_members()
    members = [listing.member(i) for i in range(2)]
    image_bytes, label_bytes = (source.read(member) for member in members)
    raw = decode_label(label_bytes, "label")

    def by_pillow() -> Arrays:
        pixels = np.array(Image.open(io.BytesIO(archive.read("image"))).convert("RGB"))
        values = torch.from_numpy(np.array(Image.open(io.BytesIO(archive.read("label")))))
        return pixels, lut[values.long()].numpy()

    def by_vfmseg() -> Arrays:
        pixels = decode_image(source.read(members[0]), "image")
        return pixels, table.to_ids(decode_label(source.read(members[1]), "label"), "label")

    for ours, theirs in zip(by_vfmseg(), by_pillow(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return {
        BASE: by_pillow,
        "vfmseg": by_vfmseg,
        "- read both": lambda: [source.read(member) for member in members],
        "- decode image": lambda: decode_image(image_bytes, "image"),
        "- decode label": lambda: decode_label(label_bytes, "label"),
        "- raw to ids": lambda: table.to_ids(raw, "label"),
    }


def main() -> None:
    options = measuring.parse(measuring.parser(__doc__, repeats=40, threads=1, cases=list(CASES)))
    found = {}
    for case in options.cases:
        height, width, classes, ignored, file_format, palette = CASES[case]
        image, label = generate(height, width, list(read_label_map(classes, ignored).raw_to_id))
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "x.zip"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("image", encode(image, file_format))
                archive.writestr("label", encode(label, "PNG", palette))
            found[case] = measuring.compare(parts_of(path, classes, ignored), BASE, repeats=options.repeats)
    measuring.report("data_archives", options, f"{BASE} in the same round", found)


if __name__ == "__main__":
    main()
