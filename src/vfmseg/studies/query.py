"""SQL in, rows of a study's table out, through DuckDB."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from vfmseg.errors import StudyError
from vfmseg.studies.folder import STUDY
from vfmseg.studies.store import CSV, PARQUET, refresh_table

Form = Literal["table", "csv", "json"]


def answer(results: Path, query: str, *, form: Form = "table") -> str:
    """Return what a query over the table ``trials`` gives.

    The table is written anew first where trials have come further since.

    Args:
        results: folder of a study; of one that is just a table, ``trials.parquet`` or ``trials.csv``.
        query: SQL; columns such as ``"val/miou"`` need double quotes.
        form: an aligned table, CSV, or a JSON array with an object for every row, null for NaN and infinity.

    Raises:
        StudyError: DuckDB is not installed, there is no study and no table, the query is wrong or empty, or JSON would
            lose a column.
        ResourceError: the table cannot be written.
    """
    try:
        import duckdb
    except ImportError:
        raise StudyError(
            "--sql needs DuckDB, which is not installed: pip install 'vfmseg[studies]'."
        ) from None
    if (results / STUDY).is_file():
        refresh_table(results)
    file = next((results / name for name in (PARQUET, CSV) if (results / name).is_file()), None)
    if file is None:
        raise StudyError(
            f"{results} holds no study and no {CSV}: name the folder that `vfmseg benchmark STUDY --out DIR` wrote."
        )
    with duckdb.connect() as database:
        reader = database.read_parquet if file.suffix == ".parquet" else database.read_csv
        try:
            reader(str(file)).create_view("trials")
            if not database.extract_statements(query):
                raise StudyError("--sql is empty: give it a query, such as 'select * from trials'.")
            found = database.execute(query)
            columns, rows = [column[0] for column in found.description or ()], found.fetchall()
        except duckdb.Error as error:
            raise StudyError(f"DuckDB refuses the query: {str(error).strip()}") from None
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        return text.getvalue().rstrip("\n")
    if form == "json":
        if twice := sorted({column for column in columns if columns.count(column) > 1}):
            raise StudyError(
                f"--json has one value of a name, but the query gives {twice[0]} twice: name one with `as`."
            )
        objects = [dict(zip(columns, map(_finite, row), strict=True)) for row in rows]
        return json.dumps(objects, indent=2, default=str)
    return _aligned(columns, rows)


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _finite(value: Any) -> Any:
    """Return null for what JSON has no number for, also inside of lists and structures."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
