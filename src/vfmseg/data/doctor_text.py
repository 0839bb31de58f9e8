"""A report -> text for people: splits, values, findings with their remedies, and a verdict as last line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from vfmseg.data.doctor_report import Finding, Report, Severity, SplitFacts, ValueRow
from vfmseg.types import Size

WIDTH: Final = 96
"""Columns."""

_WORDS: Final[dict[Severity, str]] = {"error": "ERROR", "warning": "WARNING", "info": "note"}
_INDENT: Final = 9
_SHOWN_PLACES: Final = 3
_SHOWN_SIZES: Final = 3
_ALL_ROWS: Final = 40
"""A table of values up to this long is shown as a whole."""
_FREQUENT_ROWS: Final = 20
_RARE_ROWS: Final = 15
_NAME_WIDTH: Final = 28
_VALUE_WIDTH: Final = 15


def render(report: Report) -> str:
    """Return the whole report as lines of at most ``WIDTH`` columns, long file names excepted."""
    total = sum(split.num_samples for split in report.splits)
    classes = f"{len(report.class_names)} classes" if report.class_names else "classes without names"
    blocks = [
        _wrap(f"{report.title}: {total:,} images with labels, {classes}", ""),
        [line for split in report.splits for line in _wrap(split.sentence, "  ")],
        _split_table(report.splits),
        _value_table(report),
        *([*_finding_lines(finding)] for finding in report.findings),
        report.proposal.splitlines(),
        _wrap(_verdict(report), ""),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _split_table(splits: Sequence[SplitFacts]) -> list[str]:
    header = ["split", "images", "looked at", "ignored px", "read ms", "decode ms"]
    rows = [
        [
            split.split,
            f"{split.num_samples:,}",
            f"{split.num_examined:,}",
            _number(100 * split.ignored_share, " %"),
            _number(split.read_ms),
            _number(split.decode_ms),
        ]
        for split in splits
    ]
    table = _aligned([header, *rows], left=(0,))
    lines = [f"{table[0]}  size (height x width)"]
    lines += [f"{line}  {_sizes(split.sizes)}" for line, split in zip(table[1:], splits, strict=True)]
    if any(split.num_examined < split.num_samples for split in splits):
        lines += _wrap("Only some were looked at, evenly spread: all that follows is about those.", "")
    return lines


def _sizes(sizes: Sequence[tuple[Size, int]]) -> str:
    if not sizes:
        return "-"
    if len(sizes) <= _SHOWN_SIZES:
        one = len(sizes) == 1
        return ", ".join(f"{h} x {w}" + ("" if one else f" ({count:,})") for (h, w), count in sizes)
    by_area = sorted(sizes, key=lambda item: (item[0][0] * item[0][1], item[0]))
    (low, high), middle = (by_area[0][0], by_area[-1][0]), _median(by_area)
    return f"{len(sizes)} sizes: {low[0]} x {low[1]} ... {middle[0]} x {middle[1]} ... {high[0]} x {high[1]}"


def _median(by_area: Sequence[tuple[Size, int]]) -> Size:
    half, passed = sum(count for _, count in by_area) / 2, accumulate(count for _, count in by_area)
    return next(size for (size, _), so_far in zip(by_area, passed, strict=True) if so_far >= half)


def _value_table(report: Report) -> list[str]:
    totals = [max(1, sum(row.pixels[i] for row in report.values)) for i in range(len(report.splits))]
    rows, gap, end = list(report.values), "", ""
    if len(rows) > _ALL_ROWS:
        rows = sorted((row for row in rows if any(row.pixels)), key=lambda row: -sum(row.pixels))
        never = len(report.values) - len(rows)
        end = f"... and {never} classes that are never shown" if never else ""
        gap = f"... {len(rows) - _FREQUENT_ROWS - _RARE_ROWS} more between, all with --json FILE"
    header = ["value", "class"]
    for split in report.splits:
        header += [f"{split.split} px %", "labels"]
    table = _aligned([header, *(_value_cells(row, totals) for row in rows)], left=(1,)) if rows else []
    if len(rows) > _ALL_ROWS:
        table[1 + _FREQUENT_ROWS : -_RARE_ROWS] = [gap]
    return [*table, end] if end else table


def _value_cells(row: ValueRow, totals: Sequence[int]) -> list[str]:
    cells = [_cut(row.value, _VALUE_WIDTH), _cut(row.class_name, _NAME_WIDTH)]
    for pixels, images, total in zip(row.pixels, row.images, totals, strict=True):
        cells += [_share(pixels, total), f"{images:,}" if images else "-"]
    return cells


def _finding_lines(finding: Finding) -> Iterator[str]:
    indent = " " * _INDENT
    first, *rest = _wrap(f"{finding.what}.", indent)
    yield f"{_WORDS[finding.severity]:{_INDENT}}{first[_INDENT:]}"
    yield from rest
    for place in finding.places[:_SHOWN_PLACES]:
        yield from _wrap(f"- {place}", indent, hanging="  ")
    more = len(finding.places) - _SHOWN_PLACES
    if more > 0:
        yield f"{indent}- and {more:,} more (--json FILE lists all)"
    start = "-> "
    for line in finding.remedy.splitlines():
        yield from _wrap(start + line, indent, hanging="   ")
        start = "   "


def _verdict(report: Report) -> str:
    counts = {word: report.count(severity) for severity, word in _WORDS.items()}
    words = {"ERROR": "error", "WARNING": "warning", "note": "note"}
    said = ", ".join(f"{n} {words[word]}{'s' * (n > 1)}" for word, n in counts.items() if n) or "No findings"
    advice = "mend the errors first" if counts["ERROR"] else "nothing stands in the way of training"
    return f"{said}: {advice}. ({report.images_per_s:.0f} images/s)"


def _aligned(rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """Return one line a row, columns to the right except those in ``left``."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{'<' if i in left else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _wrap(text: str, indent: str, *, hanging: str = "") -> list[str]:
    leading = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.lstrip(),
        WIDTH,
        initial_indent=indent + leading,
        subsequent_indent=indent + leading + ("" if leading else hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _number(value: float, unit: str = "") -> str:
    return "-" if value != value else f"{value:.1f}{unit}"


def _share(pixels: int, total: int) -> str:
    percent = 100 * pixels / total
    if not pixels:
        return "-"
    return f"{percent:.1f}" if percent >= 1 else f"{percent:.2f}" if percent >= 0.01 else "<0.01"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
