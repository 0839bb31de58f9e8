import json
import re

import numpy as np
import pytest

from vfmseg.errors import CheckpointError, LabelError
from vfmseg.metrics.average_precision_scores import average_precision_scores
from vfmseg.metrics.instance_matching import NUM_FLAGS, RECORD, SIZE_RANGES
from vfmseg.metrics.panoptic_scores import panoptic_scores
from vfmseg.report.evaluation import Baseline, Tile, evaluate
from vfmseg.report.run_folder import read_run


def evaluated(folder):
    return evaluate(read_run(folder).validation)


def tiles(folder):
    return {tile.name: (tile.value.replace("\u00a0", " "), tile.note) for tile in evaluated(folder).tiles}


def changed(folder, **changes):
    path = folder / "validation.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


def test_evaluate__semantic(run_folder):
    found = evaluated(run_folder)
    assert found.score == pytest.approx((700 / 930 + 480 / 550 + 300 / 540 + 0) / 4)
    assert found.counted == "1,800 labelled pixels, sorted by IoU. All values in percent."
    assert found.never_found == ("pole",)
    assert found.absent == ("never seen",)
    assert found.baseline == Baseline(pytest.approx(800 / 1800 / 4), "road")
    assert found.confusion is not None
    assert tiles(run_folder)["Best class"] == ("87.3 %", "<b>sky & sea</b>")
    assert tiles(run_folder)["Worst class"] == ("0.0 %", "pole")


def test_evaluate__classes_that_the_data_lacks_are_no_zeros(run_folder):
    confusion = evaluated(run_folder).confusion.copy()
    confusion[3] = 0
    confusion[0, 3] = 20  # pole is predicted, though the data has none
    changed(run_folder, confusion=confusion.tolist(), scored=["road", "tree", "<b>sky & sea</b>"])
    found = evaluated(run_folder)
    iou = {"road": 700 / 930, "<b>sky & sea</b>": 480 / 550, "tree": 300 / 460}
    assert {row.name: row.score for row in found.table.rows} == pytest.approx(iou)
    assert found.score == found.table.means[0][1][0] == pytest.approx(sum(iou.values()) / 3)
    assert {row.name: row.colour for row in found.table.rows}["tree"] == (0, 128, 0)
    assert found.never_found == found.absent == ()
    assert found.baseline == Baseline(pytest.approx(820 / 1720 / 3), "road")


def test_evaluate__a_scored_class_that_there_is_not(run_folder):
    with pytest.raises(CheckpointError, match=r"validation\.json.*not of the form"):
        evaluated(changed(run_folder, scored=["rood"]))


def test_evaluate__panoptic(panoptic_folder):
    found = evaluated(panoptic_folder)
    assert found.score == pytest.approx((3.2 / 4 + 0.9 / 2.5 + 4.5 / 8 + 0) / 4)
    assert found.counted == (
        "19 true segments, sorted by PQ. PQ, SQ and RQ in percent; segments found (TP), found where there are none "
        "(FP), and missed (FN)."
    )
    assert found.never_found == ("pole",)
    assert found.absent == ("never seen",)
    assert found.baseline is found.confusion is None
    assert tiles(panoptic_folder) == {
        "PQ of things": ("28.1 %", ""),
        "PQ of stuff": ("58.0 %", ""),
        "Segmentation quality (SQ)": ("61.3 %", ""),
        "Recognition quality (RQ)": ("53.8 %", ""),
        "Best class": ("80.0 %", "road"),
        "Worst class": ("0.0 %", "pole"),
    }


def test_evaluate__panoptic_without_stuff(panoptic_folder):
    changed(panoptic_folder, is_thing=[True] * 5)
    assert tiles(panoptic_folder)["PQ of stuff"] == ("–", "")


def test_evaluate__instance(instance_folder):
    found = evaluated(instance_folder)
    assert found.score == pytest.approx((0.7 + 0.1 + 0.05 + 0) / 4)
    assert found.counted == (
        "1,217 objects to find, sorted by AP. AP is the mean over IoU 0.50 to 0.95, AP50 and AP75 are taken at one "
        "IoU; all three in percent."
    )
    assert found.never_found == ("pole",)
    assert found.absent == ("never seen",)
    assert found.baseline is found.confusion is None
    assert found.tiles[2:4] == (Tile("Objects", "1,217"), Tile("Classes found", "3", "of 4"))
    assert tiles(instance_folder) == {
        "AP50": ("35.0 %", ""),
        "AP75": ("17.5 %", ""),
        "Objects": ("1,217", ""),
        "Classes found": ("3", "of 4"),
        "Best class": ("70.0 %", "road"),
        "Worst class": ("0.0 %", "pole"),
    }


@pytest.mark.parametrize("folder", ["run_folder", "panoptic_folder", "instance_folder"])
def test_evaluate__six_tiles_for_every_task(folder, request):
    assert len(evaluated(request.getfixturevalue(folder)).tiles) == 6


def test_evaluate__nothing_counted(instance_folder):
    changed(instance_folder, num_objects=[0] * 5)
    with pytest.raises(LabelError, match="No object was counted, so there is nothing to score"):
        evaluated(instance_folder)


def test_evaluate__no_segment_counted(panoptic_folder):
    changed(panoptic_folder, panoptic_counts=[[0] * 5] * 4)
    with pytest.raises(LabelError, match="No segment was counted, so there is nothing to score"):
        evaluated(panoptic_folder)


@pytest.mark.parametrize("folder", ["run_folder", "panoptic_folder", "instance_folder"])
def test_evaluate__two_classes_of_one_name(folder, request):
    path = changed(request.getfixturevalue(folder), class_names=["a", "a", "b", "c", "d"])
    with pytest.raises(LabelError, match=re.escape("Two classes are called 'a'")):
        evaluated(path)


def same_as(table, scores):
    """Assert that a table of the report holds the numbers of the metric that wrote the record."""
    expected, columns = scores.table(), len(scores.table().columns)
    rows = {row.name: [np.nan if v is None else v for v in row.values[:columns]] for row in table.rows}
    for name, numbers in expected.rows:
        np.testing.assert_allclose(rows[name], numbers)
    for (_, numbers), (_, wanted) in zip(table.means, expected.means, strict=True):
        np.testing.assert_allclose(np.array(numbers[:columns], float), wanted)


def test_evaluate__panoptic_numbers_are_those_of_the_metric(panoptic_folder):
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 9, (4, 5)).astype(float)
    counts[0] = 0.8 * counts[1]
    counts[:, 2] = 0
    scores = panoptic_scores(counts, ["a", "b", "c", "d", "e"], [True, False, True, False, True])
    found = evaluated(changed(panoptic_folder, class_names=list("abcde"), **scores.record()))
    same_as(found.table, scores)
    assert found.score == pytest.approx(scores.row()["val/pq"])
    assert found.absent == scores.absent_classes == ("c",)


def test_evaluate__average_precision_is_that_of_the_metric(instance_folder):
    rng = np.random.default_rng(3)
    records = np.zeros(200, RECORD)
    records["label"], records["score"] = rng.integers(0, 4, 200), rng.random(200)
    records["rank"] = rng.integers(0, 100, 200)
    records["matched"] = rng.integers(0, 2**NUM_FLAGS, 200, dtype=np.uint64)
    num_objects = np.full((5, len(SIZE_RANGES)), 150)
    num_objects[4] = 0
    scores = average_precision_scores(records, num_objects, list("abcde"))
    found = evaluated(changed(instance_folder, class_names=list("abcde"), **scores.record()))
    same_as(found.table, scores)
    assert found.score == pytest.approx(scores.row()["val/ap"])
    assert found.absent == scores.absent_classes == ("e",)
