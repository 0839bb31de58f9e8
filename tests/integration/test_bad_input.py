"""What a user may get wrong: one clear error that names the thing and the remedy, exit code 2, no traceback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from support.archives import write_ade20k
from support.tiny import tiny_recipe
from vfmseg.cli.program import main


class _Wrong:
    """Runs `vfmseg fit` on a recipe and holds what it said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def fit(self, *words: str, **changes: object) -> str:
        """Return what stands on stderr after a fit that must fail with exit code 2."""
        recipe = self.folder / "recipe-under-test.yaml"
        recipe.write_text(yaml.safe_dump(tiny_recipe(**changes)))
        self.capsys.readouterr()
        code = main(["fit", "-c", str(recipe), "--out", str(self.folder / "run"), "--no_report", *words])
        said = self.capsys.readouterr().err
        assert code == 2, said
        assert "Traceback" not in said
        return said


@pytest.fixture
def wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> _Wrong:
    return _Wrong(tmp_path, capsys)


def _ade(path: Path) -> dict[str, object]:
    return {"data": {"name": "ade20k", "path": str(path)}}


def _folder(root: Path, count: int = 2) -> Path:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng(number)
            name = f"{split}{number}"
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(
                root / "images" / split / f"{name}.jpg"
            )
            mask = np.zeros((48, 64), np.uint8)
            mask[:, 32:] = 1
            Image.fromarray(mask).save(root / "masks" / split / f"{name}.png")
    (root / "data.yaml").write_text("path: .\nnames: {0: left, 1: right}\n")
    return root


def _own(root: Path) -> dict[str, object]:
    return {"data": {"name": "folder", "path": str(root / "data.yaml")}}


def test_missing_archive__names_it_and_where_to_get_it(wrong: _Wrong, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = wrong.fit(**_ade(tmp_path / "empty"))
    assert "ADEChallengeData2016.zip" in said
    assert str(tmp_path / "empty") in said


def test_wrong_archive__says_what_is_inside(wrong: _Wrong, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.make_archive(str(data / "ADEChallengeData2016"), "zip", _folder(tmp_path / "other"))
    said = wrong.fit(**_ade(data))
    assert "ADEChallengeData2016/images/training" in said
    assert "images/train" in said


def test_truncated_zip__is_noticed_at_once(wrong: _Wrong, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_ade20k(data)
    archive = data / "ADEChallengeData2016.zip"
    archive.write_bytes(archive.read_bytes()[:-300])
    said = wrong.fit(**_ade(data))
    assert "ADEChallengeData2016.zip" in said
    assert "cut short" in said or "truncated" in said or "incomplete" in said


def test_corrupt_jpeg__names_the_file_and_the_way_out(wrong: _Wrong, tmp_path: Path) -> None:
    root = _folder(tmp_path / "data")
    picture = root / "images" / "train" / "train0.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    said = wrong.fit(**_own(root))
    assert "train0.jpg" in said
    in_a_worker = wrong.fit("--data.num_workers", "1", "--overwrite", **_own(root))
    assert in_a_worker.splitlines()[-1] == said.splitlines()[-1]


def test_corrupt_jpeg__is_left_out_on_request_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _folder(tmp_path / "data", count=3)
    picture = root / "images" / "train" / "train0.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    recipe = tmp_path / "r.yaml"
    data = {"name": "folder", "path": str(root / "data.yaml"), "skip_bad": True}
    recipe.write_text(yaml.safe_dump(tiny_recipe(data=data)))
    assert main(["fit", "-c", str(recipe), "--out", str(tmp_path / "run"), "--no_report"]) == 0
    said = capsys.readouterr().err
    assert "1 training files are left out, as asked" in said
    assert "train0.jpg" in said
    (noted,) = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert noted["text"] == "1 training files left out, as asked"
    assert "train0.jpg" in noted["items"][0]


def test_label_of_another_size(wrong: _Wrong, tmp_path: Path) -> None:
    root = _folder(tmp_path / "data")
    Image.new("L", (32, 24)).save(root / "masks" / "train" / "train0.png")
    said = wrong.fit(**_own(root))
    assert "is 24 x 32 (height x width), its image" in said
    assert "is 48 x 64" in said


def test_label_id_that_no_class_has(wrong: _Wrong, tmp_path: Path) -> None:
    root = _folder(tmp_path / "data")
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(root / "masks" / "train" / "train0.png")
    said = wrong.fit(**_own(root))
    assert "train0.png" in said
    assert "7" in said


@pytest.mark.filterwarnings("ignore:.*no labelled pixel")
def test_all_void_images__train_without_a_nan(tmp_path: Path) -> None:
    root = _folder(tmp_path / "data")
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(root / "masks" / "train" / "train0.png")
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(root / "masks" / "val" / "val0.png")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe(**_own(root))))
    assert main(["fit", "-c", str(recipe), "--out", str(tmp_path / "run"), "--no_report"]) == 0
    assert "nan" not in (tmp_path / "run" / "metrics.csv").read_text()
    assert "val0" in (tmp_path / "run" / "validation.json").read_text()


def test_empty_split(wrong: _Wrong, tmp_path: Path) -> None:
    root = _folder(tmp_path / "data")
    shutil.rmtree(root / "images" / "val")
    shutil.rmtree(root / "masks" / "val")
    said = wrong.fit(**_own(root))
    assert "val" in said
    assert "2 train" in said


def test_images_without_label(wrong: _Wrong, tmp_path: Path) -> None:
    root = _folder(tmp_path / "data")
    (root / "masks" / "train" / "train1.png").unlink()
    said = wrong.fit(**_own(root))
    assert "train1.jpg" in said
    assert "allow_unpaired" in said


def test_unknown_encoder__offers_the_nearest(wrong: _Wrong) -> None:
    said = wrong.fit("--encoder.name", "dinov2-bb", "--encoder.overrides", "{}")
    assert "dinov2-bb" in said
    assert "Did you mean dinov2-b" in said


def test_unknown_data_set__offers_the_nearest(wrong: _Wrong, tmp_path: Path) -> None:
    assert "Did you mean ade20k" in wrong.fit("--data.name", "ade20", "--data.path", str(tmp_path))


def test_encoder_that_is_no_plain_vit(wrong: _Wrong) -> None:
    said = wrong.fit("--encoder.name", "swin_tiny_patch4_window7_224", "--encoder.overrides", "{}")
    assert "swin_tiny" in said
    assert "plain" in said


def test_offline_hub__says_what_to_do(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        yaml.safe_dump(tiny_recipe(encoder={"name": "dinov2-s", "weights": "pretrained", "overrides": {}}))
    )
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hub"),
        "VFMSEG_CACHE": str(tmp_path),
    }
    words = [sys.executable, "-m", "vfmseg", "fit", "-c", str(recipe), "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "encoder.weights" in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_that_do_not_fit__show_both_lists(wrong: _Wrong, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    names = {
        "patch_embed.proj.weight": torch.zeros(24, 3, 16, 16),
        "blocks.0.something.weight": torch.zeros(3),
    }
    save_file(names, tmp_path / "odd.safetensors")
    said = wrong.fit("--encoder.weights", str(tmp_path / "odd.safetensors"))
    assert "blocks.0.something.weight" in said
    assert "blocks.{0-1}.attn.qkv.weight" in said


def test_image_size_not_divisible(wrong: _Wrong) -> None:
    said = wrong.fit("--encoder.image_size", "70")
    assert "70x70 is not a multiple of encoder.patch_size 16; the nearest that is: [64, 64]" in said


def test_everything_wrong_in_a_recipe_at_once(wrong: _Wrong) -> None:
    said = wrong.fit("--trainng.steps", "5", "--encoder.patchsize", "8", "--training.precision", "int8")
    assert "3 things are wrong" in said
    assert "Did you mean training" in said
    assert "encoder.patch_size" in said


def test_recipe_that_is_no_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.yaml").write_text("a: [1, 2")
    assert main(["fit", "-c", str(tmp_path / "odd.yaml")]) == 2
    assert "is not YAML" in capsys.readouterr().err


def test_predict__corrupt_image_does_not_end_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _folder(tmp_path / "data")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe(**_own(root))))
    assert main(["fit", "-c", str(recipe), "--out", str(tmp_path / "run"), "--no_report"]) == 0
    (root / "images" / "train" / "train0.jpg").write_bytes(b"no image")
    capsys.readouterr()
    words = ["predict", str(tmp_path / "run"), str(root / "images"), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "3 of 4 images predicted" in captured.out
    assert "not predicted" in captured.err
    assert "train0.jpg" in captured.err
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 3
    assert main(words) == 2
    assert "already holds 3 of the 4 predictions" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "no.jpg"), "--out", "x"]) == 2
    assert "There is no file or folder" in capsys.readouterr().err
    picture = str(root / "images" / "val" / "val0.jpg")
    assert main(["predict", str(tmp_path / "run"), picture, "--out", str(recipe)]) == 2
    assert f"{recipe} could not be written" in capsys.readouterr().err


@pytest.mark.skipif(
    shutil.which("mount") is None or os.geteuid() != 0, reason="needs root to mount a tiny file system"
)
def test_disk_full__one_error_and_a_run_that_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        root = _folder(tmp_path / "data")
        recipe = tmp_path / "r.yaml"
        wide = {"embed_dim": 96, "depth": 2, "num_heads": 2}
        recipe.write_text(yaml.safe_dump(tiny_recipe(encoder={"overrides": wide}, **_own(root))))
        assert main(["fit", "-c", str(recipe), "--out", str(small / "run"), "--no_report"]) == 2
        said = capsys.readouterr().err
        assert "The disk is full" in said
        assert "--resume" in said
        assert not list(small.rglob("*.partial"))
    finally:
        subprocess.run(["umount", str(small)], check=False)
