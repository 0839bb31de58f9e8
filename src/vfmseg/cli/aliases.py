"""The options of the published programs, and what they are called here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vfmseg.errors import RecipeError

_Meaning = Callable[[Any], dict[str, Any]]


def _switch(option: str, key: str, on: Any, off: Any) -> tuple[str, _Meaning]:
    return f"{key} {str(on).lower()}", lambda value: {key: on if _is_on(option, value) else off}


def _is_on(option: str, value: Any) -> bool:
    if value in (True, False):  # 1 and 0 too
        return bool(value)
    raise RecipeError(f"--{option} {value}: a switch is true or false; without a value it is true.")


def _key(name: str) -> _Meaning:
    return lambda value: {name: value}


ALIASES: dict[str, tuple[str, _Meaning]] = {
    "root": ("data.path", _key("data.path")),
    "no_compile": _switch("no_compile", "training.compile", on=False, off=True),
    "compile_disabled": _switch("compile_disabled", "training.compile", on=False, off=True),
    "model.network.encoder_name": ("encoder.name", _key("encoder.name")),
    "model.network.patch_size": ("encoder.patch_size", _key("encoder.patch_size")),
    "model.network.ckpt_path": ("encoder.weights", _key("encoder.weights")),
    "model.network.sub_norm": ("encoder.sub_norm", _key("encoder.sub_norm")),
    "model.network.img_size": ("encoder.image_size", _key("encoder.image_size")),
    "model.freeze_encoder": _switch("model.freeze_encoder", "tuning.method", on="frozen", off="full"),
    "model.ckpt_path": ("init_from", _key("init_from")),
    "model.load_ckpt_class_head": ("load_class_head", _key("load_class_head")),
    "model.delta_weights": ("delta_weights", _key("delta_weights")),
    "model.network.encoder.init_args.backbone_name": ("encoder.name", _key("encoder.name")),
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

MASKED_ATTENTION = "model.network.masked_attn_enabled"
RUN_NAME = "trainer.logger.init_args.name"
SAID: dict[str, str] = {
    MASKED_ATTENTION: "in fit, False is decoder.masks never and True what the recipe says; in validate, of no effect: "
    "inference has no masks unless decoder.masks is always",
    RUN_NAME: "the name of the run: its folder is runs/NAME_ENCODER, unless --out says otherwise",
}
"""Published option (without ``--``) that is no recipe key -> what is made of it; see :func:`set_aside`."""

RANDOM_WEIGHTS = "random_weights"
"""The one switch that builds any model without its weights: ``encoder.weights`` becomes ``random`` whatever else says."""


@dataclass(frozen=True)
class SetAside:
    """What is left of a command line once the options of :data:`SAID` are out of it."""

    options: dict[str, Any]
    notes: tuple[str, ...]
    """What each of them was understood as."""
    run_name: str = ""


def set_aside(options: dict[str, Any], *, trains: bool) -> SetAside:
    """Take the published options out that are no recipe keys, and say what was made of them.

    Args:
        options: dotted names and values as typed.
        trains: whether the verb is fit.
    """
    rest = {name: value for name, value in options.items() if name not in SAID}
    notes = []
    if MASKED_ATTENTION in options:
        enabled = _is_on(MASKED_ATTENTION, options[MASKED_ATTENTION])
        if not trains:
            meaning = "of no effect here: inference has no masks unless decoder.masks is always"
        elif enabled:
            meaning = "decoder.masks stays as the recipe has it"
        else:
            meaning = "decoder.masks never"
            rest.setdefault("decoder.masks", "never")
        notes.append(f"--{MASKED_ATTENTION} {enabled}: {meaning}")
    name = str(options.get(RUN_NAME, ""))
    if name:
        notes.append(f"--{RUN_NAME} {name}: names the run's folder, unless --out does")
    return SetAside(rest, tuple(notes), name)


def translate(options: dict[str, Any]) -> dict[str, Any]:
    """Return dotted recipe keys for options that may carry published names; recipe keys win over aliases."""
    recipe: dict[str, Any] = {}
    for name, value in options.items():
        if name not in ALIASES:
            continue
        recipe.update(ALIASES[name][1](value))
    recipe.update({name: value for name, value in options.items() if name not in ALIASES})
    if _is_on(RANDOM_WEIGHTS, recipe.pop(RANDOM_WEIGHTS, False)):
        recipe["encoder.weights"] = "random"
    return recipe
