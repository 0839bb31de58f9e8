"""The main tables of the Rein and EoMT papers as studies: their trials are the shipped recipes."""

from __future__ import annotations

from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.studies.study_file import read_study
from vfmseg.studies.trials import plan

_DATA = {"data.path": "anywhere"}
_STEMS = {
    "clip-l": "clip_large",
    "mae-l": "mae_large",
    "sam-h": "sam_huge",
    "eva02-l": "eva02_large",
    "dinov2-l": "dinov2_large",
}
_LADDER = {
    "adapter_m2f": "step0_adapter_m2f",
    "no_adapter": "step1_no_adapter",
    "no_pixel_decoder": "step2_no_pixel_decoder",
    "single_scale": "step3_single_scale",
    "eomt_masked": "step4_eomt_masked",
    "eomt": "step5_eomt",
}


def _with_data(recipe: Recipe) -> Recipe:
    return read_recipe(recipe, _DATA).recipe


def test_rein__has_the_21_published_trials_which_are_the_shipped_recipes() -> None:
    study = read_study("rein")
    trials = plan(study, needs_data=False)
    runs = [trial for trial in trials if trial.recipe is not None]
    assert len(runs) == 21
    left_out = {(t.levels["model"], t.levels["tuning"]): t.skipped for t in trials if t.recipe is None}
    assert set(left_out) == {
        (m, t) for m in ("clip-l", "mae-l", "sam-h") for t in ("lora", "adaptformer", "vpt")
    }
    assert set(left_out.values()) == {"not in the paper's tables"}
    for trial in runs:
        assert trial.recipe is not None
        name = f"configs/rein/{_STEMS[trial.levels['model']]}_512_{trial.levels['tuning']}.yaml"
        assert _with_data(trial.recipe) == read_recipe(name, _DATA).recipe, name


def test_rein__is_scored_elsewhere_as_its_recipes_say() -> None:
    study = read_study("rein")
    assert study.targets == {
        "bdd100k": {"name": "bdd100k", "test_size": [720, 1280]},
        "mapillary": {"name": "mapillary", "test_size": [512, 1024], "test_halved": True},
    }
    assert study.ranked == "tuning"
    assert study.reference == {"model": "dinov2-l"}


def test_eomt_ladder__is_the_six_shipped_steps_in_order() -> None:
    trials = plan(read_study("eomt_ladder"), needs_data=False)
    assert [trial.levels["step"] for trial in trials] == list(_LADDER)
    for trial in trials:
        assert trial.recipe is not None
        name = f"configs/ladder/{_LADDER[trial.levels['step']]}.yaml"
        assert _with_data(trial.recipe) == read_recipe(name, _DATA).recipe, name
