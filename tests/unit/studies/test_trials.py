"""From a study to its trials: resolved recipes, ids, reasons."""

from typing import Any

import pytest

from vfmseg.errors import StudyError
from vfmseg.studies.study_file import study_of, with_overrides
from vfmseg.studies.trials import Trial, plan

TREE: dict[str, Any] = {
    "base": "configs/scenes_linear_semantic.yaml",
    "keys": {"training": {"steps": 20}},
    "axes": {"tuning.method": ["full", "frozen"], "seed": [0, 1]},
}


def planned(**changes: Any) -> tuple[Trial, ...]:
    return plan(study_of({**TREE, **changes}, name="mine"))


def test_plan__lays_axes_over_keys_and_adjustments_over_axes() -> None:
    adjust = [{"when": {"tuning.method": "frozen", "seed": [1]}, "keys": {"training.steps": 30}}]
    trials = planned(adjust=adjust)
    assert [trial.label for trial in trials] == ["full 0", "full 1", "frozen 0", "frozen 1"]
    recipes = [trial.recipe for trial in trials if trial.recipe]
    assert [one.training.steps for one in recipes] == [20, 20, 20, 30]
    assert [one.tuning.method for one in recipes] == ["full", "full", "frozen", "frozen"]
    assert [one.seed for one in recipes] == [0, 1, 0, 1]


def test_overrides__win_everywhere() -> None:
    axes = {"encoder.weights": ["random", "prepared:p"]}
    prepare = {"p": {"keys": {"training.steps": 9}}}
    study = study_of({**TREE, "prepare": prepare, "axes": axes}, name="mine")
    trials = plan(with_overrides(study, {"training.steps": 7}))
    assert {trial.recipe.training.steps for trial in trials if trial.recipe} == {7}


def test_override__of_what_an_axis_varies_is_refused() -> None:
    study = with_overrides(study_of(TREE, name="mine"), {"tuning.method": "lora"})
    with pytest.raises(
        StudyError, match=r"tuning.method full and tuning.method frozen are equal recipes in every"
    ):
        plan(study)


def test_levels__may_be_equal_in_some_combinations() -> None:
    axes = {
        "tuning.method": ["full", "frozen"],
        "rate": {"one": {}, "other": {"training.learning_rate": 0.5}},
    }
    adjust = [{"when": {"tuning.method": "frozen"}, "keys": {"training.learning_rate": 0.1}}]
    ids = [trial.id for trial in planned(axes=axes, adjust=adjust)]
    assert ids[2] == ids[3]
    assert len(set(ids)) == 3


def test_id__is_of_what_decides_the_result() -> None:
    ids = [trial.id for trial in planned()]
    assert len(set(ids)) == 4
    assert [trial.id for trial in planned(keys={"training.steps": 20, "data.num_workers": 3})] == ids
    assert [trial.id for trial in planned(name="other")] == ids
    assert not {trial.id for trial in planned(keys={"training.steps": 21})} & set(ids)
    # more levels leave the others what they are
    more = planned(axes={"tuning.method": ["full", "frozen", "bitfit"], "seed": [0, 1]})
    assert [trial.id for trial in more][:4] == ids


def test_left_out__by_a_reason_or_by_the_recipe_itself() -> None:
    axes = {
        "tuning.method": ["full", "frozen"],
        "task": ["semantic", "panoptic"],
        "decoder.name": ["linear", "eomt"],
    }
    skip = [{"when": {"tuning.method": "frozen", "task": "panoptic"}, "reason": "not asked"}]
    trials = planned(axes=axes, skip=skip)
    why = {trial.label: trial.skipped for trial in trials if trial.skipped}
    assert why.pop("frozen panoptic linear") == why.pop("frozen panoptic eomt") == "not asked"
    (label, reason), *others = why.items()
    assert (label, others) == ("full panoptic linear", [])
    assert reason is not None
    assert "needs a mask decoder" in reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"axes": {"tuning.method": ["full", "ful"]}},
            "no combination with tuning.method ful is left to run",
        ),
        (
            {"skip": [{"when": {"seed": 1}, "reason": "dear"}]},
            "no combination with seed 1 is left to run. The first reason: dear",
        ),
        (
            {
                "adjust": [
                    {"when": {"seed": 1}, "keys": {"training.steps": 5}},
                    {"when": {"tuning.method": "full"}, "keys": {"training.steps": 6}},
                ]
            },
            "adjustments contradict each other for full 1: training.steps is 5 in one and 6 in another",
        ),
        (
            {"axes": {"encoder.weights": ["random", "prepared:long"]}, "prepare": {"lang": {}}},
            "encoder.weights is prepared:long, but the study prepares no 'long' (it prepares: lang)",
        ),
        (
            {
                "axes": {"start": {"both": {"encoder.weights": "prepared:p", "init_from": "prepared:q"}}},
                "prepare": {"p": {}, "q": {"keys": {"training.steps": 9}}},
            },
            "encoder.weights is prepared:p and init_from prepared:q: a trial starts from one preparation",
        ),
        ({"prepare": {"p": {"keys": {"training.steps": -1}}}}, "prepare.p makes no recipe"),
        (
            {"prepare": {"p": {"keys": {"init_from": "prepared:q"}}, "q": {}}},
            "init_from of prepare.p is prepared:q, but a preparation cannot start from another",
        ),
        ({"prepare": {"p": {}}}, "no trial starts from prepare.p. Have a level say"),
        (
            {"adjust": [{"when": {"seed": [0, 1]}, "keys": {"seed": 3}}]},
            "seed 0 and seed 1 are equal recipes in every combination",
        ),
        (
            {
                "axes": {
                    "a": {"x": {"base": "configs/scenes_linear_semantic.yaml"}},
                    "b": {"y": {"base": "configs/scenes_eomt_semantic.yaml"}},
                }
            },
            "axes a and b both name a `base` for x y",
        ),
        (
            {
                "axes": {"model": {"a": {}, "b": {"seed": 3}}, "tuning.method": ["full", "frozen"]},
                "skip": [{"when": {"model": "b", "tuning.method": "full"}, "reason": "dear"}],
            },
            "the reference setting (full) lacks b, which is left out: dear",
        ),
    ],
)
def test_contradiction__is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as caught:
        planned(**changes)
    assert said in str(caught.value)


def test_preparation__comes_first_and_its_id_is_in_what_starts_from_it() -> None:
    changes = {"axes": {"encoder.weights": ["random", "prepared:long"]}}
    first, random, started = planned(prepare={"long": {}}, **changes)
    assert first.prepares == "long"
    assert (random.needs, started.needs) == (None, first.id)
    assert started.recipe is not None
    assert started.recipe.encoder.weights == f"prepared:{first.id}"
    other = planned(prepare={"long": {"keys": {"seed": 5}}}, **changes)
    assert other[1].id == random.id
    assert other[2].id != started.id
