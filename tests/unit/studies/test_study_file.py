"""What a study file may say, and what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest

from vfmseg.errors import StudyError
from vfmseg.studies.levels import flat_keys, matches
from vfmseg.studies.study_file import find_study, list_studies, read_study, study_of

TREE: dict[str, Any] = {
    "base": "configs/scenes_linear_semantic.yaml",
    "axes": {"encoder.name": ["vit_tiny_patch16_224", "vit_small_patch16_224"], "seed": [0, 1]},
}


def study(**changes: Any):
    return study_of({**TREE, **changes}, name="mine")


def test_axes__of_recipe_keys_and_of_named_levels() -> None:
    axes = {**TREE["axes"], "cost": {"cheap": {"training.steps": 5}, "dear": {"training": {"steps": 50}}}}
    made = study(axes=axes)
    assert made.name == "mine"
    assert made.ranked == "encoder.name"
    assert made.setting_axes == ("cost",)
    assert made.reference == {"cost": "cheap"}
    assert made.axes["seed"] == {"0": {"seed": 0}, "1": {"seed": 1}}
    assert flat_keys(made.axes["cost"]["dear"]) == {"training.steps": 50}


def test_levels__are_called_as_yaml_writes_them() -> None:
    made = study(axes={"encoder.sub_norm": [True, False], "encoder.patch_size": [None, 16]})
    assert list(made.axes["encoder.sub_norm"]) == ["true", "false"]
    assert list(made.axes["encoder.patch_size"]) == ["null", "16"]
    assert matches({"encoder.patch_size": [None, 8]}, {"encoder.patch_size": "null"})
    assert not matches({"encoder.patch_size": 8}, {"encoder.patch_size": "16"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": ""}, "has no `base`"),
        ({"axes": {}}, "has no `axes`"),
        ({"axes": {"encoder.name": []}}, "axes.encoder.name is empty"),
        ({"axes": {"encoder.name": "dinov2-b"}}, "axes.encoder.name is 'dinov2-b': give it a list"),
        (
            {"axes": {"encoder.nam": ["a"]}},
            "is no recipe key, so a list says nothing. Did you mean encoder.name",
        ),
        ({"axes": {"seed": [0, 0]}}, "axes.seed has 0 more than once"),
        ({"axes": {"m": {1: {"seed": 1}, "1": {"seed": 2}}}}, "axes.m has 1 more than once"),
        ({"axes": {"m": {"a\nb": {"seed": 1}}}}, "axes.m has a level 'a\\nb', but tables need one line"),
        (
            {"axes": {"m": {"a": {"encoder.nmae": "x"}}}},
            "axes.m.a: 'encoder.nmae' is no recipe key. Did you mean",
        ),
        ({"axes": {"m": {"a": 3}}}, "axes.m.a must be recipe keys with values"),
        ({"name": "../mine"}, "name: '../mine' is no name of a folder"),
        ({"name": "a\nb"}, "name: 'a\\nb' is no name of a folder"),
        ({"rankd": "seed"}, "unknown key 'rankd'. Did you mean ranked"),
        ({"ranked": "model"}, "ranked: 'model' is no axis"),
        ({"ranked": "seed"}, "seeds are repetitions"),
        ({"image_groups": "([a-z"}, "image_groups: '([a-z' is no regular expression (unterminated"),
        ({"image_groups": "^[a-z]+_"}, "image_groups: '^[a-z]+_' has no group"),
        ({"image_groups": "(a)(b)"}, "image_groups: '(a)(b)' has 2 groups"),
        ({"image_groups": ["a"]}, "image_groups: input should be a valid string"),
        ({"skip": [{"when": {"seed": 7}, "reason": "x"}]}, "skip.0: axis seed has no level '7'"),
        ({"skip": [{"when": {"seed": []}, "reason": "x"}]}, "skip.0: no level of seed is named"),
        ({"skip": [{"when": {"sed": 0}, "reason": "x"}]}, "skip.0: 'sed' is no axis. Did you mean seed"),
        ({"skip": [{"when": {"seed": 0}}]}, "skip.0.reason: field required"),
        ({"adjust": [{"when": {}, "keys": {}}]}, "adjust.0.when"),
        ({"adjust": [{"when": {"seed": 0}, "keys": {"steps": 3}}]}, "adjust.0: 'steps' is no recipe key"),
        ({"reference": {"seed": 0}}, "seed is not part of a setting"),
        (
            {"keys": {"training.step": 3}},
            "keys: 'training.step' is no recipe key. Did you mean training.steps",
        ),
        ({"prepare": {"p": {"keys": {"x": 3}}}}, "prepare.p: 'x' is no recipe key"),
        ({"budget": {"hours": 0}}, "budget.hours"),
        ({"targets": {"dusk": {"scnes": {}}}}, "targets.dusk: 'data.scnes' is no recipe key. Did you mean"),
        ({"targets": {"..": "elsewhere"}}, "targets...: a name has letters"),
        (
            {"targets": {"dusk": {"path": "x", "classes": "car"}}},
            "targets.dusk: --target dusk: classes is 'car'",
        ),
    ],
)
def test_mistake__is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as caught:
        study(**changes)
    assert said in str(caught.value)


def test_mistakes__are_listed_at_once() -> None:
    with pytest.raises(StudyError, match="2 things are wrong"):
        study(ranked="model", keys={"training.step": 3})


def test_file__that_is_missing_or_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no study 'configs/studies/papr.yaml'. Did you mean"):
        find_study("configs/studies/papr.yaml")
    (tmp_path / "a.yaml").write_text("- 1\n")
    with pytest.raises(StudyError, match="holds a list, but must hold `key: value` lines"):
        read_study(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("a: [1\n")
    with pytest.raises(StudyError, match=r"b.yaml is not YAML: while parsing"):
        read_study(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").write_text("base: a\nbase: b\n")
    with pytest.raises(StudyError, match=r"c.yaml: the key base stands in line 1 and again in line 2"):
        read_study(tmp_path / "c.yaml")
    (tmp_path / "d.yaml").write_text("")
    with pytest.raises(StudyError, match=r"d.yaml is empty, but must hold `key: value` lines"):
        read_study(tmp_path / "d.yaml")


def test_packaged__studies_are_found_by_name() -> None:
    assert "configs/studies/paper.yaml" in list_studies()
    assert find_study("paper").resolve() == find_study("configs/studies/paper.yaml").resolve()
