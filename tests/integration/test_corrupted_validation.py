"""One checkpoint under corruptions made on the fly, through the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.training.corrupted import Corrupted, Corruption
from vfmseg.types import Sample, Targets

_QUIET = {"say": lambda message: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vfmseg.fit(tiny_recipe(), out=tmp_path_factory.mktemp("corruptions") / "run", **_QUIET).folder


@pytest.mark.parametrize("workers", [0, 2])
def test_validate__corruptions_are_a_table_and_the_same_however_they_are_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    last, out = str(run / "checkpoints" / "last"), tmp_path / "scores"
    words = ["validate", last, "--corruptions", "contrast,gaussian_noise:5", "--out", str(out)]
    assert main([*words, "--data.num_workers", str(workers)]) == 0
    head, contrast, noise, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["corruption", "1", "2", "3", "4", "5"]
    assert noise.split()[:-1] == ["gaussian_noise", *"----"]
    found = json.loads((out / "corruptions.json").read_text())
    scores = [*found["corruptions"]["contrast"].values(), *found["corruptions"]["gaussian_noise"].values()]
    assert len(scores) == 6
    assert found["mean"] == pytest.approx(sum(scores) / 6)
    assert found["relative"] == pytest.approx(found["mean"] / found["clean"])
    assert found["clean"] == pytest.approx(vfmseg.validate(last, **_QUIET).scores.miou)
    assert len(set(scores)) > 1
    assert contrast.split()[1] == f"{100 * scores[0]:.2f}"
    assert total.startswith("val/miou in %; without corruption")
    alone = ["validate", last, "--corruptions", "gaussian_noise:5", "--json"]
    assert main(alone) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["corruptions"]["gaussian_noise"] == found["corruptions"]["gaussian_noise"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--corruptions", "fgo"], "Did you mean fog"),
        (["--corruptions", "fog:6"], "severity of fog is 1"),
        (["--corruptions", "fog:hard"], "write all, or KIND or KIND:SEVERITY"),
        (["--corruptions", "fog", "--target", "a=b"], "Give --target or --corruptions"),
    ],
)
def test_validate__corruptions_that_there_are_not(
    run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(run), *words]) == 2
    assert message in capsys.readouterr().err


def test_corrupted__images_differ_by_name_and_targets_stay() -> None:
    targets = Targets(torch.zeros(70, 90, dtype=torch.uint8))
    image = torch.full((3, 70, 90), 128, dtype=torch.uint8)
    source = [Sample(image, targets, "a"), Sample(image, targets, "b"), Sample(image, targets, "a")]
    one, two, three = (Corrupted(source, Corruption("gaussian_noise", 3), seed=1)[i] for i in range(3))
    assert one.image.shape == image.shape
    assert torch.equal(one.image, three.image)
    assert not torch.equal(one.image, two.image)
    assert not torch.equal(one.image, Corrupted(source, Corruption("gaussian_noise", 3), seed=2)[0].image)
    assert one.targets is targets
    assert image.eq(128).all()
