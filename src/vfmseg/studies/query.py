"""SQL in, rows of a study's table out, through DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vfmseg.errors import StudyError


def answer(results: Path, query: str) -> str:
    """Return what a query over the table ``trials`` gives, as an aligned table.

    Args:
        results: folder of a study, with ``trials.parquet`` or ``trials.csv``.
        query: SQL; columns such as ``"val/miou"`` need double quotes.

    Raises:
        StudyError: DuckDB is not installed, there is no table, or the query is wrong.
    """
    try:
        import duckdb
    except ImportError:
        raise StudyError(
            "--sql needs DuckDB, which is not installed: pip install 'vfmseg[studies]'."
        ) from None
    file = next(
        (results / name for name in ("trials.parquet", "trials.csv") if (results / name).is_file()), None
    )
    if file is None:
        raise StudyError(
            f"{results} holds no trials.csv: it is no folder of a study, or its study has not ended once. "
            "`vfmseg benchmark STUDY --out DIR` writes it."
        )
    with duckdb.connect() as database:
        reader = database.read_parquet if file.suffix == ".parquet" else database.read_csv
        reader(str(file)).create_view("trials")
        try:
            found = database.execute(query)
        except duckdb.Error as error:
            raise StudyError(f"DuckDB refuses the query: {str(error).strip()}") from None
        return _aligned([column[0] for column in found.description or ()], found.fetchall())


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
