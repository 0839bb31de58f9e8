from vfmseg.report.curves import main_charts, other_charts
from vfmseg.report.run_folder import History, read_run


def history(run_folder):
    return read_run(run_folder).history


def test_main_charts__what_every_run_is_read_by(run_folder):
    charts = main_charts(history(run_folder), 0.05)
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
    assert [chart.title for chart in other_charts(history(run_folder))] == [
        "gradient_norm",
        "val/f1",
        "val/seconds",
    ]
    assert [chart.now for chart in other_charts(history(run_folder))][1:] == [
        "60\u00a0% at step 200",
        "3 at step 200",
    ]


def test_charts__every_column_is_shown_exactly_once(run_folder):
    logged = history(run_folder)
    drawn = "".join(chart.title + chart.svg for chart in [*main_charts(logged, None), *other_charts(logged)])
    for column in logged.columns:
        assert (f"{column}:" in drawn) == ("/iou/" not in column), column


def test_main_charts__many_losses_get_several_charts():
    columns = {f"train/loss_{place}": ((1.0, 0.5), (2.0, 0.4)) for place in range(7)}
    charts = main_charts(History(columns, {}, 2, None), None)
    assert [chart.title for chart in charts] == ["Loss", "Loss (2)"]


def test_charts__nothing_logged():
    empty = History({}, {}, 0, None)
    assert main_charts(empty, 0.1) == other_charts(empty) == []
