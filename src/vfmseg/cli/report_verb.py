"""``vfmseg report``: a run folder in, one HTML page out."""

from __future__ import annotations

import argparse

TAKES_RECIPE_KEYS = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("run", help="a run folder")


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Write the page and say where it is."""
    from pathlib import Path

    from vfmseg.report.pages import write_run_report

    print(write_run_report(Path(options.run)))
    return 0
