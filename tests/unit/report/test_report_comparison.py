import json

import pytest

from support.evaluations import reliability, write_corruptions, write_targets
from vfmseg.errors import CheckpointError
from vfmseg.report.comparison import compare, gather
from vfmseg.report.corruption_tables import corruption_tables
from vfmseg.report.evaluations import read_evaluation
from vfmseg.report.reliability_tables import reliability_tables

LORA = {"tuning": "lora", "recipe_id": "bbb", "source": 0.6}


def compared(*folders):
    return compare(gather(read_evaluation(folder) for folder in folders))


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
    assert ece.targets == ("night",)
    assert [(name, value.mean) for name, (value,) in ece.rows] == [("full", 0.2), ("lora", 0.1)]
    assert (ece.best, auroc.best) == ((frozenset({1}),), (frozenset({0}),))


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
