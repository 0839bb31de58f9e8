"""A checkpoint on targets of other classes, through the program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.runs.assemble import open_split
from vfmseg.runs.recipe_reader import read_recipe

_QUIET = {"say": lambda message: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vfmseg.fit(tiny_recipe(), out=tmp_path_factory.mktemp("matched") / "run", **_QUIET).folder


@pytest.fixture(scope="module")
def names() -> list[str]:
    return list(open_split(read_recipe(tiny_recipe()).recipe, "val").label_space.names)


def write_target(folder: Path, names: list[str], ids: list[int]) -> Path:
    """Write the validation scenes of the run with other class ids (own id -> new one, or 255)."""
    val = open_split(read_recipe(tiny_recipe()).recipe, "val")
    table = np.full(256, 255, np.uint8)
    table[: len(ids)] = ids
    for kind in ("images", "masks"):
        (folder / kind / "val").mkdir(parents=True)
    for i in range(len(val)):
        sample = val[i]
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(folder / f"images/val/{i}.png")
        Image.fromarray(table[sample.targets.id_map.numpy()]).save(folder / f"masks/val/{i}.png")
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": names, "ignore_index": 255}))
    return folder / "data.yaml"


def validated(run: Path, out: Path, **targets: str) -> dict[str, Any]:
    words = [word for name, text in targets.items() for word in ("--target", f"{name}={text}")]
    assert main(["validate", str(run / "checkpoints" / "last"), *words, "--out", str(out)]) == 0
    return json.loads((out / "targets.json").read_text())["targets"]


def test_validate__another_order_of_classes_changes_no_score(
    run: Path, names: list[str], tmp_path: Path
) -> None:
    backwards = [len(names) - 1 - i for i in range(len(names))]
    data = write_target(tmp_path / "data", names[::-1], backwards)
    found = validated(run, tmp_path / "out", own="{split: val}", other=f"{{name: folder, path: {data}}}")
    for key, value in found["own"].items():
        if key.startswith("val/"):
            assert found["other"][key] == pytest.approx(value, abs=1e-12), key
    assert found["other"]["scored_classes"] == len(names)
    assert found["other"]["val/ignored_share"] == 0


def test_validate__fewer_and_unknown_classes_are_scored_over_those_that_both_have(
    run: Path, names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = ["heaven" if name == "sky" else name for name in names if name != "terrain"]
    ids = [255 if n == "terrain" else theirs.index("heaven" if n == "sky" else n) for n in names]
    data = write_target(tmp_path / "data", theirs, ids)
    found = validated(
        run,
        tmp_path / "out",
        own="{split: val}",
        other=f"{{name: folder, path: {data}}}",
        mapped=f"{{name: folder, path: {data}, classes: {{heaven: sky}}}}",
    )
    said = capsys.readouterr().err
    assert "left out, as the data lacks them, and an error where predicted: terrain, sky" in said
    assert "ignored, as the model does not know them: heaven" in said

    whole = np.array(json.loads((tmp_path / "out/own/validation.json").read_text())["confusion"])
    sky, terrain = names.index("sky"), names.index("terrain")
    for name, missing in (("other", [sky, terrain]), ("mapped", [terrain])):
        known = whole.copy()
        known[missing] = 0
        hits = np.diagonal(known)
        union = known.sum(0) + known.sum(1) - hits
        iou = [hits[i] / union[i] for i in range(len(names)) if i not in missing and union[i]]
        assert found[name]["val/miou"] == pytest.approx(np.mean(iou))
        recorded = json.loads((tmp_path / f"out/{name}/validation.json").read_text())
        assert recorded["confusion"] == known.tolist()
        assert recorded["class_names"] == names
    share = whole[sky].sum() / (whole.sum() - whole[terrain].sum())
    assert found["other"]["val/ignored_share"] == pytest.approx(share)
    assert f"{share:.2%} of the labelled pixels are of classes that the model does not know" in said
    assert found["mapped"]["val/ignored_share"] == 0
    assert (found["mapped"]["left_out_classes"], found["other"]["ignored_classes"]) == ("terrain", "heaven")


@pytest.mark.parametrize(
    ("theirs", "keys", "message"),
    [
        ("other", "", "--target x: The model and the data have no class in common."),
        ("same", ", classes: {raod: road}", "the data has no class 'raod'. Did you mean road?"),
        ("same", ", classes: [road]", "--target x: classes is ['road']; write the target's class"),
    ],
)
def test_validate__classes_that_cannot_be_matched_are_one_error(
    run: Path,
    names: list[str],
    tmp_path: Path,
    theirs: str,
    keys: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = names if theirs == "same" else [f"thing {i}" for i in range(len(names))]
    data = write_target(tmp_path / "data", own, list(range(len(names))))
    words = ["--target", f"x={{name: folder, path: {data}{keys}}}"]
    assert main(["validate", str(run), *words]) == 2
    assert message in capsys.readouterr().err


def test_validate__a_target_without_anything_labelled_is_named(
    run: Path, names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_target(tmp_path / "data", names, [255] * len(names))
    words = ["--target", "own={split: val}", "--target", f"void={{name: folder, path: {data}}}"]
    assert main(["validate", str(run), *words]) == 2
    assert "vfmseg: --target void: No labelled pixel was counted" in capsys.readouterr().err


def test_validate__classes_of_panoptic_targets_are_not_mapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe(
        task="panoptic", decoder={"name": "eomt", "num_queries": 4, "num_blocks": 1}, training={"steps": 1}
    )
    run = vfmseg.fit(recipe, out=tmp_path / "run", **_QUIET).folder
    assert main(["validate", str(run), "--target", "x={split: val, classes: {sky: null}}"]) == 2
    assert (
        "mapped for models of the task semantic with classes of known names; this model's is panoptic"
        in capsys.readouterr().err
    )
