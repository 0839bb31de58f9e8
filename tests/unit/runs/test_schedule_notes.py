"""What is said of warm-up and masks before a run begins."""

from typing import Any

import pytest

from support.tiny import tiny_recipe
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.schedule_notes import long_warmup, returning_masks
from vfmseg.training.module import OptimizerSettings


def settings(total: int, warmup: int, encoder_warmup: int) -> OptimizerSettings:
    rates = {
        "learning_rate": 1.0,
        "encoder_lr_factor": 1.0,
        "layer_decay": 1.0,
        "weight_decay": 0.0,
        "poly_power": 1.0,
    }
    return OptimizerSettings(
        **rates, warmup_steps=warmup, encoder_warmup_steps=encoder_warmup, total_steps=total
    )


@pytest.mark.parametrize(("total", "warmup", "encoder"), [(3001, 500, 1000), (100, 0, 0), (100, 49, 0)])
def test_long_warmup__short_ones_are_not_spoken_of(total: int, warmup: int, encoder: int) -> None:
    assert long_warmup(settings(total, warmup, encoder)) == ""


def test_long_warmup__says_how_long_and_what_to_type() -> None:
    said = long_warmup(settings(1600, 500, 1000))
    assert "of 1600 steps the encoder waits for 500 and warms up for 1000, so that it hardly learns" in said
    assert (
        "Give training.warmup and training.encoder_warmup as shares of the run, such as 0.005 and 0.01"
        in said
    )
    assert "of 100 steps the encoder warms up for 60," in long_warmup(settings(100, 60, 0))


def recipe(steps: int, **decoder: Any) -> Recipe:
    chosen = {"name": "eomt", "num_blocks": 2, **decoder}
    return read_recipe(tiny_recipe(task="panoptic", decoder=chosen, training={"steps": steps})).recipe


def test_returning_masks__of_a_longer_run() -> None:
    said = returning_masks(recipe(12), recipe(24), 2, 12)
    assert "with probability 0.00, 1.00 again (one a block; at step 12 it was 0.00, 0.00)" in said
    assert "--init_from RUN --decoder.masks never" in said


@pytest.mark.parametrize(
    ("before", "now", "step"),
    [
        (recipe(12), recipe(12), 5),  # as it was
        (recipe(24), recipe(12), 12),  # shorter: fewer masks
        (recipe(12, masks="never"), recipe(24, masks="never"), 12),
        (recipe(12, masks="always"), recipe(24, masks="always"), 12),
        (
            recipe(12, anneal_start=[2, 6], anneal_end=[4, 9]),
            recipe(24, anneal_start=[2, 6], anneal_end=[4, 9]),
            12,
        ),
    ],
)
def test_returning_masks__nothing_where_none_returns(before: Recipe, now: Recipe, step: int) -> None:
    assert returning_masks(before, now, 2, step) == ""


def test_returning_masks__of_decoders_without_masks() -> None:
    plain = read_recipe(tiny_recipe()).recipe
    assert returning_masks(plain, plain, 0, 3) == ""
