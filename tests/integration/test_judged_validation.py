"""How far confidence can be believed, through the program; numbers equal plain ones over the same model's logits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
)

import vfmseg
from support.tiny import tiny_recipe
from vfmseg.cli.program import main
from vfmseg.metrics.score_counts import KEPT_SCORES
from vfmseg.postprocess.semantic import pixel_scores
from vfmseg.runs.assemble import open_split
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.restore import restore
from vfmseg.transforms.sliding_window import cut, plan_windows
from vfmseg.transforms.window_merge import merge

_QUIET = {"say": lambda message: None}
_MASKS = {"name": "eomt", "num_queries": 6, "num_blocks": 1}
Flat = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module", params=["linear", "eomt"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the last checkpoint of a run, whose crops of 64 x 64 are narrower than the images of 64 x 80."""
    decoder = _MASKS if request.param == "eomt" else {"name": "linear"}
    out = tmp_path_factory.mktemp(request.param) / "run"
    training = {"steps": 30, "learning_rate": 3e-3, "validate_every": 1.0}
    return (
        vfmseg.fit(tiny_recipe(decoder=decoder, training=training), out=out, **_QUIET).folder
        / "checkpoints/last"
    )


@pytest.fixture(scope="module")
def pixels_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vfmseg.fit(tiny_recipe(), out=tmp_path_factory.mktemp("pixels") / "run", **_QUIET).folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the validation scenes as a folder, with 254 in the labels and 1 in masks where something unknown is.

    Masks also hold a strip of 255, and mark what has a class in ``plain``, whose labels know nothing unknown.
    """
    folder = tmp_path_factory.mktemp("unknown")
    val = open_split(read_recipe(tiny_recipe()).recipe, "val")
    names = list(val.label_space.names)
    for kind in ("marked/images", "marked/masks", "plain/images", "plain/masks", "ood"):
        (folder / kind / ("" if kind == "ood" else "val")).mkdir(parents=True)
    for i in range(len(val)):
        sample = val[i]
        ids = sample.targets.id_map.numpy()
        mask = np.zeros_like(ids)
        mask[10:30, 5 + 8 * i : 40] = 1
        mask[:, -6:] = 255
        for kind in ("marked", "plain"):
            Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(folder / f"{kind}/images/val/{i}.png")
        Image.fromarray(np.where(mask == 1, np.uint8(254), ids)).save(folder / f"marked/masks/val/{i}.png")
        Image.fromarray(ids).save(folder / f"plain/masks/val/{i}.png")
        Image.fromarray(mask).save(folder / f"ood/{i}_labels_semantic.png")
    for kind in ("marked", "plain"):
        (folder / kind / "data.yaml").write_text(yaml.safe_dump({"names": names, "ignore_index": 255}))
    return folder


def scenes(domain: str) -> str:
    return f"{{scenes: {{domains: [{domain}]}}}}"


def of_folder(folder: Path) -> list[str]:
    return ["--data.name", "folder", "--data.path", str(folder / "data.yaml")]


def scored(out: Path, *words: str) -> dict[str, Any]:
    assert main(["validate", *words, "--out", str(out)]) == 0
    return json.loads((out / "reliability.json").read_text())


def logits_of(run: Path) -> list[torch.Tensor]:
    """Return the merged logits or scores (K, H, W) of each validation scene, the whole image at once."""
    segmenter, val, found = restore(run), open_split(read_recipe(tiny_recipe()).recipe, "val"), []
    with torch.no_grad():
        for i in range(len(val)):
            image = val[i].image
            plan = plan_windows((image.shape[1], image.shape[2]), segmenter.image_size)
            assert plan.num_windows > 1
            found.append(merge(pixel_scores(segmenter(cut(image, plan)), segmenter.image_size), plan))
    return found


def flat(run: Path, measure: Callable[[torch.Tensor], torch.Tensor], unknown: Path | None = None) -> Flat:
    """Return confidence, right and unknown of all judged pixels (P,); masks in ``unknown`` say what is unknown."""
    val, parts = open_split(read_recipe(tiny_recipe()).recipe, "val"), []
    for i, logits in enumerate(logits_of(run)):
        ids = val[i].targets.id_map
        mask = torch.zeros_like(ids)
        if unknown is not None:
            mask = torch.from_numpy(np.array(Image.open(unknown / f"{i}_labels_semantic.png")))
        judged = (mask == 1) | ((mask == 0) & (ids != 255))
        right = logits.argmax(0) == ids
        parts.append([part[judged] for part in (measure(logits), right, mask == 1)])
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def false_positive_rate(scores: torch.Tensor, positive: torch.Tensor) -> float:
    threshold = scores[positive].quantile(0.05, interpolation="lower")
    return float((scores[~positive] >= threshold).float().mean())


def probability(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(0).amax(0)


def share(scores: torch.Tensor) -> torch.Tensor:
    return (scores / scores.sum(0)).amax(0)


def measures(run: Path) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    if "eomt" in str(run):
        return {"max_probability": share, "max_score": lambda scores: scores.amax(0)}
    return {"max_probability": probability, "energy": lambda logits: logits.exp().sum(0).log()}


def test_validate__numbers_are_those_of_all_pixels_at_once(run: Path, tmp_path: Path) -> None:
    for name, measure in measures(run).items():
        found = scored(tmp_path / name, str(run), "--reliability", "--confidence", name)
        confidence, right, _ = flat(run, measure)
        assert found["confidence"] == name
        assert found["exact"]
        assert found["error_bound"] == 0
        assert found["pixels"] == {"right": int(right.sum()), "wrong": int((~right).sum())}
        levels, places = confidence.unique(return_inverse=True)
        ranks = places.double() / len(levels)  # torchmetrics wants 0..1
        assert found["auroc"] == pytest.approx(float(binary_auroc(ranks, right.long())), abs=1e-4)
        for key, scores, positive in (("aupr_success", ranks, right), ("aupr_error", 1 - ranks, ~right)):
            expected = binary_average_precision(scores, positive.long())
            assert found[key] == pytest.approx(float(expected), abs=1e-4)
        assert found["fpr95"] == pytest.approx(false_positive_rate(confidence, right), abs=1e-4)
        if name != "max_probability":
            assert (found["ece"], found["bins"]) == (None, [])
            continue
        expected = binary_calibration_error(confidence, right.long(), 15)
        assert found["ece"] == pytest.approx(float(expected), abs=1e-5)
        counts = np.histogram(confidence.numpy(), bins=15, range=(0, 1))[0]
        assert [one["count"] for one in found["bins"]] == counts.tolist()


def test_validate__scores_are_the_same_with_and_without(run: Path, tmp_path: Path) -> None:
    scored(tmp_path / "with", str(run), "--reliability")
    assert main(["validate", str(run), "--out", str(tmp_path / "without")]) == 0
    rows = [json.loads((tmp_path / kind / "result.json").read_text()) for kind in ("with", "without")]
    for key, value in rows[1].items():
        if key.startswith(("val/", "baseline/")):
            assert rows[0][key] == pytest.approx(value, abs=1e-12)
    assert not (tmp_path / "without" / "reliability.json").exists()
    judged = json.loads((tmp_path / "with" / "reliability.json").read_text())
    assert rows[0]["val/misclassification_auroc"] == judged["auroc"]
    assert rows[0]["val/ece"] == judged["ece"]
    # what was written without it is of no earlier validation, whose file would be taken for its own
    assert main(["validate", str(run), "--out", str(tmp_path / "with")]) == 0
    assert not (tmp_path / "with" / "reliability.json").exists()


def test_validate__unknown_objects_of_a_folder_and_of_a_value(run: Path, data: Path, tmp_path: Path) -> None:
    by_mask = scored(
        tmp_path / "a", str(run), "--reliability", "--unknown", str(data / "ood"), *of_folder(data / "plain")
    )
    confidence, right, unknown = flat(run, measures(run)["max_probability"], data / "ood")
    found = by_mask["unknown"]
    assert found["pixels"] == {"unknown": int(unknown.sum()), "known": int((~unknown).sum())}
    assert found["auroc"] == pytest.approx(float(binary_auroc(1 - confidence, unknown.long())), abs=1e-4)
    expected = binary_average_precision(1 - confidence, unknown.long())
    assert found["aupr"] == pytest.approx(float(expected), abs=1e-4)
    assert found["fpr95"] == pytest.approx(false_positive_rate(-confidence, unknown), abs=1e-4)
    # what is unknown is neither right nor wrong, though its label says a class
    assert by_mask["pixels"] == {
        "right": int(right[~unknown].sum()),
        "wrong": int((~right)[~unknown].sum()),
    }
    row = json.loads((tmp_path / "a" / "result.json").read_text())
    assert row["val/pixel_accuracy"] == pytest.approx(float(right[~unknown].float().mean()))

    by_value = scored(
        tmp_path / "b", str(run), "--reliability", "--unknown", "254", *of_folder(data / "marked")
    )
    assert by_value["unknown"]["pixels"]["unknown"] == found["pixels"]["unknown"]
    assert by_value["unknown"]["pixels"]["known"] > found["pixels"]["known"]  # labels have no strip of 255


def test_validate__tables_name_the_numbers(
    pixels_run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "validate",
        str(pixels_run),
        "--reliability",
        *of_folder(data / "marked"),
        "--unknown",
        "254,253",
    ]
    assert main([*words, "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)["reliability"]
    assert main(words) == 0
    *_, blank, heads, numbers, note = capsys.readouterr().out.splitlines()
    assert blank == ""
    assert heads.split()[:3] == ["ECE", "overconf.", "AUROC"]
    keys = ("ece", "overconfidence", "auroc", "aupr_success", "aupr_error", "fpr95")
    shown = [judged[key] for key in keys] + [judged["unknown"][key] for key in ("auroc", "aupr", "fpr95")]
    assert numbers.split() == [f"{100 * value:.2f}" for value in shown]
    assert note == "in %, of the confidence max_probability; exact"


def test_validate__more_pixels_than_are_kept_are_counted_in_bins(
    pixels_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = scored(tmp_path / "exact", str(pixels_run), "--reliability")
    monkeypatch.setattr("vfmseg.metrics.score_counts.ScoreCounts.is_exact", False)
    assert sum(exact["pixels"].values()) < KEPT_SCORES
    binned = scored(tmp_path / "binned", str(pixels_run), "--reliability")
    assert not binned["exact"]
    assert 0 < binned["error_bound"] < 0.01
    assert binned["auroc"] == pytest.approx(exact["auroc"], abs=binned["error_bound"])
    assert binned["ece"] == exact["ece"]
    assert "counted in bins, so that AUROC, AUPR and FPR95 may be off by up to" in capsys.readouterr().out


def test_validate__targets_and_the_indices_of_the_challenge(
    pixels_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, folder = tmp_path / "out", data / "plain" / "data.yaml"
    words = ["--reliability", "--target", f"synrain={scenes('dusk')}", "--target", f"day={scenes('day')}"]
    words += ["--target", f"synobjs={{name: folder, path: {folder}, unknown: {data / 'ood'}}}"]
    assert main(["validate", str(pixels_run / "checkpoints/last"), *words, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    found = json.loads((out / "targets.json").read_text())
    assert list(found["reliability"]) == ["synrain", "day", "synobjs"]
    turned = []
    for name, judged in found["reliability"].items():
        own = json.loads((out / name / "reliability.json").read_text())
        assert {key: value for key, value in own.items() if key != "bins"} == judged
        assert (judged["unknown"] is None) == (name != "synobjs")
        if name != "day":
            turned += [found["targets"][name]["val/miou"], 1 - judged["ece"], 1 - judged["fpr95"]]
            turned += [judged[key] for key in ("auroc", "aupr_success", "aupr_error")]
    assert found["bravo"]["semantic"] == pytest.approx(len(turned) / sum(1 / value for value in turned))
    unknown = found["reliability"]["synobjs"]["unknown"]
    of_unknown = [unknown["auroc"], unknown["aupr"], 1 - unknown["fpr95"]]
    assert found["bravo"]["ood"] == pytest.approx(3 / sum(1 / value for value in of_unknown))
    assert found["bravo"]["missing"] == [
        *("ACDCfog", "ACDCrain", "ACDCnight", "ACDCsnow", "synflare", "outofcontext", "SMIYC")
    ]
    assert f"BRAVO indices in %: semantic {100 * found['bravo']['semantic']:.2f}" in said
    assert "these subsets are missing or lack a number: ACDCfog" in said
    alone = vfmseg.validate(
        pixels_run / "checkpoints/last",
        data={"scenes": {"domains": ["dusk"]}},
        reliability=_question(),
        **_QUIET,
    )
    assert alone.reliability.record()["ece"] == pytest.approx(found["reliability"]["synrain"]["ece"])


def _question() -> Any:
    from vfmseg.runs.reliability import ReliabilityQuestion

    return ReliabilityQuestion()


def test_validate__a_target_of_other_classes_is_judged_in_the_models(
    pixels_run: Path, data: Path, tmp_path: Path
) -> None:
    names = yaml.safe_load((data / "plain" / "data.yaml").read_text())["names"]
    other = tmp_path / "other"
    for kind in ("images", "masks"):
        (other / kind / "val").mkdir(parents=True)
    for path in sorted((data / "plain/masks/val").iterdir()):
        ids = np.array(Image.open(path))
        turned = np.where(ids == 255, ids, len(names) - 1 - ids).astype(np.uint8)
        Image.fromarray(turned).save(other / "masks/val" / path.name)
        (other / "images/val" / path.name).write_bytes((data / "plain/images/val" / path.name).read_bytes())
    (other / "data.yaml").write_text(yaml.safe_dump({"names": names[::-1], "ignore_index": 255}))
    words = ["--reliability", "--target", f"same={{name: folder, path: {data / 'plain/data.yaml'}}}"]
    words += ["--target", f"turned={{name: folder, path: {other / 'data.yaml'}}}"]
    assert main(["validate", str(pixels_run), *words, "--out", str(tmp_path / "out")]) == 0
    judged = json.loads((tmp_path / "out" / "targets.json").read_text())["reliability"]
    assert judged["same"] == judged["turned"]


def test_validate__corruptions(pixels_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--reliability", "--corruptions", "contrast:5", "--out", str(tmp_path)]
    assert main(["validate", str(pixels_run), *words]) == 0
    judged = json.loads((tmp_path / "corruptions.json").read_text())["reliability"]
    assert judged["clean"]["ece"] != judged["corruptions"]["contrast"]["5"]["ece"]
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("contrast 5"))
    assert row.split()[2] == f"{100 * judged['corruptions']['contrast']['5']['ece']:.2f}"


def test_validate__nothing_unknown_is_said_and_the_rest_stays(
    pixels_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(pixels_run), "--reliability", "--unknown", "253", *of_folder(data / "plain")]
    found = scored(tmp_path, *words)
    assert found["unknown"]["auroc"] is None
    assert found["auroc"] is not None
    assert "no pixel of an unknown object was seen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--unknown", "254"], "--unknown belongs to the scores that --reliability asks for"),
        (["--confidence", "entropy"], "--confidence belongs to the scores that --reliability asks for"),
        (["--reliability", "--confidence", "max_score"], "no confidence 'max_score' of pixel decoders"),
        (["--reliability", "--unknown", "3"], "The value 3 cannot mark unknown objects"),
        (["--reliability", "--unknown", "nowhere"], "There is no folder nowhere with masks of unknown"),
        (["--target", "a={scenes: {domains: [day]}, unknown: 254}"], "--target a: `unknown` is for"),
    ],
)
def test_validate__what_cannot_be_asked(
    pixels_run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(pixels_run), *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


def test_validate__tasks_and_decoders_without_such_a_confidence(capsys: pytest.CaptureFixture[str]) -> None:
    from vfmseg.errors import RecipeError
    from vfmseg.runs.reliability import ReliabilityQuestion, ask_reliability

    recipe = read_recipe(tiny_recipe(decoder=_MASKS)).recipe
    val = open_split(recipe, "val")
    with pytest.raises(RecipeError, match="no confidence 'energy' of mask decoders"):
        ask_reliability(ReliabilityQuestion("energy"), recipe, val)
    panoptic = dataclasses.replace(recipe, task="panoptic")
    with pytest.raises(RecipeError, match="this model's task is panoptic: its segments have scores"):
        ask_reliability(ReliabilityQuestion(), panoptic, val)


def test_validate__a_mask_of_another_size_is_named(
    pixels_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (data / "ood").iterdir():
        Image.open(path).resize((40, 40)).save(tmp_path / path.name)
    words = ["--reliability", "--unknown", str(tmp_path), *of_folder(data / "plain")]
    assert main(["validate", str(pixels_run), *words]) == 2
    assert "is 40 x 40 (height x width), its image images/val/0.png 64 x 80" in capsys.readouterr().err
