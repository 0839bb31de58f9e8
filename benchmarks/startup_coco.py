"""Times opening COCO panoptic at its full size, against what the standard library needs for the same files.

Usage: ``python benchmarks/startup_coco.py [--images 118287] [--kind panoptic] [--repeats 5] [--out FILE.json]``.
Writes zips in COCO 2017's layout with its number of entries (tiny pictures, a JSON with all fields and 11
segments an image), then opens them in fresh processes, alternating: ``zipfile`` for the zips and ``json.load``
for the JSON; ``open_dataset`` for the first time; ``open_dataset`` from the cache. Imports are not counted.
Printed are medians with the spread (lowest and highest), ratios to the first, and memory: the private memory
that stays once the data set is open, and the peak on the way. Limits for panoptic: 2.5 s for the first time, 0.5 s
from the cache, 150 MB held.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LIMITS = {"first time": 2.5, "cached": 0.5}
HELD_LIMIT_MB = 150
CASES = ("zipfile and json", "first time", "cached")
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


def memory_mb(key: str) -> float:
    """Return a line of the kernel's account of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this system does not tell {key}")


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
    before, rss_before = memory_mb("RssAnon"), memory_mb("VmRSS")
    start, start_cpu = time.perf_counter(), time.process_time()
    if case == CASES[0]:
        opened = open_with_standard_library(folder, kind)
    else:
        opened = open_dataset("coco", folder, "train", task=kind)
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    gc.collect()
    result = {
        "s": elapsed_s,
        "cpu_s": cpu_s,
        "held_mb": memory_mb("RssAnon") - before,
        "peak_mb": memory_mb("VmHWM") - rss_before,
    }
    if case != CASES[0]:
        result["pickled_mb"] = len(pickle.dumps(opened)) / 2**20
        if kind == "panoptic":
            assert opened[len(opened) - 1].image.shape == (3, 8, 8)
        else:
            assert len(opened.targets(len(opened) - 1).id_map) == 480
    return result


def run(case: str, folder: Path, kind: str) -> dict[str, float]:
    """Open once, in a fresh process."""
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder), "--kind", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--kind", choices=("panoptic", "instance"), default="panoptic")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.folder, arguments.kind)))
        return
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        os.environ["VFMSEG_CACHE"] = str(cache)
        write_layout(folder, arguments.kind, arguments.images)
        json_mb = (
            sum(
                info.file_size
                for info in zipfile.ZipFile(
                    folder / (PANOPTIC if arguments.kind == "panoptic" else INSTANCE)
                ).infolist()
                if info.filename.endswith(".json")
            )
            / 2**20
        )
        for repeat in range(arguments.repeats + 1):
            for case in CASES:
                if case == "first time":
                    shutil.rmtree(cache, ignore_errors=True)
                seen = run(case, folder, arguments.kind)
                if repeat:  # the first round brings the files into memory
                    found[case].append(seen)
        cache_mb = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 2**20
    result: dict[str, object] = {
        "images": arguments.images,
        "kind": arguments.kind,
        "json_mb": round(json_mb, 1),
        "cache_mb": round(cache_mb, 1),
        "repeats": arguments.repeats,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    reference = float(np.median([one["s"] for one in found[CASES[0]]]))
    for case, runs in found.items():
        times = [one["s"] for one in runs]
        row = {key: float(np.median([one[key] for one in runs])) for key in runs[0]}
        row |= {"low_s": min(times), "high_s": max(times), "ratio": row["s"] / reference}
        limit = f" (limit {LIMITS[case]:g} s, {HELD_LIMIT_MB} MB)" if case in LIMITS else ""
        print(
            f"{case:>16}: {row['s']:6.3f} s ({row['low_s']:.3f} to {row['high_s']:.3f}), {row['ratio']:.3f} x, "
            f"cpu {row['cpu_s']:.3f} s, "
            f"held {row['held_mb']:.0f} MB, peak {row['peak_mb']:.0f} MB{limit}"
        )
        result[case] = row
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
