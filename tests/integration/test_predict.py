"""Models of the tasks with objects, trained for two steps, predict files and folders."""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor

import vfmseg
from support.errors import raises
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.errors import DataError, RecipeError
from vfmseg.inference.predictor import Predictor
from vfmseg.runs.predict import predict_files
from vfmseg.types import MaskLogits, Output

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools' own

_TASKS = ("panoptic", "instance")


def _fit(task: str, folder: Path) -> Path:
    recipe = tiny_recipe(
        task=task,
        decoder={"name": "eomt", "num_queries": 8, "num_blocks": 1},
        training={"steps": 2, "overlays": 0},
    )
    return vfmseg.fit(recipe, out=folder, say=lambda message: None).folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {task: _fit(task, folder / task) for task in _TASKS}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of different sizes, one of them in a subfolder."""
    rng = np.random.default_rng(0)
    for name, size in (("a b.png", (50, 91)), ("sub/c.jpg", (120, 70)), ("z.png", (64, 64))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def sure(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what was learnt in two steps sure of itself: quarters of the view, each of another class."""

    def certain(self: Predictor, crops: Tensor) -> Output:
        last = self.segmenter(crops)[-1]
        masks = torch.full_like(last.mask_logits, -8)
        classes = torch.zeros_like(last.class_logits)
        for query in range(4):
            rows, columns = (
                (slice(None, 8), slice(8, None))[query // 2],
                (slice(None, 8), slice(8, None))[query % 2],
            )
            masks[:, query, rows, columns] = 8
            classes[:, query, query] = 20
        return (MaskLogits(masks, classes),)

    monkeypatch.setattr(Predictor, "_segment", certain)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_load__a_checkpoint_knows_its_task(runs: dict[str, Path], photos: Path) -> None:
    panoptic = vfmseg.load(runs["panoptic"]).predict(photos / "a b.png")
    assert panoptic.segments.shape == panoptic.semantic.shape == (50, 91)
    assert len(panoptic.segments_info) == panoptic.segments.max() + 1
    instance = vfmseg.load(runs["instance"], device="cpu").predict(photos / "a b.png")
    assert instance.instances
    scores = [one.score for one in instance.instances]
    assert scores == sorted(scores, reverse=True)
    assert all(one.mask.shape == (50, 91) for one in instance.instances)


@pytest.mark.usefixtures("sure")
def test_predict__panoptic_folder_is_in_cocos_format(
    runs: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = predict_files(vfmseg.load(runs["panoptic"]), [photos], out)
    assert (done.num_written, done.failed) == (3, {})
    content = _read(out / "panoptic.json")
    assert [image["file_name"] for image in content["images"]] == ["a b.png", "sub/c.jpg", "z.png"]
    assert [(image["width"], image["height"]) for image in content["images"]] == [
        (91, 50),
        (70, 120),
        (64, 64),
    ]
    assert [a["image_id"] for a in content["annotations"]] == [image["id"] for image in content["images"]]
    known = {category["id"] for category in content["categories"]}
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        colours = np.asarray(Image.open(out / "panoptic" / annotation["file_name"])).astype(int)
        assert colours.shape == (image["height"], image["width"], 3)
        ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
        areas = {s["id"]: s["area"] for s in annotation["segments_info"]}
        assert len(areas) == 4
        assert areas == {i: int((ids == i).sum()) for i in np.unique(ids).tolist() if i}
        assert {s["category_id"] for s in annotation["segments_info"]} <= known
    assert sorted(p.name for p in out.iterdir()) == [
        "masks",
        "overlays",
        "panoptic",
        "panoptic.json",
        "predictions.json",
    ]
    manifest = _read(out / "predictions.json")
    assert len(manifest["classes"]["names"]) == len(known)
    assert manifest["predictions"][1] == {
        "image": str(photos / "sub" / "c.jpg"),
        "width": 70,
        "height": 120,
        "panoptic": "panoptic/sub/c.png",
        "mask": "masks/sub/c.png",
        "overlay": "overlays/sub/c.jpg",
    }


@pytest.mark.usefixtures("sure")
def test_predict__instance_folder_is_read_by_pycocotools(
    runs: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    out, model = tmp_path / "out", vfmseg.load(runs["instance"])
    for number, name in enumerate(("a b.png", "sub/c.jpg", "z.png"), 10):
        (photos / name).rename(photos / f"{number:06}{Path(name).suffix}")
    predict_files(model, [photos], out, min_score=0.9)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out / "images.json"))
        read = coco.loadRes(str(out / "instances.json"))
    assert coco.getImgIds() == [10, 11, 12], "numbers are those that images are named by"
    found = model.predict(photos / "000011.jpg")
    annotations = read.loadAnns(read.getAnnIds(imgIds=[11]))
    assert len(annotations) == len(found.instances) > 4
    for annotation, one in zip(annotations, found.instances, strict=True):
        assert np.array_equal(read.annToMask(annotation), one.mask)
        assert coco.loadCats([annotation["category_id"]])[0]["name"] == one.name
    assert sorted(p.name for p in out.iterdir()) == [
        "images.json",
        "instances.json",
        "overlays",
        "predictions.json",
    ]


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("task", _TASKS)
def test_predict__stopped_on_the_way_leaves_the_json_before(
    task: str, runs: dict[str, Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, model = tmp_path / "out", vfmseg.load(runs[task])
    predict_files(model, [photos / "z.png"], out)
    before = {path.name: path.read_bytes() for path in out.glob("*.json")}
    assert len(before) == len(model.result_type.listing.names) + 1
    usual, calls = Predictor.predict, []

    def stopped_at_the_third(self: Predictor, *args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return usual(self, *args, **options)

    monkeypatch.setattr(Predictor, "predict", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        predict_files(model, [photos], out, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("task", _TASKS)
def test_predict__what_is_there_is_not_replaced_unasked(
    task: str, runs: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    out, model = tmp_path / "out", vfmseg.load(runs[task])
    predict_files(model, [photos / "z.png"], out)
    with raises(RecipeError, "already holds 1 of the 3 predictions (", "z.", "--overwrite"):
        predict_files(model, [photos], out)
    name = model.result_type.listing.names[0]
    with raises(RecipeError, f"already holds {name}, of other predictions", "--overwrite"):
        predict_files(model, [photos / "a b.png"], out)
    predict_files(model, [photos], out, overwrite=True)
    assert len(_read(out / "predictions.json")["predictions"]) == 3


def test_predict__predictions_are_no_images_to_predict(
    runs: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    model = vfmseg.load(runs["panoptic"])
    for _ in range(2):
        assert predict_files(model, [photos], photos, overwrite=True).num_written == 3


def test_predict__in_python_is_the_verb(runs: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"with_overlay": False, "min_score": 0.2}
    done = vfmseg.predict(runs["instance"], photos, out=tmp_path / "a", device="cpu", **options)
    assert (done.folder, done.num_written, done.failed) == (tmp_path / "a", 3, {})
    model = vfmseg.load(runs["instance"], device="cpu")
    vfmseg.predict(model, [photos / "a b.png", photos / "sub"], out=tmp_path / "b", **options)
    stems = [Path(one["image"]).stem for one in _read(tmp_path / "b" / "predictions.json")["predictions"]]
    assert stems == ["a b", "c"]
    words = ["predict", str(runs["instance"]), str(photos), "--out", str(tmp_path / "c")]
    assert main([*words, "--no_overlay", "--min_score", "0.2", "--device", "cpu"]) == 0
    for name in ("instances.json", "images.json", "predictions.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_predict__what_loads_a_checkpoint_is_not_for_a_loaded_model(
    runs: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    with raises(RecipeError, "this model is loaded: leave them out"):
        vfmseg.predict(vfmseg.load(runs["instance"]), photos, out=tmp_path / "out", device="cpu")


def test_predict__missing_images_are_found_before_a_model_is_loaded(tmp_path: Path) -> None:
    with raises(DataError, "There is no file or folder"):
        vfmseg.predict(tmp_path / "no run", [tmp_path / "nowhere"], out=tmp_path / "out")


def test_predict__files_that_are_not_there_are_said(runs: dict[str, Path], tmp_path: Path) -> None:
    with raises(DataError, "There is no file or folder"):
        predict_files(vfmseg.load(runs["panoptic"]), [tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        ("panoptic", ["--tiling", "always"], "tiling 'always' would cut objects"),
        ("panoptic", ["--no_confidence"], "A model of task panoptic has no confidence maps"),
        ("instance", ["--no_confidence"], "A model of task instance has no confidence maps"),
        ("panoptic", ["--min_score", "0.3"], "a model of task panoptic finds none"),
        ("instance", ["--min_score", "3"], "min_score is 3.0; allowed: 0 (draw all instances) to 1"),
    ],
)
def test_predict__options_of_another_task_are_refused_before_the_work(
    task: str,
    options: list[str],
    said: str,
    runs: dict[str, Path],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(["predict", str(runs[task]), str(photos), "--out", str(out), *options]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_predict__command_line(
    runs: dict[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.jpg").write_text("no image")
    words = [
        "predict",
        str(runs["instance"]),
        str(photos),
        "--out",
        str(tmp_path / "out"),
        "--min_score",
        "0",
    ]
    assert main([*words, "--no_overlay"]) == 1
    said = capsys.readouterr()
    assert "3 of 4 images predicted" in said.out
    assert "not predicted" in said.err
    assert not (tmp_path / "out" / "overlays").exists()
    assert len(_read(tmp_path / "out" / "images.json")["images"]) == 3
    assert list(_read(tmp_path / "out" / "predictions.json")["failed"]) == [str(photos / "broken.jpg")]


def _odd(folder: Path) -> dict[str, tuple[int, int]]:
    """Write pictures of every kind that can be read, and files that cannot; return the (width, height) of the first."""
    pixels = np.random.default_rng(1).integers(0, 255, (40, 64, 3), dtype=np.uint8)
    grey = pixels[..., 0]
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / name / "x.png")
    Image.fromarray(np.dstack([pixels, grey])).save(folder / "alpha.png")
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 256).save(folder / "grey16.png")
    cv2.imwrite(str(folder / "rgb16.png"), pixels[..., ::-1].astype(np.uint16) * 256)
    Image.fromarray(pixels).save(folder / "turned.png", exif=turned)
    Image.fromarray(pixels[:1, :1]).save(folder / "dot.png")
    whole = (folder / "a" / "x.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "nothing.png").write_bytes(whole[:16] + b"\0" * 8 + whole[24:])
    (folder / "text.tif").write_text("no picture")
    landscape = dict.fromkeys(
        ("a/x.png", "b/x.png", "alpha.png", "grey.png", "grey16.png", "rgb16.png"), (64, 40)
    )
    return landscape | {"turned.png": (40, 64), "dot.png": (1, 1)}


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("task", _TASKS)
def test_predict__folder_of_odd_files(
    task: str, runs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "odd", tmp_path / "out"
    sizes = _odd(folder)
    assert main(["predict", str(runs[task]), str(folder), "--out", str(out), "--device", "cpu"]) == 1
    said = capfd.readouterr()
    assert said.out == f"8 of 12 images predicted into {out}\n"
    reasons = {
        "cut.png": "cannot be decoded as an image: image file is truncated",
        "empty.jpg": "cannot be decoded as an image: the file is empty",
        "nothing.png": "cannot be decoded as an image: it has 0 x 0 pixels",
        "text.tif": "cannot be decoded as an image: its content is of no known format",
    }
    for line, (name, reason) in zip(said.err.splitlines(), reasons.items(), strict=True):
        assert line.startswith(f"vfmseg: not predicted: {folder / name} {reason}")
    manifest = _read(out / "predictions.json")
    assert set(manifest["failed"]) == {str(folder / name) for name in reasons}
    found = {
        str(Path(p["image"]).relative_to(folder)): (p["width"], p["height"]) for p in manifest["predictions"]
    }
    assert found == sizes
    listed = _read(out / ("panoptic.json" if task == "panoptic" else "images.json"))["images"]
    assert {image["file_name"]: (image["width"], image["height"]) for image in listed} == sizes
    assert len({image["id"] for image in listed}) == len(sizes)
    for name, (width, height) in sizes.items():
        shape = (height, width)
        assert np.asarray(Image.open(out / "overlays" / Path(name).with_suffix(".jpg"))).shape == (*shape, 3)
        if task == "panoptic":
            assert np.asarray(Image.open(out / "masks" / name)).shape == shape


def test_predict__the_same_picture_in_another_kind_of_file(runs: dict[str, Path], tmp_path: Path) -> None:
    _odd(tmp_path)
    model = vfmseg.load(runs["instance"], device="cpu")

    def found(image: Any) -> list[tuple[float, ...]]:
        return [(one.score, *one.bbox) for one in model.predict(image).instances]

    pixels = np.asarray(Image.open(tmp_path / "a" / "x.png"))
    for name, same in (
        ("alpha.png", pixels),
        ("rgb16.png", pixels),
        ("grey16.png", pixels[..., 0]),
        ("grey.png", pixels[..., 0]),
        ("turned.png", np.ascontiguousarray(np.rot90(pixels, -1))),
    ):
        assert found(tmp_path / name) == found(same), name


@pytest.mark.parametrize("task", _TASKS)
@pytest.mark.parametrize("place", ["file", "file/below", "closed", "blocked"])
def test_predict__folder_that_cannot_be_written(
    task: str,
    place: str,
    runs: dict[str, Path],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "overlays").touch()  # where a folder should be
    if place == "closed" and os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("this user may write anywhere")
    out = tmp_path / place
    assert main(["predict", str(runs[task]), str(photos), "--out", str(out), "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vfmseg: {out} could not be written: ")
    assert line.endswith("Choose another --out.")
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.json"))
