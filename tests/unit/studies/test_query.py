"""SQL over a study's table."""

import builtins
import json
import os
from pathlib import Path
from typing import Any

import pytest

from vfmseg.cli.program import main
from vfmseg.errors import ResourceError, StudyError
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
        (" ; ", "--sql is empty"),
    ],
)
def test_query__that_is_wrong(query: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(TABLE)
    with pytest.raises(StudyError, match=said):
        answer(tmp_path, query)


def test_folder__without_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--sql", "select 1"]) == 2
    assert "holds no study and no trials.csv" in capsys.readouterr().err
    assert main(["report", str(tmp_path), str(tmp_path), "--sql", "select 1"]) == 2
    assert "give its folder alone" in capsys.readouterr().err


def test_answer__as_csv_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trials.csv").write_text(TABLE)
    words = [
        "report",
        str(tmp_path),
        "--sql",
        'select "axis.model", "val/miou" as miou from trials where id > 1',
    ]
    assert main([*words, "--csv"]) == 0
    assert capsys.readouterr().out == "axis.model,miou\na,0.75\nb,\n"
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"axis.model": "a", "miou": 0.75},
        {"axis.model": "b", "miou": None},
    ]
    query = "select 1 as a, 2 as a, 'nan'::double as b, ['inf'::double] as c"
    with pytest.raises(StudyError, match="the query gives a twice"):
        answer(tmp_path, query, form="json")
    assert json.loads(answer(tmp_path, query.replace("2 as a", "2 as d"), form="json")) == [
        {"a": 1, "d": 2, "b": None, "c": [None]}
    ]
    assert main([*words, "--json", "--csv"]) == 2
    assert "--csv and --json exclude each other" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--json"]) == 2
    assert "--csv and --json say how --sql prints; add --sql QUERY" in capsys.readouterr().err


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """Return the folder of a study with one finished trial of two."""
    plan = {"name": "mine", "axes": ["model"], "ranked": "model", "reference": {}, "targets": {}}
    plan["trials"] = [{"id": one, "levels": {"model": one}} for one in "ab"]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "study.json").write_text(json.dumps({"name": "mine", "axes": ["model"], "ranked": "model"}))
    finish(tmp_path, "a", 0.25)
    return tmp_path


def finish(results: Path, trial: str, score: float) -> None:
    (results / "trials" / trial).mkdir(parents=True)
    (results / "trials" / trial / "result.json").write_text(json.dumps({"val/miou": score}))


def test_table__is_written_anew_where_trials_have_come_further(running: Path) -> None:
    query = 'select id, status, "val/miou" as miou from trials order by id'
    assert answer(running, query).splitlines() == ["id  status   miou", "a   done     0.25", "b   waiting  -"]
    first = (running / "trials.csv").stat().st_mtime_ns
    answer(running, query)
    assert (running / "trials.csv").stat().st_mtime_ns == first
    finish(running, "b", 0.5)
    later = first + 10**9  # the clock of a file system may be coarse
    os.utime(running / "trials" / "b", ns=(later, later))
    assert answer(running, query).splitlines()[2] == "b   done    0.5"


def test_table__that_cannot_be_written_or_read(running: Path) -> None:
    (running / "trials.csv").mkdir()
    with pytest.raises(ResourceError, match=str(running)):
        answer(running, "select 1")
    (running / "trials.csv").rmdir()
    answer(running, "select 1")
    (running / "trials.parquet").write_bytes(b"PAR1")
    with pytest.raises(StudyError, match=r"DuckDB refuses the query: .*trials.parquet"):
        answer(running, "select 1 from trials")


def test_duckdb__that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StudyError, match=r"pip install 'vfmseg\[studies\]'"):
        answer(tmp_path, "select 1")
