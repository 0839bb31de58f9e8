"""Records in, JSON out that is there whole or not at all, without holding the records."""

import json
import tracemalloc
from pathlib import Path

import pytest

from vfmseg.errors import ResourceError
from vfmseg.inference.output_files import Spool, place, write_spooled, writing_into


@pytest.mark.parametrize("count", [0, 1, 3])
def test_write_spooled__is_the_json_of_its_records(count: int, tmp_path: Path) -> None:
    records = [{"name": f'Zebra "{i}" ü\n', "score": i / 3} for i in range(count)]
    with Spool(tmp_path) as list_, Spool(tmp_path) as other:
        for record in records:
            list_.append(record)
        write_spooled(tmp_path / "list.json", list_)
        write_spooled(tmp_path / "all.json", {"a": list_, "b": other, "c": {"d": 1}})
    assert json.loads((tmp_path / "list.json").read_text()) == records
    assert json.loads((tmp_path / "all.json").read_text()) == {"a": records, "b": [], "c": {"d": 1}}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.json", "list.json"]


def test_write_spooled__that_fails_leaves_the_file_before(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("before")
    with Spool(tmp_path) as spool:
        spool.append({"a": 1})
        with pytest.raises(TypeError):
            write_spooled(tmp_path / "a.json", {"list": spool, "what JSON cannot say": object()})
    assert (tmp_path / "a.json").read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_spool__takes_no_nan_which_json_does_not_have(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, pytest.raises(ValueError):
        spool.append({"score": float("nan")})


def test_spool__memory_does_not_grow_with_its_records(tmp_path: Path) -> None:
    record = {"counts": "x" * 1000}
    tracemalloc.start()
    try:
        with Spool(tmp_path) as spool:
            for _ in range(5000):
                spool.append(record)
            write_spooled(tmp_path / "a.json", spool)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a.json").stat().st_size > 5_000_000
    assert peak < 1_000_000


def test_writing_into__says_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ResourceError, match=r"could not be written: .* Choose another --out"),
        writing_into(tmp_path),
    ):
        place(tmp_path, "file/a.png")
