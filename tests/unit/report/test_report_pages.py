import json
import re
import subprocess
import sys

import pytest

from support.pages import LOADING, Page
from vfmseg.errors import CheckpointError, LabelError, ResourceError
from vfmseg.report.pages import write_run_report


def page_of(run_folder):
    return Page(write_run_report(run_folder).read_text(encoding="utf-8"))


FOLDERS = pytest.mark.parametrize("folder", ["run_folder", "panoptic_folder", "instance_folder"])


@FOLDERS
def test_write_run_report__page_needs_nothing_else(folder, request):
    run_folder = request.getfixturevalue(folder)
    path = write_run_report(run_folder)
    assert path == run_folder / "report.html"
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    for tag, attributes in page.elements:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith(("data:", "#")), (tag, attributes[name][:80])
    assert not page.all("script")
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert not re.search(r"url\(", html)


@FOLDERS
def test_write_run_report__page_is_accessible(folder, request):
    page = page_of(request.getfixturevalue(folder))
    assert len(page.all("img")) == 4 + 6
    for image in page.all("img"):
        assert "image, ground truth and prediction side by side" in image["alt"]
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link["href"].removeprefix("#") in ids
    for drawing in page.all("svg"):
        assert set(drawing["aria-labelledby"].split()) <= set(ids)
    assert all("scope" in header for header in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    assert next(tag for tag, _ in page.elements if tag in ("h1", "h2", "h3")) == "h1"
    assert any("width=device-width" in meta.get("content", "") for meta in page.all("meta"))


def test_write_run_report__page_tells_the_run(run_folder):
    text = page_of(run_folder).text
    for words in (
        "dinov2-s × full × linear on scenes",
        "finished",
        "mIoU at step 200",
        "Predicting “road” everywhere would score 11.1\u00a0% .",
        "Best: 50.0\u00a0% at step 160",
        "5.6\u00a0% of 22.1\u00a0M",
        "vfmseg fit -c some.yaml --seed 7",
        "2 training files left out, as asked",
        "a.jpg: cut",
        "val/empty.png",
        "Everything else that was logged (3)",
        "Validation at step 160, 1,800 labelled pixels",
        "6 of 10 validations, evenly spread",
        "Of 12 images, half score above 50.0\u00a0% and one in ten below 25.0\u00a0%.",
        "learning_rate: 0.0001",
    ):
        assert words.replace("\u00a0", " ").replace(" .", ".") in text.replace("\u00a0", " ").replace(
            " .", "."
        ), words


def test_write_run_report__names_cannot_break_the_page(run_folder):
    html = write_run_report(run_folder).read_text(encoding="utf-8")
    assert "<b>sky & sea</b>" not in html
    assert "&lt;b&gt;sky &amp; sea&lt;/b&gt;" in html


def test_write_run_report__tables_beside_the_page(run_folder):
    write_run_report(run_folder)
    assert (run_folder / "classes.csv").read_text(encoding="utf-8").count("\n") == 6
    assert (run_folder / "confusion.csv").read_text(encoding="utf-8").count("\n") == 6
    markdown = (run_folder / "report.md").read_text(encoding="utf-8")
    assert markdown.startswith("# dinov2-s × full × linear on scenes\n\n**mIoU 40.0\u00a0%** at step 200")
    assert "| Seed | 7 |" in markdown
    assert "- **warning**: 1 class never found (IoU 0): pole\n" in markdown
    assert "| never seen | – | – | – | – | 0.0\u00a0% |" in markdown
    assert "&" not in markdown.replace("sky & sea", "")


def test_write_run_report__run_that_has_only_begun(tmp_path):
    (tmp_path / "recipe.yaml").write_text("task: semantic\nencoder: {name: dinov2-s}\n", encoding="utf-8")
    text = page_of(tmp_path).text
    for words in (
        "unfinished: step 0",
        "No validation has finished",
        "Nothing has been logged yet",
        "No pictures have been drawn yet",
        "result.json is not there yet",
    ):
        assert words in text
    assert not (tmp_path / "classes.csv").exists()
    assert "No validation has finished yet. Run unfinished: step 0." in (tmp_path / "report.md").read_text(
        "utf-8"
    )


@pytest.mark.parametrize(
    "missing",
    ["environment.json", "metrics.csv", "result.json", "validation.json", "predictions/worst/00.jpg"],
)
def test_write_run_report__any_missing_piece_is_said(run_folder, missing):
    (run_folder / missing).unlink()
    assert missing in page_of(run_folder).text


def test_write_run_report__one_class_and_one_picture(run_folder):
    path = run_folder / "validation.json"
    image = {"name": "only", "score": 1.0, "pixel_accuracy": 1.0, "picture": "predictions/worst/00.jpg"}
    content = {
        "task": "semantic",
        "class_names": ["all"],
        "colours": [[1, 2, 3]],
        "confusion": [[5]],
        "images": [image],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    page = page_of(run_folder)
    assert "Commonest mistakes" not in page.text
    assert len(page.all("img")) == 1 + 6


def test_write_run_report__150_classes(run_folder):
    path = run_folder / "validation.json"
    names = [f"class {i}" for i in range(150)]
    confusion = [[(9 if i == j else 1) for j in range(150)] for i in range(150)]
    content = {
        "task": "semantic",
        "class_names": names,
        "colours": [[i, i, i] for i in range(150)],
        "confusion": confusion,
        "images": [],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    html = write_run_report(run_folder).read_text(encoding="utf-8")
    assert len(html) < 500_000
    assert all(f">{name}</th>" in html for name in names)


def test_write_run_report__again_gives_the_same_tables(run_folder):
    write_run_report(run_folder)
    first = [(run_folder / name).read_bytes() for name in ("classes.csv", "confusion.csv", "report.md")]
    write_run_report(run_folder)
    assert first == [
        (run_folder / name).read_bytes() for name in ("classes.csv", "confusion.csv", "report.md")
    ]


def test_write_run_report__folder_that_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match=re.escape("is no run folder: recipe.yaml is missing")):
        write_run_report(tmp_path)


def test_write_run_report__validation_that_counted_nothing(run_folder):
    path = run_folder / "validation.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"confusion": [[0] * 5] * 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(LabelError, match="No labelled pixel was counted"):
        write_run_report(run_folder)


def test_report__needs_no_torch():
    heavy = "[name for name in ('torch', 'cv2', 'lightning') if name in sys.modules]"
    code = f"import sys, vfmseg.report.pages; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["report.html", "report.md", "classes.csv", "confusion.csv"])
def test_write_run_report__what_cannot_be_written_is_said(run_folder, name):
    (run_folder / name).mkdir()
    with pytest.raises(ResourceError, match=re.escape(f"{run_folder / name} could not be written: ")):
        write_run_report(run_folder)
    assert not list(run_folder.glob("*.partial"))


def test_write_run_report__the_way_to_go_on_can_be_pasted(run_folder):
    (run_folder / "result.json").unlink()
    folder = run_folder.rename(run_folder.with_name("my run"))
    assert f"vfmseg fit --out '{folder}' --resume" in page_of(folder).text
