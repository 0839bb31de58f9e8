"""SQL over a study's table."""

import builtins
from pathlib import Path
from typing import Any

import pytest

from vfmseg.cli.program import main
from vfmseg.errors import StudyError
from vfmseg.studies.query import answer

TABLE = "id,axis.model,val/miou\n1,a,0.25\n2,a,0.75\n3,b,\n"


def test_answer__of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trials.csv").write_text(TABLE)
    query = 'select "axis.model" as model, avg("val/miou") as miou from trials group by model order by model'
    assert main(["report", str(tmp_path), "--sql", query]) == 0
    assert capsys.readouterr().out.splitlines() == ["model  miou", "a      0.5", "b      -"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select colour from trials", "DuckDB refuses the query: .*colour"),
        ("selec 1", "DuckDB refuses the query"),
    ],
)
def test_query__that_is_wrong(query: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(TABLE)
    with pytest.raises(StudyError, match=said):
        answer(tmp_path, query)


def test_folder__without_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--sql", "select 1"]) == 2
    assert "holds no trials.csv" in capsys.readouterr().err
    assert main(["report", str(tmp_path), str(tmp_path), "--sql", "select 1"]) == 2
    assert "give its folder alone" in capsys.readouterr().err


def test_duckdb__that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StudyError, match=r"pip install 'vfmseg\[studies\]'"):
        answer(tmp_path, "select 1")
