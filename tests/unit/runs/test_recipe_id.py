import copy

import pytest

from vfmseg.runs.recipe_id import recipe_id

TREE = {
    "task": "semantic",
    "encoder": {"name": "dinov2-s", "image_size": [64, 96]},
    "data": {"name": "scenes", "path": "here", "num_workers": 2, "batch_size": 4},
    "training": {"learning_rate": 1e-4},
    "trainer": {"devices": 1},
    "seed": 0,
}


def changed(dotted, value):
    tree = copy.deepcopy(TREE)
    *sections, key = dotted.split(".")
    place = tree
    for section in sections:
        place = place[section]
    place[key] = value
    return tree


@pytest.mark.parametrize(
    ("dotted", "value"),
    [("seed", 3), ("trainer.devices", 8), ("data.path", "there"), ("data.num_workers", 0)],
)
def test_recipe_id__same_method_elsewhere(dotted, value):
    assert recipe_id(changed(dotted, value)) == recipe_id(TREE)


def test_recipe_id__sources_are_told_by_what_they_are_and_not_by_where():
    here, there, other = (
        changed("data.sources", [{"name": name, "path": path}])
        for name, path in (("gta5", "here"), ("gta5", "there"), ("synthia", "here"))
    )
    assert recipe_id(here) == recipe_id(there)
    assert recipe_id(here) != recipe_id(other)


@pytest.mark.parametrize(
    ("dotted", "value"), [("training.learning_rate", 2e-4), ("encoder.name", "x"), ("data.batch_size", 2)]
)
def test_recipe_id__another_method(dotted, value):
    assert recipe_id(changed(dotted, value)) != recipe_id(TREE)
