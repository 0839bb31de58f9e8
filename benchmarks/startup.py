"""Opening a data set, for the first time and from the cache, against what the standard library needs for the same zip.

Run: python benchmarks/startup.py [--images 20210] [--repeats 15] [--out FILE.json]
Writes a zip in the layout and with the number of files of ADE20K (tiny JPEGs and PNGs). Compared with
``zipfile.ZipFile(path)``, which only reads the directory: ``open_dataset`` for the first time, and with the index in the
cache. Limits: 4 x for the first time, 1 x from the cache.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import numpy as np
from PIL import Image

from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.spec import read_label_map

BASE = "zipfile"
LIMITS = {"first time": 4.0, "cached": 1.0}


def encode(pixels: np.ndarray, file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def write_ade20k_layout(folder: Path, num_train: int, num_val: int) -> Path:
    rng = np.random.default_rng(0)
    image = encode(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), "JPEG")
    label = encode(rng.integers(0, 151, (8, 8)).astype(np.uint8), "PNG")
    path = folder / "ADEChallengeData2016.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, data, ending in (("images", image, "jpg"), ("annotations", label, "png")):
            for split, short, count in (("training", "train", num_train), ("validation", "val", num_val)):
                for number in range(1, count + 1):
                    name = f"ADEChallengeData2016/{kind}/{split}/ADE_{short}_{number:08d}.{ending}"
                    archive.writestr(name, data)
    return path


def main() -> None:
    parser = measuring.parser(__doc__, repeats=15)
    parser.add_argument("--images", type=int, default=20210)
    options = measuring.parse(parser)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        os.environ["VFMSEG_CACHE"] = str(cache)
        path = write_ade20k_layout(folder, options.images, 2000)

        def open_train() -> SegmentationDataset:
            return open_dataset("ade20k", folder, "train")

        def open_first_time() -> SegmentationDataset:
            shutil.rmtree(cache, ignore_errors=True)
            read_label_map.cache_clear()
            return open_train()

        sides = {
            BASE: lambda: zipfile.ZipFile(path).close(),
            "first time": open_first_time,
            "cached": open_train,
        }
        dataset = open_train()
        assert len(dataset) == options.images
        assert dataset[0].image.shape == (3, 8, 8)
        group = measuring.compare(sides, BASE, repeats=options.repeats)
    for case, limit in LIMITS.items():
        group[case] |= {"limit": limit, "bytes_a_sample": round(len(pickle.dumps(dataset)) / len(dataset))}
    title = f"{2 * (options.images + 2000)} files in a zip"
    measuring.report("startup", options, "zipfile.ZipFile in the same round", {title: group})


if __name__ == "__main__":
    main()
