"""What happened to weights on their way into an encoder in, sentences for a person out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightsReport:
    """Where an encoder's weights came from, and what was done to them on the way."""

    source: str
    """``random``, the path of a file, or a repository of the Hugging Face hub."""
    container: str = ""
    """Keys under which the state dict lay in the file, joined by dots (``model``), or empty."""
    prefix: str = ""
    """What was cut from the front of every name (``image_encoder.``), or empty."""
    not_used: tuple[str, ...] = ()
    """Names in the file that segmentation does not use (heads, pooling, SAM's neck …)."""
    resampled: tuple[str, ...] = ()
    """What was resampled to the image and patch size, one sentence each."""

    def lines(self) -> list[str]:
        """Return the report as sentences for a person."""
        found = [f"weights: {self.source}"]
        if self.container:
            found.append(f"taken from {self.container!r} inside the file")
        if self.prefix:
            found.append(f"prefix {self.prefix!r} cut from every name")
        if self.not_used:
            found.append(f"not used ({len(self.not_used)}): {collapse(self.not_used)}")
        return found + list(self.resampled)


def collapse(names: Iterable[str]) -> str:
    """Join names; those that differ only in the number of the block become one: ``blocks.{0-11}.x``."""
    blocks: dict[str, list[int]] = {}
    for name in names:
        number = re.search(r"\.(\d+)\.", name)
        key = name if number is None else f"{name[: number.start(1)]}#{name[number.end(1) :]}"
        blocks.setdefault(key, []).append(-1 if number is None else int(number[1]))
    return few(
        k if n[0] < 0 else k.replace("#", str(n[0]) if len(n) == 1 else f"{{{min(n)}-{max(n)}}}", 1)
        for k, n in blocks.items()
    )


def few(items: Iterable[str], limit: int = 24) -> str:
    """Join items with commas; of very many the first, and how many more."""
    found = list(items)
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return (", ".join(found[:limit]) or "none") + more
