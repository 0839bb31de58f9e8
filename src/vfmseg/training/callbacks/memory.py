"""The most memory a run has held: of the GPU where it uses one, of the process else."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Let the peak begin anew with what is held now; a process that runs several fits has a peak for each.

    Where the system cannot do that (anything but Linux), the peak stays that of the process so far.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # a container may forbid it
        _RESET.write_text("5")


def peak_memory_gib() -> float:
    """Return the peak in GiB since :func:`forget_peak`."""
    if torch.cuda.is_initialized() and (allocated := torch.cuda.max_memory_allocated()):
        return allocated / 2**30
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
