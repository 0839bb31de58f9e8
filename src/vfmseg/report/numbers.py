"""Turns numbers into the few characters that a reader needs."""

from __future__ import annotations

import math


def percent(share: float | None, digits: int | None = None) -> str:
    """Return 0.713 as ``"71.3 %"`` and 0.5 as ``"50 %"`` (no-break space), and None or NaN as ``"–"``."""
    if share is None or math.isnan(share):
        return "–"
    if digits is None:
        digits = 0 if math.isclose(100 * share, round(100 * share), abs_tol=1e-9) else 1
    return f"{100 * share:.{digits}f}\u00a0%"


def points(share: float | None) -> str:
    """Return 0.713 as ``"71.3"``, for tables whose unit stands elsewhere; None as ``"–"``."""
    return percent(share, 1).removesuffix("\u00a0%")


def compact(value: float) -> str:
    """Return at most three significant digits with k, M or G: 20000 as ``"20k"``, 0.0001 as ``"1e-4"``."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001:
        digits, power = f"{value:.2e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    for limit, unit in ((999.5e6, "G"), (999.5e3, "M"), (9995.0, "k")):
        if size >= limit:
            return f"{value / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:.3g}{unit}"
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}"


def millions(count: float | None) -> str:
    """Return 22056576 as ``"22.1 M"``, and None as a dash."""
    if count is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}\u00a0{unit}"
    return f"{count:.0f}"


def size_of_file(count: int | None) -> str:
    """Return 12108392 bytes as ``"12.1 MB"``, and None as a dash."""
    if count is None:
        return "–"
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g}\u00a0{unit}"
    return f"{count}\u00a0B"


def duration(seconds: float) -> str:
    """Return 4370 as ``"1 h 13 min"``, 75 as ``"1 min 15 s"``."""
    if seconds < 60:
        return f"{seconds:.3g}\u00a0s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}\u00a0min {whole % 60}\u00a0s"
    minutes = round(seconds / 60)
    if minutes < 1440:
        return f"{minutes // 60}\u00a0h {minutes % 60}\u00a0min"
    return f"{minutes // 1440}\u00a0d {minutes % 1440 // 60}\u00a0h"
