"""What of a recipe reaches the loss."""

from types import SimpleNamespace
from typing import Any

from support.tiny import tiny_recipe
from vfmseg.losses.criterion import MaskCriterion
from vfmseg.runs.assemble import build_criterion
from vfmseg.runs.recipe_reader import read_recipe


def test_build_criterion__settings_of_masks() -> None:
    training = {"mask_points": 64, "no_object_weight": 0.3, "loss_average": "batch"}
    recipe = read_recipe(tiny_recipe(task="panoptic", decoder={"name": "eomt"}, training=training)).recipe
    train: Any = SimpleNamespace(label_space=SimpleNamespace(num_classes=7))
    built = build_criterion(recipe, train, print)
    assert isinstance(built, MaskCriterion)
    assert (built.settings.num_points, built.settings.no_object_weight) == (64, 0.3)
    assert (built.num_classes, built.average) == (7, "batch")
