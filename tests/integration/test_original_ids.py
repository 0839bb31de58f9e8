"""Models trained on COCO predict files that evaluators score against COCO's own annotations, no id changed in between."""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

import vfmseg
from support.archives import Files, write_coco
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.spec import CLASSES_FOLDER
from vfmseg.inference.predictor import Predictor
from vfmseg.metrics.panoptic_quality import PanopticQuality
from vfmseg.runs.predict import predict_files
from vfmseg.types import MaskLogits, Output, PanopticMap

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools' own

_SIDE = 64
_SURE = 20.0
_SHIFT = 3
"""Pixels by which predicted segments are off, so that their quality is neither 0 nor 1."""
_ZIP = {"panoptic": "panoptic_annotations_trainval2017", "instance": "annotations_trainval2017"}


def _with_all_categories(split: str, content: dict[str, Any], labels: Files) -> None:
    """List all categories, as COCO does."""
    stem = "coco_panoptic" if labels else "coco_instance"
    rows = yaml.safe_load((CLASSES_FOLDER / f"{stem}.yaml").read_text())["classes"]
    content["categories"] = [{"id": r["id"], "name": r["name"], "isthing": int(r["isthing"])} for r in rows]


class _Trained:
    """A model after two steps on a tiny COCO, whose val images lie unpacked beside their original JSON."""

    def __init__(self, task: str, folder: Path) -> None:
        write_coco(folder, kind=task, num_train=2, num_val=4, size=(_SIDE, _SIDE), edit=_with_all_categories)
        recipe = tiny_recipe(
            task=task,
            decoder={"name": "eomt", "num_queries": 8, "num_blocks": 1},
            training={"steps": 2, "overlays": 0},
            data={"name": "coco", "path": str(folder)},
        )
        self.run = vfmseg.fit(recipe, out=folder / "run", say=lambda message: None).folder
        with zipfile.ZipFile(folder / "val2017.zip") as images:
            images.extractall(folder / "unpacked")
        self.photos = folder / "unpacked" / "val2017"
        with zipfile.ZipFile(folder / f"{_ZIP[task]}.zip") as archive:
            archive.extractall(folder / "unpacked")
        self.annotations = folder / "unpacked" / "annotations"
        if task == "panoptic":
            with zipfile.ZipFile(self.annotations / "panoptic_val2017.zip") as inner:
                inner.extractall(self.annotations)
        self.val: SegmentationDataset = open_dataset("coco", folder, "val", task=task)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> _Trained:
    return _Trained("instance", tmp_path_factory.mktemp("instance"))


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory: pytest.TempPathFactory) -> _Trained:
    return _Trained("panoptic", tmp_path_factory.mktemp("panoptic"))


def _knowing(monkeypatch: pytest.MonkeyPatch, answers: Iterator[tuple[NDArray[np.bool_], list[int]]]) -> None:
    """Have the model say, image by image, the given masks (S, H, W) and classes, and nothing else."""

    def certain(self: Predictor, crops: Tensor) -> Output:
        masks, classes = next(answers)
        count = len(classes) + 1  # one query at least
        logits = torch.full((1, count, _SIDE, _SIDE), -8.0)
        logits[0, : len(classes)][torch.from_numpy(masks)] = 8.0
        found = torch.zeros(1, count, self.label_space.num_classes + 1)
        found[0, range(len(classes)), classes] = _SURE
        found[0, -1, -1] = _SURE
        return (MaskLogits(logits, found),)

    monkeypatch.setattr(Predictor, "_segment", certain)


def _evaluated(original: Path, out: Path) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(original))
        scored = COCOeval(truth, truth.loadRes(str(out / "instances.json")), "segm")
        for step in (scored.evaluate, scored.accumulate, scored.summarize):
            step()
    return scored


def test_predict__instances_are_scored_against_the_original_json(
    instance: _Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = instance.annotations / "instances_val2017.json"
    model = vfmseg.load(instance.run)
    predict_files(model, [instance.photos], tmp_path / "learnt")
    learnt = _evaluated(original, tmp_path / "learnt")
    assert 0 <= learnt.stats[0] < 0.5
    truths = [instance.val.instance_truth(i) for i in range(len(instance.val))]
    _knowing(
        monkeypatch, iter([(t.masks[~t.is_crowd.numpy()], t.classes[~t.is_crowd].tolist()) for t in truths])
    )
    predict_files(model, [instance.photos], tmp_path / "known")
    known = _evaluated(original, tmp_path / "known")
    assert known.stats[0] == pytest.approx(1)
    written = json.loads((tmp_path / "known" / "images.json").read_text())["categories"]
    theirs = json.loads(original.read_text())["categories"]
    assert [(c["id"], c["name"]) for c in written] == [(c["id"], c["name"]) for c in theirs]


def test_predict__ids_of_images_are_those_of_their_annotations(
    instance: _Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads((instance.annotations / "instances_val2017.json").read_text())
    renamed = tmp_path / "photos"
    renamed.mkdir()
    for image in content["images"]:
        name = f"photo of {image['id']}.jpg"
        (renamed / name).write_bytes((instance.photos / image["file_name"]).read_bytes())
        image["file_name"] = f"photos/{name}"
    own = tmp_path / "own.json"
    own.write_text(json.dumps(content))
    truths = [instance.val.instance_truth(i) for i in range(len(instance.val))]
    _knowing(
        monkeypatch, iter([(t.masks[~t.is_crowd.numpy()], t.classes[~t.is_crowd].tolist()) for t in truths])
    )
    words = ["predict", str(instance.run), str(renamed), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--image_ids", str(own)]) == 0
    assert _evaluated(own, tmp_path / "out").stats[0] == pytest.approx(1)


def test_predict__panoptic_files_are_scored_against_the_original_ones(
    panoptic: _Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = [panoptic.val.targets(i) for i in range(len(panoptic.val))]
    answers = []
    for target in targets:
        count = len(target.segment_classes)
        masks = np.stack(
            [target.id_map.numpy() == n for n in range(count)] or [np.zeros((_SIDE, _SIDE), bool)]
        )
        answers.append((np.roll(masks, _SHIFT, axis=2)[:count], target.segment_classes.tolist()))
    _knowing(monkeypatch, iter(answers * 2))
    model = vfmseg.load(panoptic.run)
    predict_files(model, [panoptic.photos], tmp_path / "out")
    ours = PanopticQuality(model.label_space)
    for photo, target in zip(sorted(panoptic.photos.iterdir()), targets, strict=True):
        found = model.predict(photo)
        classes = torch.tensor([s.class_id for s in found.segments_info], dtype=torch.int64)
        scores = torch.tensor([s.score for s in found.segments_info])
        ours.update(PanopticMap(torch.from_numpy(found.segments), classes, scores), target)
    quality = ours.scores(model.names).overall.pq
    assert 0.2 < quality < 0.95
    by_files = _quality_by_files(
        panoptic.annotations / "panoptic_val2017.json",
        panoptic.annotations / "panoptic_val2017",
        tmp_path / "out" / "panoptic.json",
        tmp_path / "out" / "panoptic",
    )
    assert by_files == pytest.approx(quality, abs=1e-12)


def _quality_by_files(truth_json: Path, truth_pngs: Path, found_json: Path, found_pngs: Path) -> float:
    """Return panoptic quality (Kirillov et al. 2019, section 4.1) of one pair of files by the other, ids as they are."""
    truth, found = (json.loads(path.read_text()) for path in (truth_json, found_json))
    assert {c["id"]: c["name"] for c in truth["categories"]} == {
        c["id"]: c["name"] for c in found["categories"]
    }
    answer_to = {annotation["image_id"]: annotation for annotation in found["annotations"]}
    sums: dict[int, list[float]] = {}  # category: IoU, matches, predicted only, true only
    for annotation in truth["annotations"]:
        answer = answer_to[annotation["image_id"]]
        true, said = _ids(truth_pngs / annotation["file_name"]), _ids(found_pngs / answer["file_name"])
        true_kinds = {s["id"]: (s["category_id"], s["iscrowd"]) for s in annotation["segments_info"]}
        said_kinds = {s["id"]: s["category_id"] for s in answer["segments_info"]}
        matched: set[tuple[str, int]] = set()
        for number, (kind, is_crowd) in true_kinds.items():
            for other in [i for i, k in said_kinds.items() if k == kind and not is_crowd]:
                both = ((true == number) & (said == other)).sum()
                either = ((true == number) | ((said == other) & (true != 0))).sum()
                if both / either > 0.5:
                    row = sums.setdefault(kind, [0, 0, 0, 0])
                    row[0] += both / either
                    row[1] += 1
                    matched |= {("true", number), ("said", other)}
        for number, (kind, is_crowd) in true_kinds.items():
            if not is_crowd and ("true", number) not in matched:
                sums.setdefault(kind, [0, 0, 0, 0])[3] += 1
        for other, kind in said_kinds.items():
            crowds = [i for i, (k, is_crowd) in true_kinds.items() if k == kind and is_crowd]
            forgiven = ((said == other) & ((true == 0) | np.isin(true, crowds))).sum() / (said == other).sum()
            if ("said", other) not in matched and forgiven <= 0.5:
                sums.setdefault(kind, [0, 0, 0, 0])[2] += 1
    return float(np.mean([iou / (tp + fp / 2 + fn / 2) for iou, tp, fp, fn in sums.values()]))


def _ids(path: Path) -> NDArray[np.int64]:
    colours = np.asarray(Image.open(path).convert("RGB")).astype(np.int64)
    ids: NDArray[np.int64] = colours @ np.array([1, 256, 65536])
    return ids
