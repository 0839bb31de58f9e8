import json

import pytest

from support.evaluations import model, reliability, write_corruptions, write_targets
from vfmseg.errors import CheckpointError
from vfmseg.report.comparison import compare, gather
from vfmseg.report.corruption_tables import corruption_tables
from vfmseg.report.evaluations import read_evaluation
from vfmseg.report.reliability_tables import corruption_reliability_tables, reliability_tables

LORA = {"tuning": "lora", "recipe_id": "bbb", "source": 0.6}


def compared(*folders):
    return compare(gather(read_evaluation(folder) for folder in folders))


def add(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_compare__mean_worst_gap_and_the_best(tmp_path):
    full = write_targets(tmp_path / "full", {"night": 0.2, "rain": 0.6})
    lora = write_targets(tmp_path / "lora", {"night": 0.3, "rain": 0.5}, **LORA)
    found = compared(full, lora)
    one, two = found.methods
    assert [one.name, two.name] == ["full", "lora"]
    assert (one.mean.mean, two.mean.mean) == pytest.approx((0.4, 0.4))
    assert (one.worst.mean, one.worst_target) == (0.2, "night")
    assert (one.gap.mean, two.gap.mean) == pytest.approx((0.3, 0.2))
    assert one.mean.deviation is None
    assert {name: set(best) for name, best in found.best.items() if name != "/mean"} == {
        "night": {1},
        "rain": {0},
        "/source": {0},
        "/worst": {1},
        "/gap": {1},
    }


def test_compare__one_model_has_no_best_column(tmp_path):
    found = compared(write_targets(tmp_path / "full", {"night": 0.2}))
    assert not any(found.best.values())


def test_compare__seeds_are_one_row(tmp_path):
    folders = [
        write_targets(tmp_path / f"s{seed}", {"night": night, "rain": 0.5}, seed=seed, source=0.6 + seed / 10)
        for seed, night in enumerate((0.1, 0.2, 0.3))
    ]
    (row,) = compared(*folders).methods
    assert row.seeds == [0, 1, 2]
    assert (row.scores["night"].mean, row.scores["night"].deviation) == pytest.approx((0.2, 0.1))
    assert (row.mean.mean, row.mean.deviation) == pytest.approx((0.35, 0.05))
    assert (row.gap.mean, row.gap.deviation) == pytest.approx((0.7 - 0.35, 0.05))


def test_compare__two_checkpoints_of_one_seed_are_two_rows(tmp_path):
    best = write_targets(tmp_path / "best", {"night": 0.2})
    last = write_targets(tmp_path / "last", {"night": 0.3}, step=200)
    assert [row.name for row in compared(best, last).methods] == ["full (best)", "full (last)"]


def test_compare__means_are_over_what_all_have(tmp_path):
    full = write_targets(tmp_path / "full", {"night": 0.2, "rain": 0.6, "snow": None})
    lora = write_targets(tmp_path / "lora", {"night": 0.3, "snow": 0.9}, **LORA)
    found = compared(full, lora)
    assert found.targets == ("night", "rain", "snow")
    assert found.common == ("night",)
    assert [row.mean.mean for row in found.methods] == [0.2, 0.3]
    assert [row.scores["rain"] and row.scores["rain"].mean for row in found.methods] == [0.6, None]


def test_compare__nothing_in_common(tmp_path):
    full = write_targets(tmp_path / "full", {"night": 0.2})
    lora = write_targets(tmp_path / "lora", {"rain": 0.3}, **LORA)
    assert [row.mean for row in compared(full, lora).methods] == [None, None]


def test_gather__one_model_in_two_folders(tmp_path):
    night = write_targets(tmp_path / "one", {"night": 0.2})
    fog = write_corruptions(tmp_path / "two", {"fog": {"1": 0.4}}, checkpoint="elsewhere/model.safetensors")
    (scored,) = gather([read_evaluation(night), read_evaluation(fog)])
    assert (list(scored.targets), list(scored.corruptions.scores)) == (["night"], ["fog"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "panoptic"}, "their tasks are semantic and panoptic"),
        (
            {"classes": ["road", "car"]},
            r"In the first only: <i>sky</i>, tree; in the second only: car\. Compare models of the same",
        ),
    ],
)
def test_gather__what_cannot_be_compared(tmp_path, changes, message):
    full = write_targets(tmp_path / "full", {"night": 0.2})
    other = write_corruptions(tmp_path / "other", {"fog": {"1": 0.4}}, **LORA | changes)
    with pytest.raises(CheckpointError, match=message):
        gather([read_evaluation(full), read_evaluation(other)])


def test_gather__targets_of_one_name_that_are_other_data(tmp_path):
    full = write_targets(tmp_path / "full", {"night": 0.2})
    lora = write_targets(tmp_path / "lora", {"night": 0.2}, **LORA)
    path = lora / "targets.json"
    path.write_text(path.read_text().replace('"images": 4', '"images": 5'))
    with pytest.raises(
        CheckpointError, match=r"target night is not the same data: 4 images of bdd100k \(val\), and 5"
    ):
        gather([read_evaluation(full), read_evaluation(lora)])


def test_gather__targets_scored_over_other_classes(tmp_path):
    full = write_targets(tmp_path / "full", {"night": 0.2})
    lora = write_targets(tmp_path / "lora", {"night": 0.2}, **LORA)
    path = lora / "targets.json"
    path.write_text(
        path.read_text().replace(
            '"images": 4', '"images": 4, "scored_classes": 2, "left_out_classes": "tree"'
        )
    )
    with pytest.raises(
        CheckpointError, match="scored over all classes in the first, and over 2 classes, without tree"
    ):
        gather([read_evaluation(full), read_evaluation(lora)])


def test_reliability_tables__the_best_of_each_target(tmp_path):
    full = write_targets(tmp_path / "full", {"night": 0.2, "rain": 0.3})
    lora = write_targets(tmp_path / "lora", {"night": 0.2, "rain": 0.3}, **LORA)
    (full / "rain" / "reliability.json").unlink()
    (lora / "rain" / "reliability.json").unlink()
    found = reliability() | {"ece": 0.1, "auroc": 0.7}
    (lora / "night" / "reliability.json").write_text(json.dumps(found))
    ece, auroc = reliability_tables(compared(full, lora))
    assert (ece.by, ece.columns) == ("target", ("night",))
    assert [(name, value.mean) for name, (value,) in ece.rows] == [("full", 0.2), ("lora", 0.1)]
    assert (ece.best, auroc.best) == ((frozenset({1}),), (frozenset({0}),))


def test_corruption_reliability_tables__the_mean_over_severities_that_all_have(tmp_path):
    def judged(clean, **by_kind):
        def record(ece):
            return {"confidence": "max_probability", "ece": ece, "auroc": None}

        kinds = {kind: {s: record(ece) for s, ece in one.items()} for kind, one in by_kind.items()}
        return {"clean": record(clean), "corruptions": kinds}

    scores = {"fog": {"1": 0.4, "2": 0.3}, "snow": {"3": 0.2}}
    full = write_corruptions(tmp_path / "full", scores)
    lora = write_corruptions(tmp_path / "lora", scores, **LORA)
    plain = write_corruptions(tmp_path / "plain", scores, tuning="vpt", recipe_id="ccc")
    add(full / "corruptions.json", reliability=judged(0.1, fog={"1": 0.2, "2": 0.4}, snow={"3": 0.6}))
    add(lora / "corruptions.json", reliability=judged(0.2, fog={"2": 0.1}, snow={"3": 0.3}))
    (ece,) = corruption_reliability_tables(compared(full, lora, plain).methods)
    assert (ece.title, ece.by) == ("ECE under corruption", "kind")
    assert ece.columns == ("no corruption", "fog", "snow", "mean under corruption")
    found = {name: [value.mean for value in values] for name, values in ece.rows}
    assert list(found) == ["full", "lora"]
    assert found["full"] == pytest.approx([0.1, 0.4, 0.6, 0.5])
    assert found["lora"] == pytest.approx([0.2, 0.1, 0.3, 0.2])
    assert ece.best == (frozenset({0}), frozenset({1}), frozenset({1}), frozenset({1}))
    assert corruption_reliability_tables(compared(plain).methods) == ()
    add(full / "corruptions.json", reliability={"clean": {}})
    with pytest.raises(CheckpointError, match=r"corruptions\.json.*not of the form"):
        read_evaluation(full)


def test_gather__halved_labels_are_other_data(tmp_path):
    one, two = (write_targets(tmp_path / name, {"night": 0.2}, recipe_id=name) for name in ("one", "two"))
    rows = json.loads((two / "targets.json").read_text())["targets"]
    add(two / "targets.json", targets={"night": rows["night"] | {"test_halved": True}})
    with pytest.raises(
        CheckpointError, match=r"4 images of bdd100k \(val\), and 4 of bdd100k, halved \(val\)"
    ):
        gather([read_evaluation(one), read_evaluation(two)])


def test_read_evaluation__what_was_scored_alone_stands_beside_what_was_not(tmp_path):
    folder = write_corruptions(tmp_path / "scores", {"fog": {"1": 0.4}})
    row = {"val/miou": 0.2, "data": "acdc", "split": "val_night", "images": 4, "model": model()}
    (folder / "result.json").write_text(json.dumps(row))
    assert {name: one.score for name, one in read_evaluation(folder).targets.items()} == {
        "acdc val_night": 0.2
    }
    write_targets(folder, {"rain": 0.3})
    assert list(read_evaluation(folder).targets) == ["rain", "acdc val_night"]
    (folder / "result.json").write_text(json.dumps(row | {"data": "rain", "split": "val"}))
    with pytest.raises(CheckpointError, match=r"holds result\.json of rain, and a target of that name"):
        read_evaluation(folder)
    (folder / "result.json").write_text(json.dumps(row | {"model": model(step=7)}))
    with pytest.raises(
        CheckpointError, match=r"holds targets\.json of .* and result\.json of .* not one model"
    ):
        read_evaluation(folder)


def test_gather__one_target_of_one_model_twice(tmp_path):
    one, two = (write_targets(tmp_path / name, {"night": 0.2}) for name in ("one", "two"))
    with pytest.raises(CheckpointError, match=r"hold night of one model .* Give one of them"):
        gather([read_evaluation(one), read_evaluation(two)])


def test_corruption_tables__over_what_all_were_scored_under(tmp_path):
    full = write_corruptions(tmp_path / "full", {"snow": {"1": 0.4, "2": 0.6}, "fog": {"3": 0.2}})
    lora = write_corruptions(tmp_path / "lora", {"snow": {"2": 0.4}, "fog": {"3": 0.6, "4": None}}, **LORA)
    tables = corruption_tables(compared(full, lora).methods)
    assert tables.methods == ("full", "lora")
    assert tables.is_partial
    assert [line.name for line in tables.kinds] == ["fog", "snow"]
    assert [cell.score.mean for cell in tables.kinds[1].cells] == [0.6, 0.4]
    assert [one.mean for one in tables.mean] == pytest.approx([0.4, 0.5])
    assert [one.mean for one in tables.relative] == pytest.approx([0.5, 0.625])
    heat = tables.heat[0]
    assert heat.severities == (1, 2, 3)
    assert heat.mean.mean == pytest.approx(0.4)
    fog, snow = heat.lines
    assert [cell.score and cell.score.mean for cell in fog.cells] == [None, None, 0.2]
    assert snow.mean.score.mean == pytest.approx(0.5)
    assert snow.cells[0].shade == pytest.approx(0.5)


def test_corruption_tables__none_where_nothing_was_corrupted(tmp_path):
    assert corruption_tables(compared(write_targets(tmp_path / "full", {"night": 0.2})).methods) is None
