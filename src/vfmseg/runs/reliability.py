"""What a validation found out about confidence in, ``reliability.json`` out."""

from __future__ import annotations

from pathlib import Path

from vfmseg.metrics.reliability import Reliability
from vfmseg.runs.folder import write_json

RELIABILITY_FILE = "reliability.json"


def write_reliability(folder: Path, found: Reliability) -> None:
    """Write :meth:`vfmseg.metrics.reliability.Reliability.record` as ``reliability.json``.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    write_json(folder / RELIABILITY_FILE, found.record())
