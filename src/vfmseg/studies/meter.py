"""What a stretch of work costs: seconds, hours of processors and GPUs, and energy where the machine tells."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Cost:
    """Of one or several attempts."""

    seconds: float
    """By the clock."""
    cpu_hours: float
    """Over all cores, loader workers included."""
    gpu_hours: float
    """Hours by the clock times the GPUs used."""
    energy_kwh: float | None
    """Of the processors and GPUs of the machine, whoever else uses them; None where it does not tell."""
    attempts: int = 1

    def added_to(self, before: Mapping[str, Any] | None) -> Cost:
        """Return the sum with what ``cost.json`` held."""
        if not before:
            return self
        energy = before.get("energy_kwh")
        return Cost(
            self.seconds + before["seconds"],
            self.cpu_hours + before["cpu_hours"],
            self.gpu_hours + before["gpu_hours"],
            None if self.energy_kwh is None or energy is None else self.energy_kwh + energy,
            self.attempts + before["attempts"],
        )


class Meter:
    """Starts to count when made."""

    def __init__(self) -> None:
        self._clock, self._cpu, self._joules = time.perf_counter(), _cpu_seconds(), _joules()

    def stop(self) -> Cost:
        """Return what has been spent since."""
        seconds = time.perf_counter() - self._clock
        now = _joules()
        # a counter that has run over says nothing
        used = now - self._joules if now is not None and self._joules is not None else None
        return Cost(
            round(seconds, 3),
            round((_cpu_seconds() - self._cpu) / 3600, 6),
            round(seconds * _gpus_used() / 3600, 6),
            None if used is None or used < 0 else round(used / 3.6e6, 6),
        )


def _cpu_seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _gpus_used() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.memory_reserved(i) > 0 for i in range(torch.cuda.device_count()))


def _joules() -> float | None:
    """Return the energy counters of processors (RAPL) and GPUs (NVML, through torch) in joules; None without any."""
    found: list[float] = []
    for counter in _RAPL.glob("intel-rapl:[0-9]*/energy_uj"):
        if counter.parent.name.count(":") == 1:  # a whole package; its parts are in it
            with contextlib.suppress(OSError, ValueError):  # readable by root alone on most systems
                found.append(int(counter.read_text()) / 1e6)
    found += _gpu_joules()
    return sum(found) if found else None


def _gpu_joules() -> list[float]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3 for handle in handles]
    except pynvml.NVMLError:  # no driver, or a card that does not count
        return []
