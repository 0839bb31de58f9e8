"""A trial's folder in, what it has cost out: as it was, and as it would have been without features of other trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vfmseg.studies.folder import COST, FEATURES, read_json

ALONE = ("seconds", "cpu_hours", "gpu_hours")
"""Costs that models and settings are compared by: which trial found features ready depends on the order they ran in."""


def cost_of(folder: Path) -> dict[str, Any]:
    """Return ``cost.json``, and each of :data:`ALONE` with the ending ``_alone``; empty where there is none.

    Raises:
        StudyError: a file is damaged.
    """
    cost = read_json(folder / COST)
    if not cost:
        return {}
    saved = read_json(folder / FEATURES) or {}
    seconds = saved.get("saved_seconds", 0.0)
    more = {
        "seconds": seconds,
        "cpu_hours": saved.get("saved_cpu_seconds", 0.0) / 3600,
        "gpu_hours": cost.get("gpu_hours", 0.0) * seconds / (cost["seconds"] or 1.0),
    }
    if saved.get("read"):  # what it would have been is not known
        cost = {**cost, "energy_kwh": None}
    return {**cost, **{f"{key}_alone": round(cost[key] + more[key], 6) for key in ALONE if key in cost}}
