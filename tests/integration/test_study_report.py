"""A tiny study from its run to its ranking and its page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from support.studies import benchmark
from support.tiny import tiny_recipe
from vfmseg.cli.program import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of three tunings and two seeds, with a target and twelve images to score."""
    folder = tmp_path_factory.mktemp("study")
    base = tiny_recipe(training={"steps": 6, "overlays": 0, "validate_every": 0.5})
    base["data"]["scenes"]["val"] = 12
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    tree = {
        "name": "tiny",
        "base": str(folder / "base.yaml"),
        "axes": {
            "tuning.method": ["full", "frozen", "bitfit"],
            "length": {"long": {}, "short": {"training.steps": 3}},
            "seed": [0, 1],
        },
        "skip": [{"when": {"tuning.method": "bitfit", "length": "short"}, "reason": "<learns> too little"}],
        "targets": {"dusk": {"scenes": {"domains": ["dusk"], "val": 12}}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    benchmark(folder / "tiny.yaml", "--out", folder / "out")
    return folder / "out"


def test_counts_of_images__add_up_to_those_of_the_validation(finished: Path) -> None:
    for trial in finished.glob("trials/*"):
        for folder in (trial, trial / "targets" / "dusk"):
            confusion = np.array(json.loads((folder / "validation.json").read_text())["confusion"])
            with np.load(folder / "image_counts.npz") as file:
                assert len(file["names"]) == 12
                assert file["names"].tolist() == sorted(file["names"].tolist())
                hits, unions = file["intersections"].sum(0), file["unions"].sum(0)
            assert hits.tolist() == np.diag(confusion).tolist()
            assert unions.tolist() == (confusion.sum(0) + confusion.sum(1) - np.diag(confusion)).tolist()


def test_benchmark__ends_in_a_ranking(finished: Path) -> None:
    ranking = json.loads((finished / "ranking.json").read_text())
    assert [one["name"] for one in ranking["settings"]] == ["long", "long on dusk", "short", "short on dusk"]
    assert ranking["reference"] == "long"
    assert all(one["chance"] == "seeds and images" for one in ranking["settings"])
    assert ranking["settings"][2]["missing"] == ["bitfit"]
    cheaper = {one["setting"] for one in ranking["proxies"]}
    assert cheaper in ({"short"}, {"long"})  # three steps more are less than a busy machine takes or gives
    assert [(one["step"], one["share"], one["runs"]) for one in ranking["fewer_steps"]] == [(3, 0.5, 6)]
    for name in ("ranking.md", "ranking.tex", "report.html", "trials.csv"):
        assert (finished / name).read_text()
    assert r"\toprule" in (finished / "ranking.tex").read_text()


def test_report__of_a_study_says_the_same_without_its_file(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "ranking.json").read_text()
    assert main(["report", str(finished), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert (finished / "ranking.json").read_text() == before
    page = (tmp_path / "page.html").read_text()
    assert "&lt;learns&gt; too little" in page
    trial = next(path for path in sorted(finished.glob("trials/*")))
    assert f"vfmseg fit -c {trial / 'recipe.yaml'} --out runs/{trial.name}" in page


def test_report__of_a_study_and_something_else_is_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = next(finished.glob("trials/*"))
    assert main(["report", str(finished), str(trial)]) == 2
    assert "holds a study, which has a page of its own. Name it alone" in capsys.readouterr().err
