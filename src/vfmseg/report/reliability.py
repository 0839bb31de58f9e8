"""Turns ``reliability.json`` into a diagram of how often a model is right when it says how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vfmseg.report import svg
from vfmseg.report.files import read_object, unreadable
from vfmseg.report.numbers import percent

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 220, 46, 12, 14, 40


@dataclass(frozen=True)
class Bin:
    """Pixels whose confidence lies between ``low`` and ``high``; shares in 0..1."""

    low: float
    high: float
    count: int
    mean_confidence: float | None
    """None where there are none."""
    accuracy: float | None


@dataclass(frozen=True)
class Reliability:
    """How far the confidence of a model can be believed; all numbers in 0..1, None where there is no such number."""

    confidence: str
    """What was taken as confidence."""
    bins: tuple[Bin, ...]
    """Empty where the confidence is no probability."""
    ece: float | None
    """Expected calibration error."""
    overconfidence: float | None
    """Mean confidence minus share of right pixels, -1..1."""
    auroc: float | None
    """Of telling right pixels from wrong ones; so are the next three."""
    aupr_success: float | None
    aupr_error: float | None
    fpr95: float | None
    error_bound: float | None
    """By how much these four are off at most; 0 where they are exact."""
    unknown: dict[str, Any] | None
    """The same of telling unknown objects from known ones: auroc, aupr, fpr95."""


def read_reliability(path: Path) -> Reliability | None:
    """Return what the file holds; None where there is no file.

    Raises:
        CheckpointError: it cannot be read.
    """
    content = read_object(path)
    if content is None:
        return None
    try:
        return parse_reliability(content)
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(path, f"it is not of the form that `vfmseg validate` writes ({error!r})") from error


def parse_reliability(content: Mapping[str, Any]) -> Reliability:
    """Return what a record holds, with or without bins.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    bins = tuple(
        Bin(
            float(one["low"]),
            float(one["high"]),
            int(one["count"]),
            *(None if one[key] is None else float(one[key]) for key in ("mean_confidence", "accuracy")),
        )
        for one in content.get("bins") or ()
    )
    keys = ("ece", "overconfidence", "auroc", "aupr_success", "aupr_error", "fpr95", "error_bound")
    numbers = {key: None if content.get(key) is None else float(content[key]) for key in keys}
    unknown = content.get("unknown")
    return Reliability(str(content["confidence"]), bins, **numbers, unknown=unknown and dict(unknown))


def reliability_diagram(title: str, found: Reliability) -> Markup:
    """Return an SVG: per bin of confidence a bar of the share of pixels that were right, and the diagonal.

    The bar of a bin that is surer than it is right falls short of the diagonal by what is drawn in orange.

    Args:
        title: accessible name, unique on the page.
        found: with at least one bin.
    """
    right, floor = _LEFT + _SIDE, _TOP + _SIDE

    def x(share: float) -> float:
        return _LEFT + _SIDE * share

    def y(share: float) -> float:
        return floor - _SIDE * share

    total = sum(one.count for one in found.bins) or 1
    parts = [Markup()]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(svg.line("grid", _LEFT, y(tick), right, y(tick)))
        parts.append(svg.text("tick", percent(tick), _LEFT - 6, y(tick) + 4, "end"))
        parts.append(svg.text("tick", percent(tick), x(tick), floor + 16, "middle"))
    parts.append(svg.text("tick", "confidence", (_LEFT + right) / 2, floor + 33, "middle"))
    said = []
    for one in found.bins:
        if one.accuracy is None or one.mean_confidence is None or not one.count:
            continue
        words = (
            f"confidence {percent(one.mean_confidence, 1)}: {percent(one.accuracy, 1)} right, "
            f"{percent(one.count / total, 1)} of the pixels"
        )
        left, width = x(one.low) + 0.5, x(one.high) - x(one.low) - 1
        parts.append(svg.box("right", left, y(one.accuracy), width, floor - y(one.accuracy), words))
        if one.mean_confidence > one.accuracy:
            top = y(one.mean_confidence)
            parts.append(svg.box("over", left, top, width, y(one.accuracy) - top, words))
        said.append(words)
    parts.append(svg.line("baseline", x(0), y(0), x(1), y(1)))
    width, height = right + _RIGHT, floor + _BOTTOM
    return svg.drawing(title, ". ".join(said), width, height, Markup().join(parts), "chart reliability")


def reliability_facts(found: Reliability) -> list[tuple[str, str]]:
    """Return the names and values of the numbers beside a diagram; those that there are not are left out."""
    named = [
        ("ECE", found.ece),
        ("Overconfidence", found.overconfidence),
        ("AUROC", found.auroc),
        ("AUPR success", found.aupr_success),
        ("AUPR error", found.aupr_error),
        ("FPR95", found.fpr95),
        ("off by at most", found.error_bound or None),
    ]
    if found.unknown is not None:
        wanted = (("AUROC", "auroc"), ("AUPR", "aupr"), ("FPR95", "fpr95"))
        named += [(f"unknown objects: {name}", found.unknown.get(key)) for name, key in wanted]
    return [(name, percent(value, 1)) for name, value in named if value is not None]
