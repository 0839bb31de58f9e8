"""What all benchmarks share: sides that take turns, their times and peaks of memory, and one form of result.

Import it before torch: as the program does, it sets the environment that torch reads when it is loaded.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vfmseg.cli.program import ENVIRONMENT

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

Run = Callable[[], object]
Group = dict[str, dict[str, Any]]
"""Side -> what was measured of it."""


def parser(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """Return a parser that knows ``--repeats``, ``--threads`` and ``--out``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats, help=f"rounds that count (default: {repeats})")
    made.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    made.add_argument("--out", type=Path, help="JSON file to write")
    return made


def compare(sides: Mapping[str, Run], base: str, *, repeats: int, peaks: bool = True) -> Group:
    """Time sides in turns and take the peak of memory of each.

    Each round runs every side once, in an order of its own; the first round only warms up. Ratios are of times of the
    same round, so that a machine that is slower for a while is slower for all sides.

    Args:
        sides: name -> what to run.
        base: the side that the others are compared with.
        repeats: rounds that count.
        peaks: run each side once more for its peak of memory.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = random.Random(0)
    for round_ in range(repeats + 1):
        for name in order.sample(list(sides), len(sides)):
            taken = _seconds(sides[name])
            if round_:
                seconds[name].append(taken)
    found = {name: ratios(taken, seconds[base]) for name, taken in seconds.items()}
    if peaks:
        for name, side in sides.items():
            found[name]["peak_mib"] = peak_mib(side)
    return found


def ratios(seconds: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    """Return what is kept of one side's times: each, their median, and the ratios to the base's of the same round."""
    by_round = sorted(one / other for one, other in zip(seconds, base, strict=True))
    return {
        "median_s": round(statistics.median(seconds), 5),
        "ratio": round(statistics.median(by_round), 3),
        "ratio_range": [round(by_round[0], 3), round(by_round[-1], 3)],
        "seconds": [round(one, 5) for one in seconds],
    }


def peak_mib(run: Run) -> float:
    """Return by how many MiB ``run`` raises the memory in use at its worst: of the GPU, or of this process."""
    torch = sys.modules.get("torch")
    gc.collect()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept would hide what is taken anew
    Path("/proc/self/clear_refs").write_text("5")  # makes what is in use the highest seen
    before = _status_kib("VmRSS")
    run()
    return round((_status_kib("VmHWM") - before) / 2**10, 1)


def report(benchmark: str, options: argparse.Namespace, base: str, groups: Mapping[str, Group]) -> None:
    """Print a table of ratios and peaks, and write all of it to ``options.out``, if that is set.

    Args:
        benchmark: name of the script.
        options: of its command line.
        base: what ratios are of, in words.
        groups: what was compared -> side -> what was measured of it, as of :func:`compare`.
    """
    for title, group in groups.items():
        width = max(map(len, group)) + 2
        print(f"\n{title}\n  {'':<{width}}{'median':>11}{'ratio':>8}{'range':>16}{'peak':>12}")
        for name, side in group.items():
            low, high = side["ratio_range"]
            memory = f"{side['peak_mib']:9.1f} MiB" if "peak_mib" in side else ""
            print(
                f"  {name:<{width}}{side['median_s'] * 1e3:8.1f} ms{side['ratio']:8.3f}"
                f"{f'{low:.2f}-{high:.2f}':>16}{memory}"
            )
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    result = {
        "benchmark": benchmark,
        "settings": settings,
        "machine": machine(),
        "base": base,
        "results": groups,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=2, default=str) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, threads and versions."""
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            found["cpu"] = line.partition(":")[2].strip()
            break
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        found["amx"] = torch.cpu._is_amx_tile_supported()
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    for package in ("vfmseg", "torch", "torchvision", "transformers", "timm", "torchmetrics", "pycocotools"):
        if package.replace("-", "_") in sys.modules:
            found[package] = importlib.metadata.version(package)
    return found


def _seconds(run: Run) -> float:
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise KeyError(field)
