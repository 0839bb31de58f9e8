import json
import re

import pytest
import yaml
from test_report_pages import Page

from support.evaluations import model, write_corruptions, write_targets
from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.report.folders import write_report
from vfmseg.runs.recipe_id import recipe_id

LORA = {"tuning": "lora", "recipe_id": "bbb", "source": 0.6}


@pytest.fixture
def full(tmp_path):
    folder = write_targets(tmp_path / "full", {"night": 0.2, "rain": 0.6})
    return write_corruptions(folder, {"fog": {"1": 0.4, "2": 0.2}, "jpeg_compression": {"1": 0.7}})


@pytest.fixture
def lora(tmp_path):
    folder = write_targets(tmp_path / "lora", {"night": 0.3, "rain": 0.5}, **LORA)
    return write_corruptions(folder, {"fog": {"1": 0.5}}, **LORA)


def page_at(path):
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    for tag, attributes in page.elements:
        for name in {"src", "href"} & set(attributes):
            assert attributes[name].startswith(("data:", "#")), tag
    assert not page.all("script")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(link["href"].removeprefix("#") in ids for link in page.all("a"))
    assert all(set(drawing["aria-labelledby"].split()) <= set(ids) for drawing in page.all("svg"))
    assert all(image["alt"] for image in page.all("img"))
    assert all("scope" in header for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert "<i>sky" not in html
    return page


def test_write_report__one_evaluation(full):
    path = write_report([full])
    assert path == full / "report.html"
    page = page_at(path)
    assert len(page.all("img")) == 2
    assert len(page.all("svg")) == 1 + 2  # bars, and a reliability diagram a target
    for words in (
        "dinov2-s × full × linear",
        "1.5 MB",
        "Score by domain",
        "Classes by domain",
        "Worst images by domain",
        "night/0.png mIoU 10.0 %",
        "54.2 % of the score without corruption",
        "jpeg compression",
        "AUROC 80.0 %",
    ):
        assert words in page.text, words
    markdown = (full / "report.md").read_text(encoding="utf-8")
    cells = "1\u00a0M | 22\u00a0M | 1.5\u00a0MB | 70.0 | 20.0 | 60.0 | 40.0 | 20.0 (night) | 30.0 |"
    assert f"| full (dinov2-s × full × linear) | {cells}" in markdown
    assert "| fog | 30.0 |" in markdown


def test_write_report__how_images_were_seen(full, lora):
    content = json.loads((full / "targets.json").read_text())
    content["targets"]["night"] |= {"augment": "flip", "window_stride": 341, "test_size": "512x1024"}
    (full / "targets.json").write_text(json.dumps(content))
    content = json.loads((full / "corruptions.json").read_text())
    (full / "corruptions.json").write_text(json.dumps(content | {"augment": "flip"}))
    page = page_at(write_report([full]))
    view = "test-time augmentation flip, windows at a stride of 341, images scaled to fit 512x1024"
    assert f"With {view}: night. With test-time augmentation flip: corruptions." in page.text
    assert f"With {view}: night." in (full / "report.md").read_text(encoding="utf-8")
    assert f"With {view}: full on night." in page_at(write_report([full, lora])).text


def test_write_report__reliability_under_corruption(full):
    one = {"confidence": "max_probability", "ece": 0.125, "auroc": 0.75}
    content = json.loads((full / "corruptions.json").read_text())
    content["reliability"] = {"clean": one, "corruptions": {"jpeg_compression": {"1": one}}}
    (full / "corruptions.json").write_text(json.dumps(content))
    page = page_at(write_report([full]))
    assert "ECE under corruption by method and kind, in percent" in page.text
    assert "no corruption jpeg compression mean under corruption full 12.5 12.5 12.5" in " ".join(
        page.text.split()
    )


def test_write_report__several_are_compared(full, lora, tmp_path):
    path = write_report([full, lora])
    assert path == full / "comparison.html"
    page = page_at(path)
    assert len(page.all("details")) == 2 + 2  # heat maps and details of each
    best = [cell for cell in page.all("td") if cell.get("class") == "best-cell"]
    assert len(best) == 5 + 2 + 8  # both means, and the same reliability twice
    for words in ("night by method", "not scored under the same corruptions", "comparison"):
        assert words.lower() in (page.text + path.read_text("utf-8")).lower(), words
    assert "**30.0**" in (full / "comparison.md").read_text(encoding="utf-8")
    elsewhere = write_report([full, lora], tmp_path / "new" / "page.html")
    assert elsewhere == tmp_path / "new" / "page.html"
    assert (tmp_path / "new" / "page.md").is_file()


def test_write_report__a_run_shows_what_was_measured_of_it(run_folder, tmp_path):
    tree = yaml.safe_load((run_folder / "recipe.yaml").read_text(encoding="utf-8"))
    of_run = {"recipe_id": recipe_id(tree), "seed": 7, "step": 160, "source": 0.5}
    write_targets(run_folder / "scores", {"night": 0.2}, **of_run)
    write_targets(run_folder / "foreign", {"night": 0.9})
    outside = write_targets(tmp_path / "outside", {"rain": 0.4}, **of_run)
    path = write_report([run_folder, outside])
    assert path == run_folder / "report.html"
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert "Domains × methods" in page.text
    assert "rain: 40.0 %" in html
    markdown = (run_folder / "report.md").read_text(encoding="utf-8")
    assert "| source | night | rain |" in markdown
    assert "| 50.0 | 20.0 | 40.0 |" in markdown
    assert "| 90.0 |" not in markdown


def test_write_report__runs_are_compared_by_their_own_validation(run_folder, tmp_path):
    names = json.loads((run_folder / "validation.json").read_text(encoding="utf-8"))["class_names"]
    other = write_targets(tmp_path / "other", {"night": 0.2}, classes=names)
    page = page_at(write_report([run_folder, other], tmp_path / "both.html"))
    assert "1.23 M" in page.text  # trainable parameters, of result.json
    assert "Mean, worst and gap are over no target" in page.text


def test_write_report__a_validation_without_targets(tmp_path):
    folder = write_targets(tmp_path / "scores", {"night": 0.2}) / "night"
    row = {"val/miou": 0.2, "data": "acdc", "split": "val_night", "images": 4, "model": model()}
    (folder / "result.json").write_text(json.dumps(row), encoding="utf-8")
    assert "acdc val_night" in page_at(write_report([folder])).text


def test_write_report__nothing_to_score_and_a_lost_picture(tmp_path):
    folder = write_targets(tmp_path / "scores", {"night": None, "rain": 0.4})
    (folder / "rain" / "predictions" / "worst" / "00.jpg").unlink()
    page = page_at(write_report([folder]))
    assert "not measured" in (folder / "report.html").read_text(encoding="utf-8")
    assert "Pictures that validation.json names are not there" in page.text


def damaged(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("targets.json", "{", "targets.json' cannot be read: it is not JSON"),
        ("targets.json", "[]", "targets.json' cannot be read: it holds a list"),
        ("targets.json", '{"targets": {}}', "does not say which model it is of"),
        ("targets.json", json.dumps({"model": {"task": "semantic"}}), "its model lacks 'checkpoint'"),
        ("targets.json", json.dumps({"model": model(task="depth")}), "its task is 'depth', which is none of"),
        ("targets.json", json.dumps({"model": model(), "targets": [1]}), "its targets are no object"),
        ("targets.json", json.dumps({"model": model(), "targets": {"a": {}}}), "a target lacks 'val/miou'"),
        (
            "targets.json",
            json.dumps(
                {
                    "model": model(),
                    "targets": {"a": {"val/miou": "x", "data": "d", "split": "val", "images": 1}},
                }
            ),
            "a target's val/miou is 'x', which is no number",
        ),
        ("corruptions.json", json.dumps({"model": model(), "corruptions": 1}), "it is not of the form"),
        (
            "corruptions.json",
            json.dumps(
                {
                    "model": model(),
                    "corruptions": {"fog": {"1": "x"}},
                    "clean": 0.5,
                    "data": "d",
                    "split": "val",
                    "images": 1,
                }
            ),
            "'x' is no number",
        ),
        ("corruptions.json", json.dumps({"model": model(step=7)}), "which are not one model"),
    ],
)
def test_write_report__damaged_files(full, name, text, message):
    damaged(full, name, text)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        write_report([full])


def test_write_report__folders_that_cannot_be_reported(full, tmp_path, run_folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"is no run folder: recipe\.yaml is missing"):
        write_report([full, tmp_path / "empty"])
    with pytest.raises(CheckpointError, match="There is no run folder"):
        write_report([tmp_path / "nowhere"])
    with pytest.raises(CheckpointError, match="is named twice"):
        write_report([full, full / ".." / "full"])
    with pytest.raises(
        RecipeError, match=r"--out page.md names no HTML file. Name one, such as page.md/report.html"
    ):
        write_report([full], "page.md")
    (run_folder / "result.json").unlink()
    with pytest.raises(CheckpointError, match=r"result\.json is not there yet"):
        write_report([run_folder, full])


def test_write_report__no_target_at_all(tmp_path):
    page = page_at(write_report([write_targets(tmp_path / "scores", {})]))
    assert "mIoU of 1 method on 0 targets" in page.text


def test_write_report__of_a_target_of_that_name_and_of_seeds(tmp_path):
    folders = [write_targets(tmp_path / f"s{seed}", {"-mean": 0.1 * seed}, seed=seed) for seed in (1, 2)]
    folders.append(write_targets(tmp_path / "lora", {"-mean": 0.5}, **LORA))
    page = page_at(write_report(folders))
    assert "full full × linear × dinov2-s, 2 seeds (1, 2)" in page.text
    assert "15.0 ± 7.1" in page.text
    assert "-mean by method" in page.text
