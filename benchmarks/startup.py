"""Times how long opening a data set takes, against what the standard library needs to open the same zip.

Usage: ``python benchmarks/startup.py [--images 20210] [--repeats 15] [--out FILE.json]``. Writes a zip in the
layout and with the number of files of ADE20K (tiny JPEGs and PNGs), then measures side by side in one
process: ``zipfile.ZipFile(path)``, which only reads the directory; ``open_dataset`` for the first time; and
``open_dataset`` with the index in the cache. Printed are medians with the spread (10th and 90th percentile)
and ratios to ``zipfile``. Limits: 4 x for the first time, 1 x from the cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import platform
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.spec import read_label_map

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


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20210)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        os.environ["VFMSEG_CACHE"] = str(cache)
        path = write_ade20k_layout(folder, arguments.images, 2000)

        def open_train() -> SegmentationDataset:
            return open_dataset("ade20k", folder, "train")

        def open_first_time() -> SegmentationDataset:
            shutil.rmtree(cache, ignore_errors=True)
            read_label_map.cache_clear()
            return open_train()

        times: dict[str, list[float]] = {"zipfile": [], "first time": [], "cached": []}
        for repeat in range(arguments.repeats + 1):
            for case, function in (
                ("zipfile", lambda: zipfile.ZipFile(path).close()),
                ("first time", open_first_time),
                ("cached", open_train),
            ):
                elapsed = seconds(function)
                if repeat:  # the first round warms up
                    times[case].append(elapsed)
        dataset = open_train()
        assert len(dataset) == arguments.images
        assert dataset[0].image.shape == (3, 8, 8)
        bytes_a_sample = len(pickle.dumps(dataset)) / len(dataset)
    result: dict[str, object] = {
        "images": arguments.images,
        "files in the zip": 2 * (arguments.images + 2000),
        "repeats": arguments.repeats,
        "bytes a sample in a loader worker": round(bytes_a_sample),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    reference = float(np.median(times["zipfile"]))
    for case, values in times.items():
        low, middle, high = np.percentile(values, (10, 50, 90))
        ratio = middle / reference
        limit = f" (limit {LIMITS[case]:g})" if case in LIMITS else ""
        spread = f"({low * 1e3:.1f} to {high * 1e3:.1f})"
        print(f"{case:>10}: {middle * 1e3:7.1f} ms {spread}, {ratio:.3f} x zipfile{limit}")
        result[case] = {"median_s": middle, "p10_s": low, "p90_s": high, "ratio": ratio}
    print(f"a loader worker holds {bytes_a_sample:.0f} bytes a sample")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
