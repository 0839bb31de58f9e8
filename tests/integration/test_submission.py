"""Test sets predicted by the program into the folders that servers take."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import vfmseg
from support.archives import write_cityscapes
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.data.spec import read_label_map
from vfmseg.inference import submission

_QUIET = {"say": lambda message: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on the classes of Cityscapes."""
    folder = tmp_path_factory.mktemp("submission")
    data = write_cityscapes(folder / "data")
    recipe = tiny_recipe(data={"name": "cityscapes", "path": str(data)}, training={"steps": 1, "overlays": 0})
    return vfmseg.fit(recipe, out=folder / "run", **_QUIET).folder


@pytest.fixture
def two_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let test sets of two images be whole: of Cityscapes, and of one subset of BRAVO."""
    for name, part in (("cityscapes", "test"), ("bravo", "synobjs")):
        asked = submission.SUBMISSIONS[name]
        parts = {part: (asked.parts[part][0], 2)}
        monkeypatch.setitem(submission.SUBMISSIONS, name, replace(asked, parts=parts))


def draw(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (40, 90 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def cityscapes(folder: Path) -> Path:
    names = ("berlin/berlin_000000_000019", "bonn/bonn_000001_000019")
    return draw(folder / "leftImg8bit/test", *(f"{name}_leftImg8bit.png" for name in names))


def test_predict__a_submission_to_cityscapes(
    run: Path, two_images: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = cityscapes(tmp_path), tmp_path / "sub"
    words = ["predict", str(run), str(images), "--submission", "cityscapes", "--out", str(out)]
    assert main([*words, "--zip"]) == 0
    said = capsys.readouterr().out
    assert "2 images of Cityscapes test predicted into" in said
    assert "none is missing. Upload the zip at" in said
    written = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert written == [
        "berlin/berlin_000000_000019_pred_labelIds.png",
        "bonn/bonn_000001_000019_pred_labelIds.png",
    ]
    with zipfile.ZipFile(tmp_path / "sub.zip") as archive:
        assert sorted(n for n in archive.namelist() if not n.endswith("/")) == written
    label_ids = np.array(read_label_map("cityscapes").label_space.category_ids)
    picture = images / "bonn/bonn_000001_000019_leftImg8bit.png"
    wanted = vfmseg.load(run).predict(picture, tiling="never").semantic
    opened = Image.open(out / written[1])
    assert opened.mode == "L"
    assert np.array_equal(np.asarray(opened), label_ids[wanted])

    assert main(words) == 2
    assert "already holds 2 of the files" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 2  # which would leave a zip of what is no more there
    assert (
        "sub.zip would go on holding the earlier predictions. Replace it, too (--zip)"
        in capsys.readouterr().err
    )
    (tmp_path / "sub.zip").unlink()
    assert main([*words, "--overwrite"]) == 0
    assert "Zip what is in it (--zip). Upload the zip at" in capsys.readouterr().out
    (out / "notes.txt").write_text("mine")
    assert main([*words, "--overwrite"]) == 2
    assert "holds 1 other files (notes.txt ...)" in capsys.readouterr().err
    assert (out / "notes.txt").exists()


def test_predict__a_submission_to_bravo_has_confidences(run: Path, two_images: None, tmp_path: Path) -> None:
    images = draw(tmp_path / "data", "bravo_synobjs/box/1.png", "bravo_synobjs/baby/2.png")
    out = tmp_path / "sub"
    words = [
        "predict",
        str(run),
        str(images),
        "--submission",
        "bravo",
        "--out",
        str(out),
        "--augment",
        "flip",
    ]
    assert main(words) == 0
    classes, sure = (
        cv2.imread(str(out / f"bravo_synobjs/baby/2_{kind}.png"), cv2.IMREAD_UNCHANGED)
        for kind in ("pred", "conf")
    )
    assert classes.shape == sure.shape == (40, 91)
    assert (classes.dtype, sure.dtype) == (np.uint8, np.uint16)
    assert classes.max() < 19
    assert sure.min() > 65536 / 19 - 1  # the likeliest of 19 classes
    assert len(np.unique(sure)) > 1000  # more than float16 would leave


def test_predict__a_submission_that_is_not_whole_is_refused(
    run: Path, two_images: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = cityscapes(tmp_path), tmp_path / "sub"
    words = ["predict", str(run), str(images), "--submission", "cityscapes", "--out", str(out)]
    broken = images / "bonn/bonn_000001_000019_leftImg8bit.png"
    broken.write_bytes(b"no image")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "is incomplete, so the server would refuse it: 1 images could not be predicted" in said
    assert str(broken) in said
    broken.unlink()
    assert main([*words, "--overwrite"]) == 2
    assert "test has 1 images, 2 are asked for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--submission", "acdcs"], "no submission 'acdcs'. Did you mean acdc?"),
        (["--submission", "bravo", "--zip"], "BRAVO takes no zip. Encode it"),
        (
            ["--submission", "acdc", "--no_overlay"],
            "writes just what the server takes. Leave out --no_overlay",
        ),
        (["--zip"], "--zip is for --submission NAME"),
    ],
)
def test_predict__submission_options_that_make_no_sense(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "no_run", str(cityscapes(tmp_path)), "--out", str(tmp_path / "o"), *words]) == 2
    assert message in capsys.readouterr().err


def test_predict__a_submission_of_segments_is_refused(
    two_images: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = {"name": "eomt", "num_queries": 20, "num_blocks": 1}
    recipe = tiny_recipe(task="panoptic", decoder=decoder, training={"steps": 1, "overlays": 0})
    segments = vfmseg.fit(recipe, out=tmp_path / "run", **_QUIET).folder
    images, out = cityscapes(tmp_path), tmp_path / "sub"
    assert main(["predict", str(segments), str(images), "--submission", "cityscapes", "--out", str(out)]) == 2
    assert "is scored per pixel, but this is a model of task panoptic" in capsys.readouterr().err
    assert not out.exists()
