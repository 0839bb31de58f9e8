"""``vfmseg check-data``: what its argument may be, what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from support.archives import pack, write_ade20k, write_coco, write_folder
from vfmseg.cli.check_data_verb import is_recipe
from vfmseg.cli.program import main

CLEAN = "No findings: nothing stands in the way of training."


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``mine`` without a flaw, in the folder where the program is run."""
    monkeypatch.chdir(tmp_path)
    return write_folder(tmp_path / "mine")


def check(line: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Run ``vfmseg check-data`` and return what it prints."""
    assert main(["check-data", *shlex.split(line)]) == code
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def refuse(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["check-data", *shlex.split(line)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_folder(mine: Path, capsys: pytest.CaptureFixture[str]):
    printed = check("mine", capsys)
    assert printed.startswith("mine: 6 images with labels, 3 classes\n")
    assert CLEAN in printed


def test_zip_and_its_description(mine: Path, capsys: pytest.CaptureFixture[str]):
    files = {p.relative_to(mine).as_posix(): p.read_bytes() for p in mine.rglob("*") if p.is_file()}
    pack(files, Path("packed.zip"), "zip")
    assert CLEAN in check("packed.zip", capsys)
    Path("data.yml").write_text("path: packed.zip\nnames: [a, b, c]\nseed: 1\n")
    printed = check("data.yml --limit 1", capsys)
    assert "2  c " in printed
    assert "Only some were looked at" in printed


def test_known_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    printed = check(f"{write_ade20k(tmp_path)} --split val --data.name ade20k", capsys)
    assert " ".join(printed.split()).startswith(f"ADE20K in {tmp_path}: 2 images with labels, 150 classes")
    assert "train" not in printed.split("WARNING")[0].replace("training", "")


@pytest.mark.parametrize(("task", "count"), [("panoptic", 133), ("instance", 80)])
def test_known_data_set__task(tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, count: int):
    write_coco(tmp_path, kind="panoptic" if task == "panoptic" else "instances")
    assert main(["check-data", str(tmp_path), "--data.name", "coco", "--task", task, "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["class_names"]) == count


@pytest.mark.parametrize("form", ["{}", "-c {}", "./{} --data.path mine/dataset.yaml"])
def test_recipe(form: str, mine: Path, capsys: pytest.CaptureFixture[str]):
    (mine / "masks/train/t000.png").unlink()
    (mine / "images/val/v001.jpg").write_bytes(b"broken")
    Path("recipe.yaml").write_text("data: {name: folder, path: mine, allow_unpaired: true, skip_bad: true}\n")
    printed = check(form.format("recipe.yaml"), capsys)
    assert "left out, as data.allow_unpaired asks" in printed
    assert "They are left out, as data.skip_bad asks." in printed
    assert "ERROR" in check(f"{form.format('recipe.yaml')} --data.skip_bad=false", capsys, code=1)


def test_recipe__that_comes_with_the_program(mine: Path, capsys: pytest.CaptureFixture[str]):
    assert CLEAN in check("folder_linear_semantic --data.path mine", capsys)
    assert "data.path is missing" in refuse("configs/folder_linear_semantic.yaml", capsys)


def test_recipe__of_generated_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {name: scenes, scenes: {image_size: [64, 96], train: 2, val: 1}}\n")
    printed = check(str(recipe), capsys)
    assert "3 images with labels" in " ".join(printed.split())
    assert "64 x 96" in printed


def test_is_recipe(mine: Path):
    assert not is_recipe("mine")
    assert not is_recipe("mine/dataset.yaml")
    assert not is_recipe("mine/images/train/t000.jpg")
    assert not is_recipe("nowhere")
    Path("seeded.yaml").write_text("seed: 3\npath: mine\nnames: [a]\n")  # recipes have a seed, too
    assert not is_recipe("seeded.yaml")
    Path("dotted.yaml").write_text("data.path: mine\n")
    assert is_recipe("dotted.yaml")
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text("data: {name: folder, path: mine}\n")
    assert is_recipe("run")
    assert is_recipe("camvid_linear_semantic")


def test_strict__makes_warnings_count(mine: Path, capsys: pytest.CaptureFixture[str]):
    (mine / "dataset.yaml").write_text("names: [ground, box, cone, unicorn]\n")
    assert "2 warnings" in check("mine", capsys)
    check("mine --strict", capsys, code=1)


def test_json__in_a_file_beside_the_text(mine: Path, capsys: pytest.CaptureFixture[str]):
    (mine / "masks/val/v000.png").write_bytes(b"broken")
    assert "1 label cannot be read." in check("mine --json found.json", capsys, code=1)
    tree = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert [one["code"] for one in tree["findings"]] == ["label_unreadable"]


def test_json__instead_of_the_text(mine: Path, capsys: pytest.CaptureFixture[str]):
    assert json.loads(check("mine --json -", capsys))["findings"] == []


def test_progress__on_a_terminal(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert main(["check-data", "mine"]) == 0
    assert capsys.readouterr().err == "\r6 of 6\n"


# mistakes


def test_nothing_to_examine(capsys: pytest.CaptureFixture[str]):
    said = "vfmseg: Say what to examine, one of: vfmseg check-data DIR_OR_ZIP"
    assert refuse("", capsys).startswith(said)
    assert refuse("mine -c recipe.yaml", capsys).startswith(said)


def test_two_paths(mine: Path, capsys: pytest.CaptureFixture[str]):
    said = refuse("mine --data.path other", capsys)
    assert said == "vfmseg: Say one path to examine: mine, or --data.path other.\n"


def test_a_path_that_is_not_there(mine: Path, capsys: pytest.CaptureFixture[str]):
    said = refuse(f"{mine.parent}/mime", capsys)
    assert "mime does not exist: there is no 'mime' in" in said
    assert "Did you mean mine?" in said


def test_the_wrong_archive(mine: Path, capsys: pytest.CaptureFixture[str]):
    said = refuse("mine --data.name ade20k", capsys)
    assert said.startswith("vfmseg: ADE20K train: 1 of 1 files missing in mine: ADEChallengeData2016.zip")
    assert "Traceback" not in said


def test_an_unknown_key(mine: Path, capsys: pytest.CaptureFixture[str]):
    assert "unknown key 'data.nam'. Did you mean data.name?" in refuse("mine --data.nam ade20k", capsys)


def test_a_slip_is_said_once(mine: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check-data", "-c", "folder_linear_semantic", "--data.path", "-", "mine"]) == 0
    assert capsys.readouterr().err.startswith("--data.path: the lone '-' before 'mine' is taken as a slip")


def test_json__where_it_cannot_be_written(mine: Path, capsys: pytest.CaptureFixture[str]):
    said = refuse("mine --json none/found.json", capsys)
    assert said == "vfmseg: --json none/found.json: there is no folder none. Make it first.\n"
    assert main(["check-data", "mine", "--json", "mine"]) == 2
    assert capsys.readouterr().err == "vfmseg: --json mine cannot be written: Is a directory.\n"


@pytest.mark.parametrize("form", ["{}", "-c {}"])
def test_yaml_that_is_not_utf_8(form: str, mine: Path, capsys: pytest.CaptureFixture[str]):
    Path("d.yaml").write_bytes("path: mine\nnames: [a, b, c]  # Straße\n".encode("latin-1"))
    said = refuse(form.format("d.yaml"), capsys)
    assert said.startswith("vfmseg: d.yaml is not ")
    assert "Traceback" not in said


def test_file_names_that_are_not_utf_8(mine: Path, capsys: pytest.CaptureFixture[str]):
    name = os.fsdecode(b"stra\xdfe.jpg")
    (mine / "images/train" / name).write_bytes((mine / "images/train/t000.jpg").read_bytes())
    assert "- train: images/train/stra\\udcdfe.jpg" in check("mine --json found.json", capsys, code=1)
    tree = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert tree["findings"][0]["places"][0]["name"] == f"images/train/{name}"
    assert json.loads(check("mine --json -", capsys, code=1))["findings"] == tree["findings"]
