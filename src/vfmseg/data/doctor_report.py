"""What the doctor found, as plain facts: findings, splits, value counts; to JSON and to an exit code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from vfmseg.types import Size

Severity = Literal["error", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
"""``error``: training stops there, or learns something else than is meant; ``warning``: it runs, but the
result suffers; ``info``: good to know."""


@dataclass(frozen=True)
class Place:
    """Where a finding shows: a file of a split, or a class."""

    split: str
    name: str
    detail: str = ""
    """What is special about this one; empty where the finding says it all."""

    def __str__(self) -> str:
        return f"{self.split}: {self.name}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know about the data."""

    severity: Severity
    code: str
    """Stable name of this kind of finding, for programs."""
    what: str
    """One sentence without its full stop."""
    remedy: str
    """What to do or to type, may hold lines of YAML; empty where there is nothing to do."""
    places: tuple[Place, ...] = ()
    """All of them."""

    @property
    def count(self) -> int:
        """How many files or classes it concerns; 0 where it concerns the data as a whole."""
        return len(self.places)


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """One split in numbers."""

    split: str
    sentence: str
    """What was found where."""
    num_samples: int
    """Images with a label."""
    num_examined: int
    """Of those, how many were looked at."""
    ignored_share: float
    """Share (0-1) of the label pixels without a class; NaN where the classes are not known."""
    read_ms: float
    """Mean time to read image and label, milliseconds; NaN where nothing was read."""
    decode_ms: float
    """Mean time of one core to decode image and label, milliseconds; NaN where nothing was."""
    sizes: tuple[tuple[Size, int], ...]
    """(height, width) of the images with their numbers, the most frequent first."""


@dataclass(frozen=True, kw_only=True)
class ValueRow:
    """How often one raw value, or one colour, occurs in the labels."""

    value: str
    """As stored: ``7``, or ``[128, 64, 128]``; of a class that never occurs all that would mean it."""
    class_name: str
    """The class it means; ``(ignored)``, ``(no class)``, or ``(no name yet)``."""
    pixels: tuple[int, ...]
    """Per split, in the order of ``Report.splits``."""
    images: tuple[int, ...]
    """Labels it occurs in, per split."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that was found. ``doctor_text.render`` turns it into text for people."""

    title: str
    """What was examined."""
    class_names: tuple[str, ...]
    """Empty where the classes have no names yet."""
    splits: tuple[SplitFacts, ...]
    values: tuple[ValueRow, ...]
    findings: tuple[Finding, ...]
    """The most severe first."""
    proposal: str
    """A YAML description to correct and save, where the classes have no names yet; else empty."""
    images_per_s: float
    """Samples examined per second, all cores together."""

    def count(self, severity: Severity) -> int:
        """Return the number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def exit_code(self, strict: bool = False) -> int:
        """Return 1 if there is an error, with ``strict`` also if there is a warning; else 0."""
        return int(self.count("error") > 0 or (strict and self.count("warning") > 0))

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form; numbers that are not known are None."""
        tree = asdict(self)
        for split in tree["splits"]:
            split.update({key: None for key, value in split.items() if value != value})
        for finding, raw in zip(self.findings, tree["findings"], strict=True):
            raw["count"] = finding.count
        return tree

    def to_json(self) -> str:
        """Return :meth:`as_dict` as JSON text. Every place of every finding is in it."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
