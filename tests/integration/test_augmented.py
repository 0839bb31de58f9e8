"""Test-time augmentation through the program: recorded, and refused where there is nothing to average."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.transforms.averaged_views import AveragedViews, parse_augment

_QUIET = {"say": lambda message: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vfmseg.fit(tiny_recipe(), out=tmp_path_factory.mktemp("augmented") / "run", **_QUIET).folder


def test_validate__augmented_is_recorded(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last, out = str(run / "checkpoints" / "last"), tmp_path / "scores"
    assert main(["validate", last, "--augment", "flip,0.75,1", "--out", str(out)]) == 0
    assert "test-time augmentation flip,0.75,1: 4 views an image" in capsys.readouterr().err
    row = json.loads((out / "result.json").read_text())
    assert row["augment"] == "flip,0.75,1"
    plain = vfmseg.validate(last, **_QUIET).result
    same = vfmseg.validate(last, augment=AveragedViews(), **_QUIET).result
    assert "augment" not in plain
    assert same["val/miou"] == pytest.approx(plain["val/miou"], abs=1e-4)
    assert row["val/miou"] != plain["val/miou"]

    words = ["--target", "dusk={scenes: {domains: [dusk]}}", "--augment", "flip", "--json"]
    assert main(["validate", last, *words]) == 0
    assert json.loads(capsys.readouterr().out)["targets"]["dusk"]["augment"] == "flip"
    assert main(["validate", last, "--corruptions", "fog:1", "--augment", "flip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["augment"] == "flip"


def test_predict__augmented_is_what_the_model_says_of_the_views(run: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (50, 91, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    assert (
        main(["predict", str(run), str(tmp_path / "photo.png"), "--augment", "flip,1,1.5", "--out", str(out)])
        == 0
    )
    found = vfmseg.load(run).predict(picture, augment=parse_augment("flip,1,1.5"))
    assert np.array_equal(np.asarray(Image.open(out / "masks" / "photo.png")), found.semantic)
    assert json.loads((out / "predictions.json").read_text())["augment"] == "flip,1,1.5"
    mirrored = vfmseg.load(run).predict(picture[:, ::-1].copy(), augment=parse_augment("flip,1,1.5"))
    assert (mirrored.semantic[:, ::-1] == found.semantic).mean() > 0.95


def test_augment__what_makes_no_sense_is_one_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(run), "--augment", "flop"]) == 2
    assert "'flop' is neither flip nor a scale" in capsys.readouterr().err
    recipe = tiny_recipe(
        task="instance", decoder={"name": "eomt", "num_queries": 20, "num_blocks": 1}, training={"steps": 1}
    )
    objects = vfmseg.fit(recipe, out=tmp_path / "objects", **_QUIET).folder
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "photo.png")
    for words in (
        ["validate", str(objects), "--augment", "flip"],
        [
            "predict",
            str(objects),
            str(tmp_path / "photo.png"),
            "--augment",
            "flip",
            "--out",
            str(tmp_path / "o"),
        ],
    ):
        assert main(words) == 2
        assert (
            "class scores of each pixel, which a model of task instance does not have"
            in capsys.readouterr().err
        )
    assert not (tmp_path / "o").exists()
