import csv

import numpy as np
import pytest

from vfmseg.metrics.scores import scores
from vfmseg.report.tables import (
    class_rows,
    markdown_classes,
    markdown_table,
    top_confusions,
    write_classes_csv,
    write_confusion_csv,
)

NAMES = ("road", "sky", "tree", "none")
CONFUSION = np.array([[60, 0, 20, 0], [5, 10, 5, 0], [0, 0, 100, 0], [0, 0, 0, 0]])
COLOURS = [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)]


def rows():
    return class_rows(scores(CONFUSION, NAMES), COLOURS)


def test_class_rows__best_first_and_absent_last():
    assert [row.name for row in rows()] == ["tree", "road", "sky", "none"]
    assert [row.colour for row in rows()] == [(3, 3, 3), (1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert rows()[0].iou == pytest.approx(100 / 125)
    assert rows()[0].share == 0.5
    assert rows()[0].pixels == 100
    assert rows()[-1].iou is rows()[-1].precision is rows()[-1].recall is rows()[-1].f1 is None


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
    write_classes_csv(tmp_path / "classes.csv", rows())
    with (tmp_path / "classes.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [row["class"] for row in read] == ["tree", "road", "sky", "none"]
    assert float(read[0]["iou"]) == pytest.approx(0.8)
    assert read[3]["iou"] == read[3]["precision"] == ""
    assert read[3]["pixels"] == "0"


def test_write_confusion_csv__pixels(tmp_path):
    write_confusion_csv(tmp_path / "confusion.csv", CONFUSION, NAMES)
    with (tmp_path / "confusion.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.reader(file))
    assert read[0] == ["ground truth \\ predicted", *NAMES]
    assert read[1] == ["road", "60", "0", "20", "0"]


def test_markdown_table__cells_cannot_break_it():
    table = markdown_table(["a", "b"], [["x|y", "line\nbreak"]], numeric=True)
    assert table == "| a | b |\n| :--- | ---: |\n| x\\|y | line break |\n"


def test_markdown_classes__percent():
    lines = markdown_classes(rows()).splitlines()
    assert lines[2].startswith("| tree | 80.0\u00a0% |")
    assert lines[5] == "| none | – | – | – | – | 0.0\u00a0% |"
