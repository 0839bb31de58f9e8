"""A checkpoint that is damaged or something else is one message and exit code 2, whatever verb is given it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli import main
from vfmseg.errors import CheckpointError
from vfmseg.models.checkpoint import read_header, read_tensors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = tiny_recipe(training={"steps": 1, "overlays": 0})
    return vfmseg.fit(recipe, out=tmp_path_factory.mktemp("whole") / "run", say=lambda message: None).folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "result.json").unlink()  # as if it had been killed before its end
    return folder


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _hollow(file: Path) -> None:
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])


def _of_another_version(file: Path) -> None:
    described = read_header(file).as_dict()
    described["recipe"]["encoder"]["colour"] = "blue"
    save_file(read_tensors(file), file, metadata={"vfmseg": json.dumps(described)})


_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda file: file.write_bytes(b""), "is no whole model file: damaged, cut short"),
    "cut": (_cut, "is no whole model file: damaged, cut short"),
    "garbage": (lambda file: file.write_bytes(b"x" * 999), "is no whole model file: damaged, cut short"),
    "pickle": (
        lambda file: torch.save({"a": 1}, file),
        "is not of vfmseg, so it does not say what model it holds",
    ),
}


def _refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(said)
    return next(line for line in said if line.startswith("vfmseg: "))


@pytest.mark.parametrize("damage", _DAMAGES)
def test_verbs__damaged_model_file(
    damage: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "checkpoints" / "best" / "model.safetensors"
    harm, message = _DAMAGES[damage]
    harm(file)
    Image.fromarray(np.zeros((64, 80, 3), np.uint8)).save(tmp_path / "image.png")
    for words in (
        ["validate", str(run)],
        ["predict", str(file), str(tmp_path / "image.png"), "--out", str(tmp_path / "out")],
    ):
        said = _refused(words, capsys)
        assert str(file) in said
        assert message in said
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe(init_from=str(run))))
    said = _refused(["fit", "-c", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "other")], capsys)
    assert f"{file} is no" in said or f"{file} cannot" in said


def test_verbs__recipe_of_another_version(run: Path, tmp_path: Path) -> None:
    file = run / "checkpoints" / "best" / "model.safetensors"
    _of_another_version(file)
    with pytest.raises(CheckpointError, match=r"encoder\.colour") as refused:
        vfmseg.load(run)
    assert f"{file} holds a recipe that this version of vfmseg cannot make a model of" in str(refused.value)


def test_verbs__folder_in_place_of_the_model_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("best", "last"):
        file = run / "checkpoints" / name / "model.safetensors"
        file.unlink()
        file.mkdir()
    said = _refused(["validate", str(run)], capsys)
    assert f"{run} holds no model: looked for model.safetensors" in said


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda file: file.write_bytes(b""), "File is not a zip file"),
        (_cut, "File is not a zip file"),
        (_hollow, "is damaged"),
        (lambda file: torch.save([1], file), "it was not written by a run of vfmseg"),
    ],
    ids=["empty", "cut", "hollow", "of another program"],
)
def test_resume__damaged_resume_file(
    harm: Callable[[Path], object], reason: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "checkpoints" / "last" / "trainer.ckpt"
    harm(file)
    said = _refused(["fit", "--out", str(run), "--resume"], capsys)
    assert f"{file} is no whole resume file" in said
    assert reason in said
    assert "Remove it to start this run from step 0" in said


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("last", "To go on, copy the model file of checkpoints/best there"),
        ("best", "To go on without it, remove "),
    ],
)
def test_resume__damaged_model_file(
    name: str, remedy: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "checkpoints" / name / "model.safetensors"
    _cut(file)
    said = _refused(["fit", "--out", str(run), "--resume", "--no_report"], capsys)
    assert f"{file} is no whole model file" in said
    assert remedy in said
    if name == "best":  # the remedy works
        shutil.rmtree(file.parent)
    else:
        shutil.copy(run / "checkpoints" / "best" / "model.safetensors", file)
    assert main(["fit", "--out", str(run), "--resume", "--no_report"]) == 0
    assert read_header(file).step == 1
