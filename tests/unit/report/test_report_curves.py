import re

import pytest

from vfmseg.report.curves import main_charts, other_charts
from vfmseg.report.measures import MEASURES
from vfmseg.report.run_folder import History, read_run

SEMANTIC = MEASURES["semantic"]


def history(run_folder):
    return read_run(run_folder).history


def test_main_charts__what_every_run_is_read_by(run_folder):
    charts = main_charts(history(run_folder), SEMANTIC, 0.05)
    assert [chart.title for chart in charts] == [
        "Loss",
        "mIoU",
        "Learning rate",
        "Images per second",
        "Waiting for data",
        "Peak memory (GiB)",
    ]
    miou = charts[1]
    assert miou.now == "40\u00a0% at step 200"
    for words in ("val/miou", "val/pixel_accuracy", "majority class 5\u00a0%", "best 50\u00a0%"):
        assert words in miou.svg


def test_other_charts__every_other_column_but_classes(run_folder):
    assert [chart.title for chart in other_charts(history(run_folder), SEMANTIC)] == [
        "gradient_norm",
        "val/f1",
        "val/seconds",
    ]
    assert [chart.now for chart in other_charts(history(run_folder), SEMANTIC)][1:] == [
        "60\u00a0% at step 200",
        "3 at step 200",
    ]


@pytest.mark.parametrize("folder", ["run_folder", "panoptic_folder", "instance_folder"])
def test_charts__every_column_is_shown_exactly_once(folder, request):
    run = read_run(request.getfixturevalue(folder))
    charts = [*main_charts(run.history, run.measure, None), *other_charts(run.history, run.measure)]
    drawn = "".join(chart.title + chart.svg for chart in charts)
    for column in run.history.columns:
        said = column.replace("mask_probability/", "block ")
        of_class = f"/{run.measure.class_key}/" in column
        assert len(re.findall(rf"[> ]{said}: [^:]* lowest", drawn)) == (0 if of_class else 1), column


def test_main_charts__panoptic(panoptic_folder):
    run = read_run(panoptic_folder)
    charts = main_charts(run.history, run.measure, None)
    assert [(chart.title, chart.now) for chart in charts] == [
        ("Loss", "0.01 at step 200"),
        ("PQ", "43\u00a0% at step 200"),
        ("PQ of things and stuff", "30\u00a0% / 30\u00a0% at step 200"),
        ("Segmentation and recognition quality", "30\u00a0% / 30\u00a0% at step 200"),
        ("Probability of attention masks", "0\u00a0% / 0\u00a0% at step 200"),
        ("Learning rate", "1e-4 at step 200"),
    ]
    assert "val_masked/pq: 20\u00a0% at step 80" in charts[1].svg
    assert "best 50\u00a0%" in charts[1].svg
    assert "block 1: 87.5\u00a0% at step 20, 0\u00a0% at step 200" in charts[4].svg


def test_main_charts__instance(instance_folder):
    run = read_run(instance_folder)
    charts = {chart.title: chart.svg for chart in main_charts(run.history, run.measure, None)}
    assert list(charts)[1:5] == [
        "Mask AP",
        "AP50 and AP75",
        "AP by size of object",
        "Probability of attention masks",
    ]
    assert all(name in charts["Mask AP"] for name in ("val/ap:", "val_masked/ap:", "best 50\u00a0%"))
    assert "val/ap_large:" in charts["AP by size of object"]


def test_other_charts__scores_with_and_without_attention_masks_stand_together(panoptic_folder):
    run = read_run(panoptic_folder)
    charts = {chart.title: chart.svg for chart in other_charts(run.history, run.measure)}
    assert "val_masked/sq_things: 40\u00a0% at step 80" in charts["val/sq_things"]
    assert "val_masked/sq_things" not in charts
    assert "40\u00a0%" in charts["val_masked/pq_things"]


def test_main_charts__class_that_is_called_like_the_headline():
    columns = {"val/pq": ((1.0, 0.5),), "val/pq/pq": ((1.0, 0.9),)}
    (chart,) = main_charts(History(columns, {}, 1, None), MEASURES["panoptic"], None)
    assert "pq/pq" not in chart.svg


def test_main_charts__many_losses_get_several_charts():
    columns = {f"train/loss_{place}": ((1.0, 0.5), (2.0, 0.4)) for place in range(7)}
    charts = main_charts(History(columns, {}, 2, None), SEMANTIC, None)
    assert [chart.title for chart in charts] == ["Loss", "Loss (2)"]


def test_charts__nothing_logged():
    empty = History({}, {}, 0, None)
    assert main_charts(empty, SEMANTIC, 0.1) == other_charts(empty, SEMANTIC) == []
