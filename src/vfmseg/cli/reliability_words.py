"""Options of ``vfmseg validate`` that ask how far confidence can be believed, and the tables that answer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfmseg.runs.reliability import ReliabilityQuestion

_CONFIDENCES = ("max_probability", "entropy", "energy", "max_score", "rejected_by_all")
_COLUMNS = {
    "ECE": "ece",
    "overconf.": "overconfidence",
    "AUROC": "auroc",
    "AUPR succ.": "aupr_success",
    "AUPR err.": "aupr_error",
    "FPR95": "fpr95",
}
_OF_UNKNOWN = {"unk. AUROC": "auroc", "unk. AUPR": "aupr", "unk. FPR95": "fpr95"}

Record = Mapping[str, Any]
"""What stands in ``reliability.json``, with or without the bins."""


def add_reliability_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--reliability`` and what belongs to it."""
    parser.add_argument(
        "--reliability",
        action="store_true",
        help="task semantic: also say, in the same pass, how far confidence can be believed: calibration (ECE), and how "
        "well it tells right pixels from wrong ones",
    )
    parser.add_argument(
        "--confidence",
        choices=_CONFIDENCES,
        help="with --reliability: what confidence is (default: max_probability); energy is for pixel decoders, max_score "
        "and rejected_by_all for mask decoders",
    )
    parser.add_argument(
        "--unknown",
        metavar="VALUE_OR_FOLDER",
        help="with --reliability: also say how well it finds objects of none of the classes, which are marked by a value "
        "in the label files, such as 254, or by a folder of PNG masks named as the images (0 known, 255 ignored, others "
        "unknown)",
    )


def question_of(options: argparse.Namespace) -> ReliabilityQuestion | None:
    """Return what is asked, None for nothing.

    Raises:
        RecipeError: a part of the question without ``--reliability``.
    """
    from vfmseg.errors import RecipeError

    given = [name for name in ("confidence", "unknown") if getattr(options, name) is not None]
    if not options.reliability:
        if given:
            raise RecipeError(
                f"--{given[0]} belongs to the scores that --reliability asks for. Add --reliability, or leave out "
                f"--{given[0]}."
            )
        return None
    from vfmseg.runs.reliability import ReliabilityQuestion

    return ReliabilityQuestion(options.confidence or "max_probability", options.unknown)


def reliability_table(records: Mapping[str, Record]) -> str:
    """Return the numbers of each data set in a row, the name in front, and below what they are of.

    Args:
        records: name of the data -> its record; a single one may have an empty name.
    """
    first = next(iter(records.values()))
    has_unknown = any(record["unknown"] is not None for record in records.values())
    heads = [*_COLUMNS, *(_OF_UNKNOWN if has_unknown else ())]
    width = max(map(len, records))
    lines = ["  ".join(filter(None, [" " * width, *(f"{head:>10}" for head in heads)]))]
    for name, record in records.items():
        cells = [_percent(record[key]) for key in _COLUMNS.values()]
        if has_unknown:
            unknown = record["unknown"] or {}
            cells += [_percent(unknown.get(key)) for key in _OF_UNKNOWN.values()]
        lines.append("  ".join(filter(None, [f"{name:{width}}", *(f"{cell:>10}" for cell in cells)])))
    lines.append(f"in %, of the confidence {first['confidence']}; {_exactness(records)}")
    return "\n".join(lines)


def targets_reliability(result: Mapping[str, Any]) -> str:
    """Return the table of several targets and, where they are of the BRAVO challenge, its indices."""
    table = reliability_table(result["reliability"])
    bravo = result["bravo"]
    if bravo is None:
        return table
    found = ", ".join(f"{key} {_percent(bravo[key])}" for key in ("semantic", "ood", "total"))
    missing = ", ".join(bravo["missing"])
    note = (
        f"; not the challenge's, as these subsets are missing or lack a number: {missing}" if missing else ""
    )
    return f"{table}\nBRAVO indices in %: {found}{note}"


def corruptions_reliability(result: Mapping[str, Any]) -> str:
    """Return the table of the data as it is and under each corruption."""
    judged = result["reliability"]
    rows = {"no corruption": judged["clean"]}
    for kind, of_kind in judged["corruptions"].items():
        rows |= {f"{kind} {severity}": record for severity, record in of_kind.items()}
    return reliability_table(rows)


def _exactness(records: Mapping[str, Record]) -> str:
    """Return whether numbers are of all confidences as they were, or how far they may be off."""
    parts = [part for record in records.values() for part in (record, record["unknown"]) if part is not None]
    if all(part["exact"] for part in parts):
        return "exact"
    bound = max((part["error_bound"] for part in parts if part["error_bound"] is not None), default=0.0)
    return f"counted in bins, so that AUROC, AUPR and FPR95 may be off by up to {100 * bound:.2g} points"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
