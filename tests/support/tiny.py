"""The smallest run that is still a real one: generated scenes of 64 x 64, a two-block encoder, four steps."""

from __future__ import annotations

import copy
from typing import Any

_RECIPE: dict[str, Any] = {
    "encoder": {
        "name": "vit_tiny_patch16_224",
        "image_size": 64,
        "patch_size": 16,
        "weights": "random",
        "overrides": {"embed_dim": 24, "depth": 2, "num_heads": 2},
    },
    "data": {
        "name": "scenes",
        "batch_size": 2,
        "num_workers": 0,
        "scenes": {"image_size": [64, 80], "train": 8, "val": 3, "domains": ["day"], "seed": 1},
    },
    "training": {
        "steps": 4,
        "effective_batch_size": 4,
        "learning_rate": 1e-3,
        "precision": "32-true",
        "validate_every": 0.5,
        "checkpoint_every": 1,
        "overlays": 1,
        "loggers": [],
    },
    "trainer": {"accelerator": "cpu", "log_every_n_steps": 1, "progress": False},
}


def tiny_recipe(**changes: Any) -> dict[str, Any]:
    """Return the recipe with ``changes`` (nested mappings) laid over it."""
    recipe = copy.deepcopy(_RECIPE)
    for section, values in changes.items():
        if isinstance(values, dict):
            recipe.setdefault(section, {}).update(values)
        else:
            recipe[section] = values
    return recipe
