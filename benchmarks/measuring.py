"""What all benchmarks share: sides that take turns, their times and peaks of memory, and one form of result.

Import it before torch: as the program does, it sets the environment that torch reads when it is loaded. Linux only.
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
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vfmseg.cli.program import ENVIRONMENT

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

Run = Callable[[], object]
Measured = TypeVar("Measured")
Group = dict[str, dict[str, Any]]
"""Side -> what was measured of it."""

_MODULES = "vfmseg torch torchvision timm transformers torchmetrics pycocotools numpy cv2 PIL"
_PACKAGES = {"cv2": "opencv-python-headless", "PIL": "pillow"}
"""Module -> package, where they differ."""

_COLUMNS = ("median_s", "ratio", "ratio_range", "seconds", "cpu_s", "cpu_ratio", "peak_mib")
"""What has a column of the table, or none; anything else of a side stands at the end of its line."""


def parser(
    description: str | None, *, repeats: int, threads: int | None = None, cases: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Return a parser that knows ``--repeats``, ``--threads``, ``--out``, and ``--cases`` where there are some."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats, help=f"rounds that count (default: {repeats})")
    made.add_argument("--threads", type=int, default=threads, help=f"(default: {threads or 'one a core'})")
    if cases:
        known = f"(default: all) {'; '.join(cases)}"
        made.add_argument(
            "--cases", nargs="+", metavar="CASE", choices=cases, default=list(cases), help=known
        )
    made.add_argument("--out", type=Path, help="JSON file to write")
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of the command line, and give torch and OpenCV the threads they ask for."""
    options = made.parse_args()
    for module, setter in (("torch", "set_num_threads"), ("cv2", "setNumThreads")):
        if options.threads and module in sys.modules:
            getattr(sys.modules[module], setter)(options.threads)
    return options


def rounds(sides: Mapping[str, Callable[[], Measured]], repeats: int) -> dict[str, list[Measured]]:
    """Run every side once a round, in an order of its own, and return what each gave; the first round only warms up."""
    found: dict[str, list[Measured]] = {name: [] for name in sides}
    order = random.Random(0)
    for round_ in range(repeats + 1):
        for name in order.sample(list(sides), len(sides)):
            measured = sides[name]()
            if round_:
                found[name].append(measured)
    return found


def compare(sides: Mapping[str, Run], base: str, *, repeats: int) -> Group:
    """Time sides in turns, then run each once more for its peak of memory.

    Args:
        sides: name -> what to run.
        base: the side that the others are compared with.
        repeats: rounds that count.
    """
    taken = rounds({name: partial(_seconds, side) for name, side in sides.items()}, repeats)
    wall = {name: [one[0] for one in times] for name, times in taken.items()}
    cpu = {name: [one[1] for one in times] for name, times in taken.items()}
    return {
        name: {
            **ratios(wall[name], wall[base]),
            "cpu_s": round(statistics.median(cpu[name]), 7),
            "cpu_ratio": ratios(cpu[name], cpu[base])["ratio"],
            "peak_mib": peak_mib(side),
        }
        for name, side in sides.items()
    }


def ratios(seconds: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    """Return what is kept of one side's times: each, their median, and the ratios to the base's of the same round.

    A machine that is slower for a while is slower for all sides of a round.
    """
    by_round = sorted(one / other for one, other in zip(seconds, base, strict=True))
    return {
        "median_s": round(statistics.median(seconds), 7),
        "ratio": round(statistics.median(by_round), 4),
        "ratio_range": [round(by_round[0], 4), round(by_round[-1], 4)],
        "seconds": [round(one, 7) for one in seconds],
    }


def peak_mib(run: Run) -> float:
    """Return by how many MiB ``run`` raises the memory in use at its worst: of the GPU, if used, or of this process."""
    gc.collect()
    if cuda := _cuda():
        cuda.synchronize()
        before = cuda.memory_allocated()
        cuda.reset_peak_memory_stats()
        run()
        cuda.synchronize()
        return round((cuda.max_memory_allocated() - before) / 2**20, 1)
    ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept would hide what is taken anew
    Path("/proc/self/clear_refs").write_text("5")  # makes what is in use the highest seen
    resident = status_mib("VmRSS")
    run()
    return round(status_mib("VmHWM") - resident, 1)


def status_mib(field: str) -> float:
    """Return a line of the kernel's account of this process."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"\n{field}:")[2].split()[0]) / 2**10


def report(benchmark: str, options: argparse.Namespace, base: str, groups: Mapping[str, Group]) -> None:
    """Print a table of ratios and peaks, and write all of it to ``options.out``, if that is set.

    Args:
        benchmark: name of the script.
        options: of its command line.
        base: what ratios are of, in words.
        groups: what was compared -> side -> what was measured of it, as of :func:`compare`; a script may add to that.
    """
    for title, group in groups.items():
        width = max(map(len, group)) + 2
        print(f"\n{title}")
        print(f"  {'':{width}}{'median':>12}{'ratio':>9}{'range':>18}{'cpu ratio':>11}{'peak':>13}")
        for name, side in group.items():
            low, high = side["ratio_range"]
            median_ms = side["median_s"] * 1e3
            cpu = f"{side['cpu_ratio']:.3f}" if "cpu_ratio" in side else ""
            print(
                f"  {name:{width}}{median_ms:9.{1 if median_ms >= 10 else 3}f} ms{side['ratio']:9.3f}"
                f"{f'{low:.3f}-{high:.3f}':>18}{cpu:>11}{side['peak_mib']:9.1f} MiB",
                *(f" {key} {value:g}" for key, value in side.items() if key not in _COLUMNS),
            )
    if options.out:
        settings = {name: value for name, value in vars(options).items() if name != "out"}
        result = {"benchmark": benchmark, "settings": settings, "machine": machine()}
        result |= {"base": base, "results": groups}
        options.out.write_text(json.dumps(result, indent=2, default=str) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, threads and versions."""
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split("\t", 1) for line in lines if "\t" in line)
    found["cpu"] = facts.get("model name", platform.machine()).strip(": ")
    found["amx"] = "amx_tile" in facts.get("flags", "")
    if torch := sys.modules.get("torch"):
        found["threads"] = torch.get_num_threads()
    if cuda := _cuda():
        found["gpu"] = cuda.get_device_name()
    for module in _MODULES.split():
        if module in sys.modules:
            package = _PACKAGES.get(module, module)
            found[package] = importlib.metadata.version(package)
    return found


def _seconds(run: Run) -> tuple[float, float]:
    """Return the seconds ``run`` takes on the clock, and of the processor over all threads of this process."""
    if cuda := _cuda():
        cuda.synchronize()
    start, start_cpu = time.perf_counter(), time.process_time()
    run()
    if cuda:
        cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - start_cpu


def _cuda() -> Any:
    """Return ``torch.cuda`` if this process has used a GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
