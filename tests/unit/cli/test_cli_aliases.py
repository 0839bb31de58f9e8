"""The options of the published programs, one test an entry."""

from __future__ import annotations

from typing import Any

import pytest

from vfmseg.cli.aliases import (
    ALIASES,
    MASKED_ATTENTION,
    RANDOM_WEIGHTS,
    REFUSED,
    RUN_NAME,
    SAID,
    set_aside,
    translate,
)
from vfmseg.errors import RecipeError
from vfmseg.runs.recipe_keys import keys
from vfmseg.runs.recipe_reader import read_recipe

MEANINGS: list[tuple[str, Any, dict[str, Any]]] = [
    ("root", "/data", {"data.path": "/data"}),
    ("no_compile", True, {"training.compile": False}),
    ("no_compile", False, {"training.compile": True}),
    ("compile_disabled", True, {"training.compile": False}),
    ("model.network.encoder_name", "vit_base_patch14_dinov2", {"encoder.name": "vit_base_patch14_dinov2"}),
    ("model.network.patch_size", 8, {"encoder.patch_size": 8}),
    ("model.network.ckpt_path", "beit3.pth", {"encoder.weights": "beit3.pth"}),
    ("model.network.sub_norm", True, {"encoder.sub_norm": True}),
    ("model.network.img_size", [640, 640], {"encoder.image_size": [640, 640]}),
    ("model.freeze_encoder", True, {"tuning.method": "frozen"}),
    ("model.freeze_encoder", False, {"tuning.method": "full"}),
    ("model.ckpt_path", "runs/a", {"init_from": "runs/a"}),
    ("model.load_ckpt_class_head", False, {"load_class_head": False}),
    ("model.delta_weights", False, {"delta_weights": False}),
    (
        "model.network.encoder.init_args.backbone_name",
        "vit_large_patch14_reg4_dinov2",
        {"encoder.name": "vit_large_patch14_reg4_dinov2"},
    ),
    ("model.network.encoder.init_args.ckpt_path", "a.pth", {"encoder.weights": "a.pth"}),
    ("model.network.num_q", 100, {"decoder.num_queries": 100}),
    ("model.network.num_blocks", 3, {"decoder.num_blocks": 3}),
    ("model.attn_mask_annealing_enabled", True, {"decoder.masks": "annealed"}),
    ("model.attn_mask_annealing_enabled", False, {"decoder.masks": "always"}),
    ("model.attn_mask_annealing_start_steps", [1, 3], {"decoder.anneal_start": [1, 3]}),
    ("model.attn_mask_annealing_end_steps", [3, 5], {"decoder.anneal_end": [3, 5]}),
    ("model.num_points", 64, {"training.mask_points": 64}),
    ("model.no_object_coefficient", 0.2, {"training.no_object_weight": 0.2}),
    ("model.llrd", 0.8, {"training.layer_decay": 0.8}),
    ("model.warmup_steps", [500, 1000], {"training.warmup": 500, "training.encoder_warmup": 1000}),
    ("model.lr", 1e-4, {"training.learning_rate": 1e-4}),
    ("model.weight_decay", 0.05, {"training.weight_decay": 0.05}),
    ("model.lr_multiplier_encoder", 0.1, {"training.encoder_lr_factor": 0.1}),
    ("model.poly_lr_decay_power", 0.9, {"training.poly_power": 0.9}),
    ("data.root", "/data", {"data.path": "/data"}),
    ("data.img_size", [640, 640], {"encoder.image_size": [640, 640]}),
    ("data.check_empty_targets", True, {"data.skip_constant_labels": True}),
    ("trainer.max_steps", 10, {"training.steps": 10}),
    ("trainer.precision", "32-true", {"training.precision": "32-true"}),
    ("trainer.gradient_clip_val", 1.0, {"training.gradient_clip": 1.0}),
    ("trainer.enable_progress_bar", False, {"trainer.progress": False}),
    ("seed_everything", 7, {"seed": 7}),
]


@pytest.mark.parametrize(("name", "value", "meant"), MEANINGS)
def test_alias__means_what_the_table_says_and_makes_a_recipe(
    name: str, value: Any, meant: dict[str, Any]
) -> None:
    assert translate({name: value}) == meant
    if any(key.startswith("decoder.") for key in meant):
        span = {"decoder.anneal_start": [0, 1], "decoder.anneal_end": [4, 5]}
        meant = {"decoder.name": "eomt", **(span if "anneal" in name else {}), **meant}
    read_recipe(meant)


def test_aliases__every_entry_is_tested_and_described() -> None:
    assert {name for name, _, _ in MEANINGS} == set(ALIASES)
    assert all(description for description, _ in ALIASES.values())


def test_aliases__none_hides_a_recipe_key() -> None:
    assert {*ALIASES, *SAID, *REFUSED}.isdisjoint(keys())
    assert RANDOM_WEIGHTS not in keys()


def test_translate__recipe_keys_pass_unchanged_and_win() -> None:
    assert translate({"encoder.name": "dinov2-s", "seed": 1}) == {"encoder.name": "dinov2-s", "seed": 1}
    typed = {"training.steps": 5, "trainer.max_steps": 9}
    assert translate(typed) == {"training.steps": 5}
    assert translate(dict(reversed(typed.items()))) == {"training.steps": 5}


def test_translate__unknown_options_are_left_for_the_reader_to_refuse() -> None:
    assert translate({"trainer.device": 1}) == {"trainer.device": 1}


def test_translate__published_options_that_are_not_taken_are_all_named_with_what_is_there_instead() -> None:
    with pytest.raises(RecipeError) as caught:
        translate({"model.llrds": 1, "seed": 1, **dict.fromkeys(REFUSED, 4)})
    said = str(caught.value).splitlines()
    assert len(said) == len(REFUSED) + 3
    assert (
        "  - --trainer.accumulate_grad_batches: follows from training.effective_batch_size: as many"
        in said[2]
    )
    assert said[-2].endswith(
        "--model.llrds: no option of the published programs that is known here. Did you mean model.llrd, model.lr, "
        "model.poly_lr_decay_power?"
    )
    assert "fit --help" in said[-1]


@pytest.mark.parametrize("value", [500, [500], [1, 2, 3], "x"])
def test_warmup__of_two_stages_needs_two_numbers(value: Any) -> None:
    with pytest.raises(RecipeError, match=r"--model\.warmup_steps .*: two numbers are wanted.*\[500,1000\]"):
        translate({"model.warmup_steps": value})


@pytest.mark.parametrize("rest", [{}, {"model.network.ckpt_path": "a.pth"}, {"encoder.weights": "b.pth"}])
def test_random_weights__win_over_whatever_else_says(rest: dict[str, Any]) -> None:
    assert translate({RANDOM_WEIGHTS: True, **rest}) == {"encoder.weights": "random"}
    assert RANDOM_WEIGHTS not in translate({RANDOM_WEIGHTS: False, **rest})


@pytest.mark.parametrize("name", ["no_compile", "compile_disabled", "model.freeze_encoder", RANDOM_WEIGHTS])
def test_switches__take_no_other_word(name: str) -> None:
    for value in ("flase", 2, [True], None):
        with pytest.raises(RecipeError) as caught:
            translate({name: value})
        assert (
            str(caught.value) == f"--{name} {value}: a switch is true or false; without a value it is true."
        )


@pytest.mark.parametrize(
    ("typed", "trains", "left", "said"),
    [
        ({MASKED_ATTENTION: False}, True, {"decoder.masks": "never"}, "False: decoder.masks never"),
        ({MASKED_ATTENTION: True}, True, {}, "True: decoder.masks stays as the recipe has it"),
        ({MASKED_ATTENTION: False}, False, {}, "False: of no effect here: inference has no masks"),
        (
            {MASKED_ATTENTION: False, "decoder.masks": "always"},
            True,
            {"decoder.masks": "always"},
            "masks never",
        ),
        ({RUN_NAME: "mine"}, True, {}, "mine: names the run's folder"),
        (
            {"model.load_ckpt_class_head": False},
            False,
            {},
            "of no effect here: a validation needs the checkpoint's",
        ),
        ({"load_class_head": False}, False, {}, "of no effect here: a validation needs the checkpoint's"),
    ],
)
def test_set_aside__says_what_was_made_of_options_that_are_no_recipe_keys(
    typed: dict[str, Any], trains: bool, left: dict[str, Any], said: str
) -> None:
    found = set_aside({**typed, "seed": 1}, trains=trains)
    assert found.options == {**left, "seed": 1}
    assert len(found.notes) == 1
    assert said in found.notes[0]
    assert found.run_name == typed.get(RUN_NAME, "")


def test_set_aside__a_switch_takes_no_other_word() -> None:
    with pytest.raises(RecipeError, match=f"--{MASKED_ATTENTION} maybe: a switch is true or false"):
        set_aside({MASKED_ATTENTION: "maybe"}, trains=True)


def test_set_aside__leaves_everything_else_alone() -> None:
    assert set_aside({"seed": 1, "root": "x"}, trains=True).notes == ()
    assert set_aside({"seed": 1, "root": "x"}, trains=True).options == {"seed": 1, "root": "x"}
