"""What the pages of panoptic and instance runs say; how pages are built is in test_report_pages."""

import html
import json
import re

import pytest

from vfmseg.report.pages import write_run_report


def told(folder):
    """Return the words of the page."""
    page = write_run_report(folder).read_text(encoding="utf-8")
    words = html.unescape(re.sub(r"<[^>]+>", " ", page[page.index("<body>") :]))
    return re.sub(r"\s+", " ", words).replace(" .", ".")


def test_write_run_report__panoptic_page_tells_the_run(panoptic_folder):
    text = told(panoptic_folder)
    for words in (
        "panoptic segmentation run",
        "dinov2-s × full × eomt on scenes",
        "PQ at step 200 43.0 %",
        "Best: 50.0 % at step 160",
        "PQ of things 28.1 %",
        "Segmentation quality (SQ) 61.3 %",
        "Best class 80.0 % road",
        "The PQ was highest at step 160",
        "Probability of attention masks",
        "Validation at step 200, 19 true segments, sorted by PQ.",
        "Class PQ SQ RQ TP FP FN Things tree 56.2 75.0 75.0 6 2 2 pole 0.0 0.0 0.0 0 3 4 never seen – – – 0 0 0 "
        "Stuff road 80.0 80.0 100.0 4 0 0 <b>sky & sea</b> 36.0 90.0 40.0 1 1 2 "
        "Mean 43.1 61.3 53.8 Mean of things 28.1 37.5 37.5 Mean of stuff 58.0 85.0 70.0",
        "val/00.png PQ 20.0 %, SQ 75.0 %, RQ 75.0 %",
        "the tables are in classes.csv and report.md beside this page",
    ):
        assert words in text, words
    for words in ("onfusion", "mIoU", "everywhere would score", "attention masks that training still had"):
        assert words not in text, words


def test_write_run_report__instance_page_tells_the_run(instance_folder):
    text = told(instance_folder)
    for words in (
        "instance segmentation run",
        "Mask AP at step 200 43.0 %",
        "AP50 35.0 % AP75 17.5 % Objects 1,217 Classes found 3 of 4 Best class 70.0 % road Worst class 0.0 % pole",
        "The mask AP was highest at step 160",
        "AP by size of object",
        "Class AP AP50 AP75 Objects road 70.0 80.0 60.0 10 <b>sky & sea</b> 10.0 10.0 10.0 1,200 "
        "tree 5.0 50.0 0.0 3 pole 0.0 0.0 0.0 4 never seen – – – 0 Mean 21.2 35.0 17.5",
        "val/00.png Mask AP 20.0 %, AP50 75.0 %",
    ):
        assert words in text, words
    assert "onfusion" not in text
    assert "<title>dinov2-s × full × eomt on scenes, mask AP 43.0\u00a0%</title>" in (
        instance_folder / "report.html"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["panoptic_folder", "instance_folder"])
def test_write_run_report__no_confusion_no_table_of_it(folder, request):
    folder = request.getfixturevalue(folder)
    write_run_report(folder)
    assert (folder / "classes.csv").read_text(encoding="utf-8").count("\n") == 6
    assert not (folder / "confusion.csv").exists()
    assert "| **Mean** | " in (folder / "report.md").read_text(encoding="utf-8")


def test_write_run_report__score_with_attention_masks_beside_the_one_without(panoptic_folder):
    (panoptic_folder / "result.json").unlink()
    (panoptic_folder / "metrics.csv").write_text(
        "step,val/pq,val_masked/pq\n80,0.25,0.375\n", encoding="utf-8"
    )
    assert "With the attention masks that training still had: 37.5 %." in told(panoptic_folder)


def test_write_run_report__panoptic_run_that_has_only_begun(tmp_path):
    (tmp_path / "recipe.yaml").write_text("task: panoptic\n", encoding="utf-8")
    text = told(tmp_path)
    assert "panoptic segmentation run" in text
    assert "PQ not yet No validation has finished." in text
    assert "Confusion" not in text


@pytest.mark.parametrize(
    ("zeros", "words"),
    [
        (1, "half score above 50.0 % and one in ten below 25.0 %."),
        (4, "half score above 50.0 % and 4 score 0."),
        (9, "Of 12 images, 9 score 0."),
    ],
)
def test_write_run_report__images_that_score_nothing_are_counted(panoptic_folder, zeros, words):
    path = panoptic_folder / "validation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for image in content["images"][:zeros]:
        image["score"] = 0.0
    path.write_text(json.dumps(content), encoding="utf-8")
    assert words in told(panoptic_folder)
