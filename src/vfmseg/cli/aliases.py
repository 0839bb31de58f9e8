"""The options of the published programs, and what they are called here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_Meaning = Callable[[Any], dict[str, Any]]


def _key(name: str) -> _Meaning:
    return lambda value: {name: value}


ALIASES: dict[str, tuple[str, _Meaning]] = {
    "root": ("data.path", _key("data.path")),
    "no_compile": ("training.compile false", lambda value: {"training.compile": not value}),
    "compile_disabled": ("training.compile false", lambda value: {"training.compile": not value}),
    "model.network.encoder_name": ("encoder.name", _key("encoder.name")),
    "model.network.patch_size": ("encoder.patch_size", _key("encoder.patch_size")),
    "model.network.ckpt_path": ("encoder.weights", _key("encoder.weights")),
    "model.network.sub_norm": ("encoder.sub_norm", _key("encoder.sub_norm")),
    "model.network.img_size": ("encoder.image_size", _key("encoder.image_size")),
    "model.freeze_encoder": (
        "tuning.method frozen",
        lambda value: {"tuning.method": "frozen" if value else "full"},
    ),
    "model.ckpt_path": ("init_from", _key("init_from")),
    "model.load_ckpt_class_head": ("load_class_head", _key("load_class_head")),
    "model.lr": ("training.learning_rate", _key("training.learning_rate")),
    "model.weight_decay": ("training.weight_decay", _key("training.weight_decay")),
    "model.lr_multiplier_encoder": ("training.encoder_lr_factor", _key("training.encoder_lr_factor")),
    "model.poly_lr_decay_power": ("training.poly_power", _key("training.poly_power")),
    "data.root": ("data.path", _key("data.path")),
    "trainer.max_steps": ("training.steps", _key("training.steps")),
    "trainer.precision": ("training.precision", _key("training.precision")),
    "trainer.gradient_clip_val": ("training.gradient_clip", _key("training.gradient_clip")),
    "trainer.enable_progress_bar": ("trainer.progress", _key("trainer.progress")),
    "seed_everything": ("seed", _key("seed")),
}
"""Published option (without ``--``) -> what it is called here, and how its value translates."""

RANDOM_WEIGHTS = "random_weights"
"""The one switch that builds any model without its weights: ``encoder.weights`` becomes ``random`` whatever else says."""


def translate(options: dict[str, Any]) -> dict[str, Any]:
    """Return dotted recipe keys for options that may carry published names; recipe keys win over aliases."""
    recipe: dict[str, Any] = {}
    for name, value in options.items():
        if name not in ALIASES:
            continue
        recipe.update(ALIASES[name][1](value))
    recipe.update({name: value for name, value in options.items() if name not in ALIASES})
    if recipe.pop(RANDOM_WEIGHTS, False):
        recipe["encoder.weights"] = "random"
    return recipe
