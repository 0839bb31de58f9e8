"""Opening COCO at its full size against what the standard library needs for the same files.

Run: python benchmarks/startup_coco.py [--images 118287] [--kind panoptic] [--repeats 5] [--out FILE.json]
Writes zips in COCO 2017's layout with its number of entries (tiny pictures, a JSON with all fields and 11 segments an
image), then opens them in fresh processes: ``zipfile`` for the zips and ``json.load`` for the JSON; ``open_dataset`` for
the first time; ``open_dataset`` from the cache. Imports are not counted. Held is the private memory that stays once the
data set is open. Limits for panoptic: 2.5 s for the first time, 0.5 s from the cache, 150 MiB held.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import numpy as np
from PIL import Image

LIMITS = {"first time": 2.5, "cached": 0.5}
HELD_LIMIT_MIB = 150
CASES = ("zipfile and json", "first time", "cached")
BASE = CASES[0]
PANOPTIC = "panoptic_annotations_trainval2017.zip"
INSTANCE = "annotations_trainval2017.zip"


def encode(pixels: np.ndarray, file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def write_zip(path: Path, folder: str, names: list[str], data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), data)


def write_layout(folder: Path, kind: str, count: int) -> None:
    rng = np.random.default_rng(0)
    numbers = np.sort(rng.choice(581_930, count, replace=False) + 1).tolist()
    stems = [f"{number:012d}" for number in numbers]
    side = (8, 8, 3)
    write_zip(
        folder / "train2017.zip",
        "train2017",
        [f"{stem}.jpg" for stem in stems],
        encode(np.zeros(side, np.uint8), "JPEG"),
    )
    name = f"{kind}_train2017" if kind == "panoptic" else "instances_train2017"
    images = [
        {
            "license": 3, "file_name": f"{stem}.jpg", "coco_url": f"http://images.cocodataset.org/train2017/{stem}.jpg",
            "height": 480, "width": 640, "date_captured": "2013-11-14 16:28:13",
            "flickr_url": f"http://farm9.staticflickr.com/8186/{number}_fdad1b8eaa_z.jpg", "id": number,
        }
        for stem, number in zip(stems, numbers, strict=True)
    ]  # fmt: skip
    make = panoptic_annotations if kind == "panoptic" else instance_annotations
    content = {
        "info": {"description": "COCO 2017"}, "licenses": [], "images": images,
        "annotations": make(rng, numbers), "categories": [],
    }  # fmt: skip
    with zipfile.ZipFile(folder / (PANOPTIC if kind == "panoptic" else INSTANCE), "w") as archive:
        archive.writestr(f"annotations/{name}.json", json.dumps(content), zipfile.ZIP_DEFLATED, 6)
        if kind == "panoptic":
            inner = folder / "inner.zip"
            write_zip(inner, name, [f"{stem}.png" for stem in stems], encode(np.zeros(side, np.uint8), "PNG"))
            archive.write(inner, f"annotations/{name}.zip")
            inner.unlink()


def panoptic_annotations(rng: np.random.Generator, numbers: list[int]) -> list[dict[str, Any]]:
    annotations = []
    for number in numbers:
        count = int(rng.integers(3, 20))
        ids = rng.choice(1 << 24, count, replace=False) + 1
        boxes = rng.integers(0, 640, (count, 5)).tolist()
        segments = [
            {
                "id": min(i, (1 << 24) - 1),
                "category_id": 1,
                "iscrowd": 0,
                "bbox": box[:4],
                "area": 100 * box[4],
            }
            for i, box in zip(ids.tolist(), boxes, strict=True)
        ]
        annotations.append({"segments_info": segments, "file_name": f"{number:012d}.png", "image_id": number})
    return annotations


def instance_annotations(rng: np.random.Generator, numbers: list[int]) -> list[dict[str, Any]]:
    annotations = []
    for number in numbers:
        for i in range(int(rng.integers(0, 15))):
            points = (rng.random(2 * int(rng.integers(5, 45))) * 400).round(2).tolist()
            annotations.append(
                {
                    "segmentation": [points], "area": 702.1057499999998, "iscrowd": 0, "image_id": number,
                    "bbox": [473.07, 395.93, 38.65, 28.67], "category_id": 18, "id": 100 * number + i,
                }
            )  # fmt: skip
    return annotations


def open_with_standard_library(folder: Path, kind: str) -> object:
    outer = zipfile.ZipFile(folder / (PANOPTIC if kind == "panoptic" else INSTANCE))
    name = "panoptic_train2017" if kind == "panoptic" else "instances_train2017"
    parts = [zipfile.ZipFile(folder / "train2017.zip"), outer]
    if kind == "panoptic":
        parts.append(zipfile.ZipFile(outer.open(f"annotations/{name}.zip")))
    with outer.open(f"annotations/{name}.json") as file:
        return parts, json.load(file)


def measure(case: str, folder: Path, kind: str) -> dict[str, float]:
    """Open once, in this process."""
    from vfmseg.data.dataset import open_dataset

    gc.collect()
    before, resident = measuring.status_mib("RssAnon"), measuring.status_mib("VmRSS")
    start, start_cpu = time.perf_counter(), time.process_time()
    if case == BASE:
        opened = open_with_standard_library(folder, kind)
    else:
        opened = open_dataset("coco", folder, "train", task=kind)
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    gc.collect()
    result = {
        "s": elapsed_s,
        "cpu_s": cpu_s,
        "held_mib": measuring.status_mib("RssAnon") - before,
        "peak_mib": measuring.status_mib("VmHWM") - resident,
    }
    if case != BASE:
        result["pickled_mib"] = len(pickle.dumps(opened)) / 2**20
        if kind == "panoptic":
            assert opened[len(opened) - 1].image.shape == (3, 8, 8)
        else:
            assert len(opened.targets(len(opened) - 1).id_map) == 480
    return result


def run(case: str, folder: Path, kind: str) -> dict[str, float]:
    """Open once, in a fresh process."""
    if case == "first time":
        shutil.rmtree(os.environ["VFMSEG_CACHE"], ignore_errors=True)
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder), "--kind", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = measuring.parser(__doc__, repeats=5)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--kind", choices=("panoptic", "instance"), default="panoptic")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = measuring.parse(parser)
    if options.case:
        print(json.dumps(measure(options.case, options.folder, options.kind)))
        return
    del options.case, options.folder  # only a fresh process has them
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["VFMSEG_CACHE"] = str(folder / "cache")
        write_layout(folder, options.kind, options.images)
        sides = {case: partial(run, case, folder, options.kind) for case in CASES}
        runs = measuring.rounds(sides, options.repeats)
        cache_bytes = sum(path.stat().st_size for path in folder.glob("cache/**/*") if path.is_file())
    group = {case: summary(found, runs[BASE]) for case, found in runs.items()}
    group["cached"]["cache_mib"] = round(cache_bytes / 2**20, 1)
    if options.kind == "panoptic":
        for case, limit in LIMITS.items():
            group[case] |= {"limit_s": limit, "limit_held_mib": HELD_LIMIT_MIB}
    title = f"COCO {options.kind}, {options.images} images"
    measuring.report("startup_coco", options, "zipfile and json.load in the same round", {title: group})


def summary(runs: list[dict[str, float]], base: list[dict[str, float]]) -> dict[str, Any]:
    """Return what is kept of one side's runs: times, ratios, and medians of the rest."""
    times, cpu = (
        measuring.ratios([one[key] for one in runs], [one[key] for one in base]) for key in ("s", "cpu_s")
    )
    rest = {key: round(statistics.median(one[key] for one in runs), 3) for key in runs[0] if key != "s"}
    return times | {"cpu_ratio": cpu["ratio"]} | rest


if __name__ == "__main__":
    main()
