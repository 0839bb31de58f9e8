import json
import re

import numpy as np
import pytest

from vfmseg.errors import CheckpointError
from vfmseg.report.run_folder import Finding, read_run
from vfmseg.report.validation import ObjectCounts, SegmentCounts


def refused(folder, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        read_run(folder)


def test_read_run__everything(run_folder):
    run = read_run(run_folder)
    assert run.setting("encoder.name") == "dinov2-s"
    assert run.setting("encoder.nothing") is None
    assert run.setting("task.nothing") is None
    assert run.found("best_step") == 160
    assert run.environment is not None
    assert run.history is not None
    assert run.history.last_step == 200
    assert run.history.last_time_s == 101.0
    assert run.history.last("memory_gib") == 3.5
    assert run.history.last("nothing") is None
    assert len(run.history.columns["train/loss"]) == 100
    assert run.history.columns["val/miou"][0] == (20, pytest.approx(0.04))
    assert list(run.history.columns)[:2] == ["train/loss", "train/loss_extra"]
    assert run.validation is not None
    assert run.validation.counts.confusion.sum() == 1800
    assert [image.score for image in run.validation.images] == sorted(i.score for i in run.validation.images)
    assert run.validation.images[0].details == {"pixel_accuracy": 0.3}
    assert run.measure.key == "miou"
    assert run.validation.unscored == ("val/empty.png",)
    assert [step for step, _ in run.overlays["00"]] == list(range(20, 201, 20))
    assert [one.items for one in run.noted] == [("a.jpg: cut", "b")]


def test_read_run__only_a_recipe(tmp_path):
    (tmp_path / "recipe.yaml").write_text("task: semantic\n", encoding="utf-8")
    run = read_run(tmp_path)
    assert run.history is run.result is run.validation is run.environment is None
    assert run.overlays == {}
    assert run.found("steps") is None


def test_read_run__no_folder(tmp_path):
    refused(
        tmp_path / "nowhere",
        f"There is no run folder '{tmp_path / 'nowhere'}'. Give the folder that `vfmseg fit` wrote: "
        "`vfmseg report runs/NAME`, or what `vfmseg validate --out` wrote.",
    )


def test_read_run__folder_that_is_no_run(tmp_path):
    refused(
        tmp_path,
        f"'{tmp_path}' is no run folder: recipe.yaml is missing, which `vfmseg "
        "fit` writes first. Give the folder "
        "that `vfmseg fit` wrote (it holds recipe.yaml, metrics.csv and "
        "checkpoints/): `vfmseg report runs/NAME`, or what `vfmseg validate --out` wrote.",
    )


def test_read_run__folder_of_runs_names_one(run_folder):
    refused(run_folder.parent, f"There are runs inside it: type `vfmseg report {run_folder}`.")


def test_read_run__recipe_that_is_no_mapping(tmp_path):
    (tmp_path / "recipe.yaml").write_text("- a\n", encoding="utf-8")
    refused(tmp_path, "recipe.yaml' cannot be read: it holds a list, not a mapping. Restore it.")


def test_read_run__recipe_that_is_no_yaml(tmp_path):
    (tmp_path / "recipe.yaml").write_text("a: [", encoding="utf-8")
    refused(tmp_path, "recipe.yaml' cannot be read: it is not YAML (")


def test_read_run__broken_json(run_folder):
    (run_folder / "result.json").write_text('{"val/miou": 0.', encoding="utf-8")
    refused(run_folder, "result.json' cannot be read: it is not JSON (")
    (run_folder / "result.json").write_text("[]", encoding="utf-8")
    refused(
        run_folder,
        "result.json' cannot be read: it holds a list, not an object. Restore "
        "it, or remove it to get a report "
        "without it.",
    )


def test_read_run__history_without_steps(run_folder):
    (run_folder / "metrics.csv").write_text("loss\n1\n", encoding="utf-8")
    refused(run_folder, "metrics.csv' cannot be read: its first line names no column 'step'")
    (run_folder / "metrics.csv").write_text("step,loss\n1,2\n,3\n", encoding="utf-8")
    refused(run_folder, "line 3 has no step")


def test_read_run__history_with_words(run_folder):
    (run_folder / "metrics.csv").write_text("step,loss\n1,2\n2,high\n", encoding="utf-8")
    refused(run_folder, "line 3, column 'loss' holds 'high', which is no number")


def test_read_run__history_with_too_many_cells(run_folder):
    (run_folder / "metrics.csv").write_text("step,loss\n1,2,3\n", encoding="utf-8")
    refused(run_folder, "line 2 has more cells than the first line has columns")


def test_read_run__history_row_that_is_being_written(run_folder):
    (run_folder / "metrics.csv").write_text("step,time_s,loss\n1,1,2\n2,2", encoding="utf-8")
    history = read_run(run_folder).history
    assert history is not None
    assert history.last_step == 2
    assert history.columns["loss"] == ((1, 2),)


def test_read_run__values_that_are_not_finite_are_counted(run_folder):
    (run_folder / "metrics.csv").write_text("step,loss\n1,2\n2,nan\n3,inf\n", encoding="utf-8")
    history = read_run(run_folder).history
    assert history is not None
    assert history.columns == {"loss": ((1, 2),)}
    assert history.not_finite == {"loss": (2, 2)}


def changed_validation(run_folder, **changes):
    content = json.loads((run_folder / "validation.json").read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    (run_folder / "validation.json").write_text(json.dumps(kept), encoding="utf-8")


def test_read_run__validation_lacks_something(run_folder):
    changed_validation(run_folder, colours=None, images=None)
    refused(run_folder, "validation.json' cannot be read: it lacks 'colours', 'images'.")


def test_read_run__validation_that_does_not_fit_its_classes(run_folder):
    changed_validation(run_folder, confusion=[[1, 2], [3, 4]])
    refused(run_folder, "it names 5 classes, but its confusion has the shape (2, 2)")


def test_read_run__validation_with_colours_for_other_classes(run_folder):
    changed_validation(run_folder, colours=[[1, 2, 3]])
    refused(run_folder, "it names 5 classes, but has 1 colours")


def test_read_run__task_that_does_not_exist(run_folder):
    changed_validation(run_folder, task="depth")
    refused(
        run_folder,
        "validation.json' cannot be read: its task is 'depth', which is none of semantic, panoptic, instance. "
        "Restore it, or remove it to get a report without it.",
    )
    (run_folder / "recipe.yaml").write_text("task: [semantic]\n", encoding="utf-8")
    refused(
        run_folder,
        "recipe.yaml' cannot be read: its task is ['semantic'], which is none of semantic, panoptic, instance. "
        "Restore it.",
    )


def test_read_run__task_is_what_was_validated_or_else_the_recipe_s(panoptic_folder):
    assert (read_run(panoptic_folder).task, read_run(panoptic_folder).measure.key) == ("panoptic", "pq")
    (panoptic_folder / "validation.json").unlink()
    assert read_run(panoptic_folder).task == "panoptic"
    (panoptic_folder / "recipe.yaml").write_text("seed: 1\n", encoding="utf-8")
    assert read_run(panoptic_folder).task == "semantic"


def test_read_run__panoptic_counts(panoptic_folder):
    validation = read_run(panoptic_folder).validation
    assert isinstance(validation.counts, SegmentCounts)
    assert validation.counts.counts.shape == (4, 5)
    assert validation.counts.is_thing == (False, False, True, True, True)
    assert validation.images[0].details == {"sq": 0.75, "rq": 0.75}
    assert validation.images[0].picture == "predictions/worst/00.jpg"


def test_read_run__average_precision(instance_folder):
    validation = read_run(instance_folder).validation
    assert isinstance(validation.counts, ObjectCounts)
    assert validation.counts.ap.shape == (5, 10)
    assert np.isnan(validation.counts.ap[4]).all()
    assert validation.counts.num_objects.tolist() == [10, 1200, 3, 4, 0]


@pytest.mark.parametrize(
    ("folder", "changes", "message"),
    [
        ("panoptic_folder", {"panoptic_counts": None}, "it lacks 'panoptic_counts'."),
        (
            "panoptic_folder",
            {"panoptic_counts": [[1, 2]] * 4},
            "it names 5 classes, but its panoptic_counts has the shape (4, 2).",
        ),
        (
            "panoptic_folder",
            {"is_thing": [True]},
            "it names 5 classes, but its is_thing has the shape (1,).",
        ),
        ("instance_folder", {"num_objects": None}, "it lacks 'num_objects'."),
        (
            "instance_folder",
            {"ap_by_threshold": [[0.5]] * 5},
            "it names 5 classes, but its ap_by_threshold has the shape (5, 1).",
        ),
    ],
)
def test_read_run__counts_that_do_not_fit_the_classes(folder, changes, message, request):
    path = request.getfixturevalue(folder)
    changed_validation(path, **changes)
    refused(path, f"validation.json' cannot be read: {message}")


def test_read_run__findings_of_the_run_itself(run_folder):
    path = run_folder / "findings.json"
    path.write_text(json.dumps([{"level": "warning", "text": "2 images skipped", "items": ["a", "b"]}]))
    assert read_run(run_folder).noted == (Finding("warning", "2 images skipped", ("a", "b")),)
    path.write_text(json.dumps([{"level": "loud", "text": "?"}]))
    refused(
        run_folder,
        'it is not of the form [{"level": "warning", "text": "...", "items": '
        '["..."]}] with the levels problem, '
        "warning, note",
    )


def test_read_run__findings_that_are_no_objects(run_folder):
    (run_folder / "findings.json").write_text('["2 images skipped"]', encoding="utf-8")
    refused(run_folder, "it is not of the form [{")


@pytest.mark.parametrize("content", [b"seed: \xff", b"path: 2026-13-01"])
def test_read_run__recipe_that_cannot_be_read(run_folder, content):
    (run_folder / "recipe.yaml").write_bytes(content)
    refused(run_folder, "recipe.yaml' cannot be read: it is not YAML (")


def test_read_run__history_that_is_no_text(run_folder):
    (run_folder / "metrics.csv").write_bytes(b"step,loss\n1,\xff\n")
    refused(run_folder, "metrics.csv' cannot be read: it is not CSV (")


@pytest.mark.parametrize("changes", [{"images": [{"name": "a"}]}, {"colours": [[1, 2]] * 5}, {"images": 3}])
def test_read_run__validation_of_another_form(run_folder, changes):
    changed_validation(run_folder, **changes)
    refused(run_folder, "validation.json' cannot be read: it is not of the form that `vfmseg fit` writes (")


def test_read_run__folder_of_runs_with_spaces_in_its_name(run_folder):
    run_folder.rename(run_folder.with_name("my run"))
    refused(run_folder.parent, f"type `vfmseg report '{run_folder.with_name('my run')}'`.")
