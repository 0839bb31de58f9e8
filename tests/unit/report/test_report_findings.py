import json

import numpy as np
import pytest
import yaml

from vfmseg.report.evaluation import evaluate
from vfmseg.report.findings import find
from vfmseg.report.run_folder import Finding, read_run


def found(folder, baseline=0.1):
    run = read_run(folder)
    return find(run, evaluate(run.validation) if run.validation else None, baseline)


def texts(folder, **kwargs):
    return {one.text: one.items for one in found(folder, **kwargs)}


def changed(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_find__ordinary_run(run_folder):
    assert found(run_folder) == [
        Finding("warning", "2 training files left out, as asked", ("a.jpg: cut", "b")),
        Finding("warning", "1 class never found (IoU 0)", ("pole",)),
        Finding(
            "note",
            "1 validation image without a labelled pixel, predicted but not scored",
            ("val/empty.png",),
        ),
        Finding(
            "note",
            "The mIoU was highest at step 160 (50.0\u00a0%) and fell to "
            "40.0\u00a0% by step 200; `checkpoints/best` "
            "holds the former.",
        ),
        Finding(
            "note",
            "1 class in neither ground truth nor prediction, left out of every mean",
            ("never seen",),
        ),
    ]


def test_find__what_the_run_noted_comes_with_its_level(run_folder):
    (run_folder / "findings.json").write_text(json.dumps([{"level": "problem", "text": "lost a disk"}]))
    assert found(run_folder)[0] == Finding("problem", "lost a disk")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("validation.json", "validation.json is missing: no validation has finished, so nothing is scored."),
        ("metrics.csv", "metrics.csv is missing, so there are no curves."),
        ("environment.json", "environment.json is missing, so versions, machine and command are unknown."),
    ],
)
def test_find__missing_files(run_folder, name, text):
    assert text not in texts(run_folder)
    (run_folder / name).unlink()
    assert text in texts(run_folder)


def test_find__unfinished_run_says_how_to_go_on(run_folder):
    (run_folder / "result.json").unlink()
    assert (
        "result.json is not there yet: the run is still training, or it was "
        "stopped. If it was stopped, go on with "
        f"`vfmseg fit --out {run_folder} --resume`."
    ) in texts(run_folder)


def test_find__lost_pictures_are_listed(run_folder):
    (run_folder / "predictions/worst/00.jpg").unlink()
    assert texts(run_folder)["1 picture that validation.json names not found"] == (
        "predictions/worst/00.jpg",
    )


def test_find__values_that_are_no_numbers(run_folder):
    (run_folder / "metrics.csv").write_text("step,train/loss\n1,2\n2000,nan\n2001,nan\n", encoding="utf-8")
    assert "train/loss was no number in 2 rows of metrics.csv, first at step 2,000" in texts(run_folder)


def test_find__slow_loading(run_folder):
    (run_folder / "metrics.csv").write_text("step,data_wait_share\n1,0.3\n2,0.5\n", encoding="utf-8")
    assert (
        "40\u00a0% of the training time went into waiting for data: raise "
        "`data.num_workers` (now 3), or put the data "
        "on a faster disk."
    ) in texts(run_folder)


def test_find__more_segments_than_queries(panoptic_folder):
    recipe = yaml.safe_load((panoptic_folder / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["decoder"] = {"name": "eomt", "num_queries": 5}
    (panoptic_folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    for counts, said in (((0, 0), False), ((0, 3), True)):
        rows = "".join(f"{step},{count}\n" for step, count in enumerate(counts))
        (panoptic_folder / "metrics.csv").write_text(
            f"step,train/unmatched_segments\n{rows}", encoding="utf-8"
        )
        text = (
            "1.5 segments a batch, on average, were learned by no query, as their images have more segments than the "
            "decoder has queries: raise `decoder.num_queries` (now 5)."
        )
        assert (text in texts(panoptic_folder)) == said


def test_find__no_better_than_one_class_everywhere(run_folder):
    confusion = np.zeros((5, 5), int)
    confusion[:, 0] = [10, 10, 10, 10, 0]
    changed(run_folder / "validation.json", confusion=confusion.tolist())
    first = found(run_folder, baseline=0.0625)[0]
    assert first.level == "problem"
    assert first.text == (
        "The mIoU (6.2\u00a0%) is not above that of predicting the most "
        "frequent class everywhere (6.2\u00a0%): "
        "nothing useful was learned. Check the labels with `vfmseg check-data`, and the learning rate."
    )


def test_find__panoptic_run(panoptic_folder):
    assert found(panoptic_folder, baseline=None)[1:] == [
        Finding("warning", "1 class never found (PQ 0)", ("pole",)),
        Finding(
            "note",
            "1 validation image without a segment, true or predicted, so not scored",
            ("val/empty.png",),
        ),
        Finding(
            "note",
            "The PQ was highest at step 160 (50.0\u00a0%) and fell to 43.0\u00a0% by step 200; `checkpoints/best` "
            "holds the former.",
        ),
        Finding(
            "note",
            "1 class in neither ground truth nor prediction, left out of every mean",
            ("never seen",),
        ),
    ]


def test_find__instance_run(instance_folder):
    assert found(instance_folder, baseline=None)[1:] == [
        Finding("warning", "1 class never found (AP 0)", ("pole",)),
        Finding(
            "note",
            "1 validation image without an object: what is wrongly found there counts, but they have no score of "
            "their own",
            ("val/empty.png",),
        ),
        Finding(
            "note",
            "The mask AP was highest at step 160 (50.0\u00a0%) and fell to 43.0\u00a0% by step 200; "
            "`checkpoints/best` holds the former.",
        ),
        Finding(
            "note", "1 class without an object in the ground truth, left out of every mean", ("never seen",)
        ),
    ]


def test_find__a_score_of_zero_is_a_problem(instance_folder):
    changed(instance_folder / "validation.json", ap_by_threshold=[[0.0] * 10] * 4 + [[None] * 10])
    assert found(instance_folder, baseline=None)[0] == Finding(
        "problem",
        "The mask AP is 0: nothing useful was learned. Check the labels with `vfmseg check-data`, and the learning "
        "rate.",
    )
