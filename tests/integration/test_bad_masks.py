"""What a user may get wrong with segments and objects, through the program: the thing and the remedy are said."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from support.archives import SIZE, Files, as_rgb_ids, encode, write_ade20k, write_coco
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.models.checkpoint import read_tensors
from vfmseg.training.callbacks.history import read_rows

Json = dict[str, Any]
_EOMT = {"name": "eomt", "num_queries": 6, "num_blocks": 1}


class _Program:
    """Runs verbs in a folder and holds what they said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.run_folder = folder / "run"
        self.capsys = capsys

    def __call__(self, code: int, *words: str) -> str:
        """Return what stands on stdout and stderr after words that must end with ``code``."""
        self.capsys.readouterr()
        assert main(list(words)) == code, self.capsys.readouterr()
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return said.out + said.err

    def recipe(self, **changes: Any) -> str:
        """Return a recipe file: EoMT, two steps, validated at the end."""
        changes = {"task": "panoptic", "decoder": _EOMT, **changes}
        changes["training"] = {
            "steps": 2,
            "mask_points": 32,
            "validate_every": 2,
            **changes.get("training", {}),
        }
        file = self.folder / "recipe-under-test.yaml"
        file.write_text(yaml.safe_dump(tiny_recipe(**changes)))
        return str(file)

    def fit(self, code: int, *words: str, **changes: Any) -> str:
        """Fit, with code 2 where it is refused."""
        options = ["-c", self.recipe(**changes), "--out", str(self.run_folder), "--overwrite", "--no_report"]
        return self(code, "fit", *options, *words)

    def check(self, code: int, data: Path, task: str) -> str:
        """Examine COCO data; lines that were broken come joined."""
        said = self(code, "check-data", str(data), "--data.name", "coco", "--task", task)
        return " ".join(said.split())


@pytest.fixture
def program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> _Program:
    return _Program(tmp_path, capsys)


def coco(path: Path, task: str, edit: Callable[[Json, Files], None] | None = None, **more: Any) -> Path:
    """Write COCO whose training split is edited."""

    def of_train(split: str, content: Json, labels: Files) -> None:
        if edit is not None and split == "train":
            edit(content, labels)

    return write_coco(path, kind="panoptic" if task == "panoptic" else "instances", edit=of_train, **more)


def at(path: Path, **more: Any) -> dict[str, Any]:
    return {"name": "coco", "path": str(path), **more}


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_json_names_an_image_that_is_not_there(task: str, program: _Program, tmp_path: Path) -> None:
    def edit(content: Json, labels: Files) -> None:
        content["images"][1]["file_name"] = "lost.jpg"

    data = coco(tmp_path / "coco", task, edit)
    texts = ["lost.jpg is in", "_train2017.json but there is no such image", "allow_unpaired: true"]
    said = program.fit(2, task=task, data=at(data))
    assert all(text in said for text in texts), said
    found = program.check(1, data, task)
    assert "lost.jpg" in found
    assert "--data.allow_unpaired true" in found
    left_out = program.fit(0, task=task, data=at(data, allow_unpaired=True))
    assert "training files are left out, as asked" in left_out
    assert "lost.jpg" in left_out


def test_segment_id_that_the_json_lacks(program: _Program, tmp_path: Path) -> None:
    def edit(content: Json, labels: Files) -> None:
        labels["000000000002.png"] = encode(as_rgb_ids(np.full(SIZE, 70, np.uint32)), "PNG")

    data = coco(tmp_path / "coco", "panoptic", edit)
    said = program.fit(2, data=at(data))
    for text in (
        "000000000002.png",
        "segment ids that the JSON does not list for it: 70 (3072 pixels)",
        "export both",
    ):
        assert text in said
    in_a_worker = program.fit(2, "--data.num_workers", "1", data=at(data))
    assert in_a_worker.splitlines()[-1] == said.splitlines()[-1]
    found = program.check(1, data, "panoptic")
    assert "segment ids that the JSON does not list for it: 70" in found
    assert "--data.skip_bad true" in found
    assert "000000000002.png" in program.fit(0, data=at(data, skip_bad=True))


def test_error_in_a_validation__ends_the_program_and_its_loader_workers(
    program: _Program, tmp_path: Path
) -> None:
    """Workers are deaf to signals: one that is left is waited for for ever when the interpreter ends."""

    def edit(split: str, content: Json, labels: Files) -> None:
        if split == "val":
            labels["000000001001.png"] = encode(as_rgb_ids(np.full(SIZE, 70, np.uint32)), "PNG")

    data = at(write_coco(tmp_path / "coco", edit=edit), num_workers=1)
    recipe = program.recipe(data=data, training={"steps": 4})
    words = [
        sys.executable,
        "-m",
        "vfmseg",
        "fit",
        "-c",
        recipe,
        "--out",
        str(program.run_folder),
        "--no_report",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2, done.stderr
    assert "000000001001.png holds segment ids that the JSON does not list" in done.stderr.splitlines()[-1]


def test_polygon_outside_the_image(
    program: _Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def edit(content: Json, labels: Files) -> None:
        content["annotations"][0]["segmentation"] = [[-30, 5, 200, 5, 200, 90]]
        content["annotations"][1]["segmentation"] = [
            [100, 100, 110, 100, 110, 110]
        ]  # nothing of it is inside

    data = coco(tmp_path / "coco", "instance", edit)
    program.fit(0, task="instance", data=at(data))
    (warned,) = [text for text in caplog.messages if "reaches outside" in text]
    for text in (
        "instances_train2017.json: train2017/000000000001.jpg",
        "its image of 48 x 64",
        "cut off at the border",
    ):
        assert text in warned
    assert "2 polygons reach outside their image and are cut off at its border" in program.check(
        0, data, "instance"
    )


def test_polygon_far_outside_the_image(program: _Program, tmp_path: Path) -> None:
    def edit(content: Json, labels: Files) -> None:
        content["annotations"][0]["segmentation"] = [[0, 0, 3e9, 0, 0, 9]]

    data = coco(tmp_path / "coco", "instance", edit)
    said = program.fit(2, task="instance", data=at(data))
    for text in (
        "000000000001.jpg: annotation 1 of this image",
        "at x 3e+09, y 0, far outside",
        "skip_bad: true",
    ):
        assert text in said
    assert "at x 3e+09, y 0, far outside" in program.check(1, data, "instance")
    assert "000000000001.jpg" in program.fit(0, task="instance", data=at(data, skip_bad=True))


def nothing_but(kind: str) -> Callable[[Json, Files], None]:
    """Return an edit after which training images hold crowds alone, or no objects."""

    def edit(content: Json, labels: Files) -> None:
        for one in content["annotations"]:
            for segment in one.get("segments_info", [one]):
                segment["iscrowd"] = 1
        if kind == "nothing" and labels:
            for one in content["annotations"]:
                one["segments_info"] = []
            labels.update({name: encode(np.zeros((*SIZE, 3), np.uint8), "PNG") for name in labels})
        elif kind == "nothing":
            content["annotations"] = []

    return edit


@pytest.mark.parametrize("kind", ["crowds", "nothing"])
@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_whole_batches_without_an_object__train_without_a_nan(
    kind: str, task: str, program: _Program, tmp_path: Path
) -> None:
    data = coco(tmp_path / "coco", task, nothing_but(kind))
    for average in ("image", "batch"):
        program.fit(0, task=task, data=at(data), training={"loss_average": average})
        rows = [row for row in read_rows(program.run_folder / "metrics.csv") if "train/loss" in row]
        assert [row["train/loss_mask"] for row in rows] == [0, 0]
        assert all(0 < (row["train/loss"] or 0) < 1e3 for row in rows)
    weights = read_tensors(program.run_folder / "checkpoints" / "last")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    what = "no image of the split train has a segment that is no crowd, so there is nothing to learn"
    assert what in program.check(1, data, task)


@pytest.mark.parametrize(("task", "what"), [("panoptic", "segment"), ("instance", "object")])
def test_validation_without_an_object__says_so_and_the_way_out(
    task: str, what: str, program: _Program, tmp_path: Path
) -> None:
    def edit(split: str, content: Json, labels: Files) -> None:
        if split == "val":
            nothing_but("nothing")(content, labels)

    data = write_coco(tmp_path / "coco", kind="panoptic" if task == "panoptic" else "instances", edit=edit)
    said = program.fit(2, task=task, data=at(data))
    assert f"No {what} was counted, so there is nothing to score" in said
    assert f"validate on images with {what}s" in said
    assert "no image of the split val has a segment" in program.check(1, data, task)


def test_image_of_a_crowd_alone__is_neither_learned_nor_scored(program: _Program, tmp_path: Path) -> None:
    """Predictions inside it are forgiven, and it is not missed: only the other image counts."""

    def edit(split: str, content: Json, labels: Files) -> None:
        if split == "val":
            for one in content["annotations"]:
                if one["image_id"] == 1001:
                    one["iscrowd"] = 1

    data = write_coco(tmp_path / "coco", kind="instances", edit=edit)
    program.fit(0, task="instance", data=at(data))
    stored = json.loads((program.run_folder / "validation.json").read_text())
    assert stored["unscored"] == ["val2017/000000001001.jpg"]
    assert sum(stored["num_objects"]) == 2  # of image 1002: its third is a crowd, too


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_weights_that_are_no_numbers__are_said_at_every_use(
    task: str, program: _Program, tmp_path: Path
) -> None:
    program.fit(0, task=task)
    file = program.run_folder / "checkpoints" / "last" / "model.safetensors"
    tensors, header = load_file(file), _metadata(file)
    damaged = "class_layer.bias" if task == "panoptic" else "mask_embedding.4.bias"
    tensors[f"decoder.{damaged}"][:] = float("nan")
    save_file(tensors, file, header)
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(tmp_path / "a.png")
    left_out = {
        "semantic": "2 of 2 views have NaN or infinite logits",
        "panoptic": "6 of 6 queries have NaN or infinite logits",
        "instance": "6 of 6 queries have NaN or infinite logits",
    }[task]
    words = ["predict", str(file.parent), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    with pytest.warns(RuntimeWarning, match=f"{left_out}.*use a checkpoint from before"):
        program(0, *words)
    with pytest.warns(RuntimeWarning, match="NaN or infinite logits.*use a checkpoint from before"):
        program(0, "validate", str(file.parent))


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return dict(opened.metadata())


def test_learning_that_diverges__names_step_images_and_remedy(program: _Program) -> None:
    said = program.fit(2, training={"steps": 8, "learning_rate": 1e30, "encoder_lr_factor": 1.0})
    for text in ("at step", "images/train/day_0", "a lower training.learning_rate", "training.warmup"):
        assert text in said


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        (
            {"decoder": {"name": "linear"}},
            ("task panoptic needs a mask decoder: decoder.name eomt, mask2former",),
        ),
        (
            {"task": "instance", "decoder": {"name": "linear"}},
            ("cannot tell objects apart, so task instance needs",),
        ),
        (
            {"encoder": {"name": "sam-b", "overrides": {}}},
            (
                "decoder.name eomt puts queries among",
                "sam-b attends within windows",
                "take decoder.name mask2former",
            ),
        ),
        ({"task": "panoptics"}, ("task = 'panoptics'", "'semantic', 'panoptic' or 'instance'")),
        ({"decoder": {"name": "eomt", "num_queries": 0}}, ("decoder.num_queries = 0", "greater than")),
        (
            {"decoder": {"name": "eomt", "num_blocks": 9}},
            ("decoder.num_blocks is 9, but the encoder has 2", "1 to 2"),
        ),
        (
            {"decoder": {"name": "mask2former_full", "multi_scale": False}},
            ("decoder.adapter is true, but decoder.multi_scale is false", "set decoder.multi_scale true or"),
        ),
        (
            {"decoder": {"name": "mask2former", "embed_dim": 30}},
            ("decoder.embed_dim 30 is not a multiple of decoder.num_heads 8", "published: 256 with 8 heads"),
        ),
        (
            {"decoder": {"name": "eomt", "anneal_start": [0.1], "anneal_end": []}},
            ("decoder.anneal_start has 1 entries and decoder.anneal_end 0", "one a block in both"),
        ),
        (
            {"decoder": {"name": "eomt", "num_blocks": 1, "anneal_start": [0.5], "anneal_end": [0.2]}},
            ("decoder.anneal_end 0.2 of block 0 is before its decoder.anneal_start 0.5; swap them",),
        ),
        (
            {"training": {"class_weights": "auto"}},
            ("class_weights works with the linear decoder only", "leave it at none"),
        ),
    ],
)
def test_choices_that_do_not_go_together(
    changes: dict[str, Any], texts: tuple[str, ...], program: _Program
) -> None:
    said = program.fit(2, **changes)
    assert all(text in said for text in texts), said
    assert not list(program.run_folder.rglob("*"))


def test_tasks_that_the_data_have_no_labels_for(program: _Program, tmp_path: Path) -> None:
    said = program.fit(2, data={"name": "pascal_voc", "path": str(tmp_path)})
    assert "PASCAL VOC 2012 has no labels for the task panoptic" in said
    assert "Data sets with panoptic labels: ade20k" in said
    write_ade20k(tmp_path)
    said = program.fit(2, data={"name": "ade20k", "path": str(tmp_path)})
    assert "missing" in said or "annotations_instance" in said
    assert "annotations_instance" in said
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for split in ("train", "val"):
            archive.writestr(f"images/{split}/a.png", encode(np.zeros((*SIZE, 3), np.uint8), "PNG"))
            archive.writestr(f"masks/{split}/a.png", encode(np.zeros(SIZE, np.uint8), "PNG"))
        archive.writestr("data.yaml", "names: [grass, sky]")
    said = program.fit(2, task="instance", data={"name": "folder", "path": str(tmp_path / "own.zip")})
    assert "no class is a thing, so there are no instances to tell apart" in said
    assert "`things:`" in said


def test_fewer_queries_than_objects__are_counted_and_said(
    program: _Program, caplog: pytest.LogCaptureFixture
) -> None:
    program.fit(0, decoder={**_EOMT, "num_queries": 1})
    (said,) = [text for text in caplog.messages if "segments a batch" in text]
    (first, *_) = [row for row in read_rows(program.run_folder / "metrics.csv") if "train/loss" in row]
    count = first["train/unmatched_segments"] or 0
    assert count > 0
    assert said.startswith(f"step 1: {count:.4g} segments a batch were learned by no query")
    assert "Raise decoder.num_queries" in said
