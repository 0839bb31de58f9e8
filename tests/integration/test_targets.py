"""One checkpoint on several named targets, through the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.models.checkpoint import read_header
from vfmseg.runs.recipe_id import recipe_id

_QUIET = {"say": lambda message: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vfmseg.fit(tiny_recipe(), out=tmp_path_factory.mktemp("targets") / "run", **_QUIET).folder


def scenes(domain: str) -> str:
    return f"{domain}={{scenes: {{domains: [{domain}]}}}}"


def test_validate__each_target_is_scored_as_it_is_alone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last, out = str(run / "checkpoints" / "last"), tmp_path / "scores"
    words = ["validate", last, "--target", scenes("day"), "--target", scenes("dusk"), "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "dusk: validate:" in said.err
    head, *_, means, source = said.out.splitlines()
    assert head.split() == ["class", "day", "%", "dusk", "%"]
    assert means.startswith("mean of 2 targets")
    assert source.startswith("source (the validation that the checkpoint was saved with)")

    found = json.loads((out / "targets.json").read_text())
    assert list(found["targets"]) == ["day", "dusk"]
    for name, row in found["targets"].items():
        alone = vfmseg.validate(last, data={"scenes": {"domains": [name]}}, **_QUIET)
        assert row["val/miou"] == pytest.approx(alone.result["val/miou"], abs=1e-12)
        assert json.loads((out / name / "result.json").read_text())["val/miou"] == row["val/miou"]
    scores = [row["val/miou"] for row in found["targets"].values()]
    assert found["mean"] == pytest.approx(sum(scores) / 2)
    assert found["targets"][found["worst"]]["val/miou"] == min(scores)
    assert found["source"] == pytest.approx(read_header(last).metrics["val/miou"])
    assert found["gap"] == pytest.approx(found["source"] - found["mean"])
    assert scores[0] == pytest.approx(found["source"], abs=1e-9)

    model, trained = found["model"], json.loads((run / "result.json").read_text())
    for key in ("task", "encoder", "tuning", "decoder", "data", "seed"):
        assert model[key] == trained[key]
    for key in ("parameters_total", "parameters_trainable"):
        assert model[key] == trained[key]
    assert model["checkpoint_bytes"] == (run / "checkpoints" / "last" / "model.safetensors").stat().st_size
    assert (model["step"], model["source"]) == (trained["steps"], found["source"])
    assert model["recipe_id"] == recipe_id(yaml.safe_load((run / "recipe.yaml").read_text()))
    assert json.loads((out / "dusk" / "result.json").read_text())["model"] == model
    images = json.loads((out / "dusk" / "validation.json").read_text())["images"]
    assert [one["picture"] for one in images] == [
        "predictions/worst/00.jpg",
        "predictions/worst/01.jpg",
        "predictions/best/00.jpg",
    ]
    assert all((out / "dusk" / one["picture"]).is_file() for one in images)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["day"], "does not name a target and its data"),
        (["=PATH"], "does not name a target and its data"),
        (["a b=PATH"], "does not name a target and its data"),
        (["..=PATH"], "does not name a target and its data.*after the first also dots"),
        (["day={scenes: [}"], "is no YAML mapping"),
        ([scenes("day"), scenes("day")], "names day more than once"),
        (["night={nme: acdc}"], "--target night: .*unknown key 'data.nme'. Did you mean data.name"),
        ([scenes("day"), "night={name: folder, path: nowhere}"], "nowhere"),
    ],
)
def test_validate__a_target_that_cannot_be_had_is_said_before_any_is_scored(
    run: Path, targets: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for target in targets for word in ("--target", target)]
    assert main(["validate", str(run), *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "validate:" not in said.err
    import re

    assert re.search(message, said.err, re.DOTALL)


@pytest.mark.parametrize("more", [[], ["--target", scenes("day")]])
def test_validate__a_recipe_of_another_task_is_refused(
    run: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "panoptic", "--decoder.name", "eomt", *more]
    assert main(["validate", str(run), *words]) == 2
    said = capsys.readouterr().err
    assert "model.safetensors was trained for task semantic, but the recipe's task is panoptic. Give" in said
