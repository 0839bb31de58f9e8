"""``vfmseg report``: run folders, what validations wrote, or the results of a study in, one HTML page out."""

from __future__ import annotations

import argparse

TAKES_RECIPE_KEYS = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="DIR",
        help="a run folder, or what `vfmseg validate --out DIR` wrote; several are compared on one page; or what "
        "`vfmseg benchmark` wrote, alone",
    )
    parser.add_argument(
        "--out",
        metavar="PAGE.html",
        help="where the page goes (default: report.html in the first DIR, or comparison.html there for several models)",
    )
    parser.add_argument(
        "--sql",
        metavar="QUERY",
        help="of a study: print what DuckDB answers over its table `trials` instead, such as "
        "'select encoder, avg(\"val/miou\") from trials group by encoder'",
    )
    parser.add_argument("--csv", action="store_true", help="with --sql: print CSV")
    parser.add_argument("--json", action="store_true", help="with --sql: print one JSON array")


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Write the page and say where it is, or answer a query."""
    from vfmseg.errors import RecipeError, StudyError

    if options.sql is not None:
        from pathlib import Path

        from vfmseg.studies.query import Form, answer

        if len(options.folders) != 1 or options.out:
            raise StudyError("--sql asks the table of one study: give its folder alone, without --out.")
        if options.csv and options.json:
            raise StudyError("--csv and --json exclude each other: each says how --sql prints. Choose one.")
        form: Form = "csv" if options.csv else "json" if options.json else "table"
        print(answer(Path(options.folders[0]), options.sql, form=form))
        return 0
    if options.csv or options.json:
        raise RecipeError("--csv and --json say how --sql prints; add --sql QUERY, or leave them out.")
    from vfmseg.report.folders import write_report

    print(write_report(options.folders, options.out))
    return 0
