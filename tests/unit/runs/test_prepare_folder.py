"""What stays and what goes where a run begins in a folder that is not empty."""

import json
import os
from pathlib import Path

import pytest

from vfmseg.errors import RecipeError, ResourceError
from vfmseg.runs.folder import begin, make_writable, prepare


def _old_run(folder: Path) -> Path:
    (folder / "checkpoints" / "best").mkdir(parents=True)
    for name in (
        "recipe.yaml",
        "result.json",
        "metrics.csv",
        "checkpoints/best/model.safetensors",
        "notes.txt",
    ):
        (folder / name).write_text("old")
    return folder


def test_prepare__overwrite_removes_nothing_yet(tmp_path: Path) -> None:
    before = sorted(_old_run(tmp_path).rglob("*"))
    prepare(tmp_path, resume=False, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_prepare__resume_and_overwrite_exclude_each_other(tmp_path: Path) -> None:
    _old_run(tmp_path)
    with pytest.raises(RecipeError, match=r"Say one of --resume .* and --overwrite .*, not both"):
        prepare(tmp_path, resume=True, overwrite=True)
    assert (tmp_path / "checkpoints" / "best" / "model.safetensors").read_text() == "old"


def test_begin__overwrite_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    begin(_old_run(tmp_path), "seed: 1\n", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["environment.json", "notes.txt", "recipe.yaml"]
    assert (tmp_path / "recipe.yaml").read_text() == "seed: 1\n"
    assert json.loads((tmp_path / "environment.json").read_text())["python"]


def test_begin__a_run_that_goes_on_is_not_finished(tmp_path: Path) -> None:
    begin(_old_run(tmp_path), "seed: 1\n", overwrite=False)
    assert not (tmp_path / "result.json").exists()
    assert (tmp_path / "metrics.csv").read_text() == "old"


def test_begin__the_recipe_is_there_whole_at_any_moment(tmp_path: Path) -> None:
    os.link(_old_run(tmp_path) / "recipe.yaml", tmp_path / "linked")
    begin(tmp_path, "seed: 1\n", overwrite=False)
    assert (tmp_path / "linked").read_text() == "old", "replaced, never cut to nothing and filled"


def test_make_writable__a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"file could not be written: .* Choose another --out"):
        make_writable(tmp_path / "file")
