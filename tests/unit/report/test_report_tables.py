import csv

import numpy as np
import pytest

from vfmseg.report.evaluation import evaluate
from vfmseg.report.tables import (
    markdown_classes,
    markdown_table,
    top_confusions,
    write_classes_csv,
    write_confusion_csv,
)
from vfmseg.report.validation import ObjectCounts, PixelCounts, SegmentCounts, ValidationRecord

NAMES = ("road", "sky", "tree", "none")
CONFUSION = np.array([[60, 0, 20, 0], [5, 10, 5, 0], [0, 0, 100, 0], [0, 0, 0, 0]])
COLOURS = [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)]


def table(task="semantic", counts=None):
    counts = counts or PixelCounts(CONFUSION)
    return evaluate(ValidationRecord(None, task, NAMES, COLOURS, counts, (), ())).table


def panoptic_table(is_thing=(False, True, True, False)):
    counts = np.array([[1.5, 0.8, 9.0, 0.0], [2, 1, 1200, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    counts[0, 2] = 0.9 * 1200
    return table("panoptic", SegmentCounts(counts, is_thing))


def instance_table():
    ap = np.array([[0.4] * 10, [0.5] + [0.0] * 9, [0.8] * 6 + [0.3] * 4, [np.nan] * 10])
    return table("instance", ObjectCounts(ap, np.array([3, 1200, 5, 0])))


def test_class_table__best_first_and_absent_last():
    rows = table().rows
    assert [row.name for row in rows] == ["tree", "road", "sky", "none"]
    assert [row.colour for row in rows] == [(3, 3, 3), (1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert rows[0].score == rows[0].values[0] == pytest.approx(100 / 125)
    assert rows[0].values[4:] == (0.5, 100)
    assert rows[-1].values == (None, None, None, None, 0, 0)


def test_class_table__things_and_stuff_stand_apart():
    found = panoptic_table()
    assert [(g.kind, g.title, [row.name for row in g.rows]) for g in found.groups] == [
        ("thing", "Things", ["tree", "sky"]),
        ("stuff", "Stuff", ["road", "none"]),
    ]
    assert [row.name for row in found.scored] == ["tree", "sky", "road"]
    assert found.groups[1].rows[0].values == pytest.approx((0.5, 0.75, 2 / 3, 2, 1, 1))
    assert found.groups[1].rows[1].values == (None, None, None, 0, 0, 0)
    assert [name for name, _ in found.means] == ["Mean", "Mean of things", "Mean of stuff"]
    assert found.means[0][1][:3] == pytest.approx(
        ((0.5 + 0.8 + 0.9) / 3, (0.75 + 0.8 + 0.9) / 3, (2 + 2 / 3) / 3)
    )
    assert found.means[1][1] == pytest.approx((0.85, 0.85, 1.0, None, None, None))


def test_class_table__without_things_there_is_no_group_of_them():
    found = panoptic_table((False,) * 4)
    assert [group.kind for group in found.groups] == ["stuff"]
    assert [name for name, _ in found.means] == ["Mean", "Mean of stuff"]


def test_class_table__average_precision():
    found = instance_table()
    assert [(row.name, row.values) for row in found.rows] == [
        ("tree", pytest.approx((0.6, 0.8, 0.8, 5))),
        ("road", pytest.approx((0.4, 0.4, 0.4, 3))),
        ("sky", pytest.approx((0.05, 0.5, 0.0, 1200))),
        ("none", (None, None, None, 0)),
    ]
    ((name, means),) = found.means
    assert name == "Mean"
    assert means == pytest.approx((0.35, 1.7 / 3, 0.4, None))


def test_top_confusions__by_pixels_without_what_never_happened():
    found = top_confusions(CONFUSION, NAMES)
    assert [(one.truth, one.predicted) for one in found] == [
        ("road", "tree"),
        ("sky", "road"),
        ("sky", "tree"),
    ]
    assert found[0].share_of_truth == 20 / 80
    assert found[0].share_of_errors == 20 / 30
    assert len(top_confusions(CONFUSION, NAMES, 1)) == 1
    assert top_confusions(np.diag([3, 4]), ["a", "b"]) == []


def test_write_classes_csv__shares_in_files_and_empty_for_undefined(tmp_path):
    write_classes_csv(tmp_path / "classes.csv", table())
    with (tmp_path / "classes.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [row["class"] for row in read] == ["tree", "road", "sky", "none"]
    assert float(read[0]["iou"]) == pytest.approx(0.8)
    assert read[3]["iou"] == read[3]["precision"] == ""
    assert read[3]["pixels"] == "0"


def test_write_classes_csv__things_and_stuff_are_named(tmp_path):
    write_classes_csv(tmp_path / "classes.csv", panoptic_table())
    assert (tmp_path / "classes.csv").read_text(encoding="utf-8").splitlines() == [
        "class,kind,pq,sq,rq,true_positives,false_positives,false_negatives",
        "tree,thing,0.900000,0.900000,1.000000,1200,0,0",
        "sky,thing,0.800000,0.800000,1.000000,1,0,0",
        "road,stuff,0.500000,0.750000,0.666667,2,1,1",
        "none,stuff,,,,0,0,0",
    ]


def test_write_classes_csv__average_precision(tmp_path):
    write_classes_csv(tmp_path / "classes.csv", instance_table())
    lines = (tmp_path / "classes.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "class,ap,ap50,ap75,objects"
    assert lines[3:] == ["sky,0.050000,0.500000,0.000000,1200", "none,,,,0"]


def test_write_confusion_csv__pixels(tmp_path):
    write_confusion_csv(tmp_path / "confusion.csv", CONFUSION, NAMES)
    with (tmp_path / "confusion.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.reader(file))
    assert read[0] == ["ground truth \\ predicted", *NAMES]
    assert read[1] == ["road", "60", "0", "20", "0"]


def test_markdown_table__cells_cannot_break_it():
    written = markdown_table(["a", "b"], [["x|y", "line\nbreak"]], numeric=True)
    assert written == "| a | b |\n| :--- | ---: |\n| x\\|y | line break |\n"


def test_markdown_classes__percent():
    lines = markdown_classes(table()).splitlines()
    assert lines[2].startswith("| tree | 80.0\u00a0% |")
    assert lines[5] == "| none | – | – | – | – | 0.0\u00a0% |"
    assert lines[6].startswith("| **Mean** | ")


def test_markdown_classes__things_stuff_and_their_means():
    assert markdown_classes(panoptic_table()).replace("\u00a0", " ") == (
        "| class | PQ | SQ | RQ | TP | FP | FN |\n"
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| tree (thing) | 90.0 % | 90.0 % | 100.0 % | 1,200 | 0 | 0 |\n"
        "| sky (thing) | 80.0 % | 80.0 % | 100.0 % | 1 | 0 | 0 |\n"
        "| road (stuff) | 50.0 % | 75.0 % | 66.7 % | 2 | 1 | 1 |\n"
        "| none (stuff) | – | – | – | 0 | 0 | 0 |\n"
        "| **Mean** | 73.3 % | 81.7 % | 88.9 % |  |  |  |\n"
        "| **Mean of things** | 85.0 % | 85.0 % | 100.0 % |  |  |  |\n"
        "| **Mean of stuff** | 50.0 % | 75.0 % | 66.7 % |  |  |  |\n"
    )


def test_markdown_classes__average_precision():
    lines = markdown_classes(instance_table()).replace("\u00a0", " ").splitlines()
    assert lines[0] == "| class | AP | AP50 | AP75 | objects |"
    assert lines[4:] == [
        "| sky | 5.0 % | 50.0 % | 0.0 % | 1,200 |",
        "| none | – | – | – | 0 |",
        "| **Mean** | 35.0 % | 56.7 % | 40.0 % |  |",
    ]
