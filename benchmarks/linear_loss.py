"""The pixel loss against F.interpolate + F.cross_entropy: time and peak memory of forward and backward.

Run: python benchmarks/linear_loss.py [--repeats 7] [--threads 2] [--out FILE.json]
Sides take turns in one process; printed are medians, their 10th and 90th percentiles and ratios. Memory is
what one call adds at its peak: on a CPU (Linux only) to the resident size of a process of its own, on a GPU
to the allocated memory. Losses and gradients must agree before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vfmseg.losses.pixels import pixel_cross_entropy

CASES = {
    "512x512, 150 classes, batch 2": (2, 150, 32, 512),
    "1024x1024, 19 classes, batch 2": (2, 19, 64, 1024),
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def ours(logits: Tensor, id_maps: Tensor) -> Tensor:
    return pixel_cross_entropy(logits, id_maps, average="batch")


def usual(logits: Tensor, id_maps: Tensor) -> Tensor:
    size = (id_maps.shape[1], id_maps.shape[2])
    upsampled = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return F.cross_entropy(upsampled, id_maps.long(), ignore_index=255)


SIDES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"vfmseg": ours, "interpolate + cross_entropy": usual}


def example(case: str) -> tuple[Tensor, Tensor]:
    batch, classes, grid, image = CASES[case]
    torch.manual_seed(0)
    logits = (3 * torch.randn(batch, classes, grid, grid)).to(DEVICE).requires_grad_()
    id_maps = torch.randint(0, classes, (batch, image, image), dtype=torch.uint8)
    id_maps[torch.rand(id_maps.shape) < 0.1] = 255
    return logits, id_maps.to(DEVICE)


def wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def added_memory_mib(case: str, side: str) -> float:
    """Return what one forward and backward adds to the memory in use."""
    logits, id_maps = example(case)
    SIDES[side](logits[:, :, :2, :2], id_maps[:, :8, :8]).backward()  # libraries load on first use
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        SIDES[side](logits, id_maps).backward()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is in use now
    before = peak_resident_mib()
    SIDES[side](logits, id_maps).backward()
    return peak_resident_mib() - before


def peak_resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for case in CASES:
        logits, id_maps = example(case)
        losses = {name: side(logits, id_maps) for name, side in SIDES.items()}
        gradients = [torch.autograd.grad(loss, logits)[0] for loss in losses.values()]
        torch.testing.assert_close(*losses.values(), rtol=1e-5, atol=0)
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-8)
        seconds: dict[str, list[float]] = {name: [] for name in SIDES}
        for repeat in range(options.repeats + 1):
            for name, side in SIDES.items():
                logits.grad = None
                wait()
                start = time.perf_counter()
                side(logits, id_maps).backward()
                wait()
                if repeat:
                    seconds[name].append(time.perf_counter() - start)
        memory = {}
        for name in SIDES:
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                memory[name] = fresh.apply(added_memory_mib, (case, name))
        median = {name: statistics.median(times) for name, times in seconds.items()}
        results[case] = {
            name: {
                "median_s": round(median[name], 4),
                "p10_s": round(sorted(times)[len(times) // 10], 4),
                "p90_s": round(sorted(times)[-1 - len(times) // 10], 4),
                "time_ratio_to_vfmseg": round(median[name] / median["vfmseg"], 2),
                "memory_mib": round(memory[name], 1),
                "memory_ratio_to_vfmseg": round(memory[name] / memory["vfmseg"], 2),
            }
            for name, times in seconds.items()
        }
    result = {
        "benchmark": "linear_loss",
        "settings": vars(options),
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        "torch": torch.__version__,
        "results": results,
    }
    print(json.dumps(result, indent=2))
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
