"""The options of the published programs, and what they are called here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vfmseg.errors import RecipeError, nearest

_Meaning = Callable[[Any], dict[str, Any]]


def _switch(option: str, key: str, on: Any, off: Any) -> tuple[str, _Meaning]:
    return f"{key} {str(on).lower()}", lambda value: {key: on if _is_on(option, value) else off}


def _is_on(option: str, value: Any) -> bool:
    if value in (True, False):  # 1 and 0 too
        return bool(value)
    raise RecipeError(f"--{option} {value}: a switch is true or false; without a value it is true.")


def _key(name: str) -> _Meaning:
    return lambda value: {name: value}


def _two_stages(value: Any) -> dict[str, Any]:
    if isinstance(value, list) and len(value) == 2:
        return {"training.warmup": value[0], "training.encoder_warmup": value[1]}
    raise RecipeError(
        f"--model.warmup_steps {value}: two numbers are wanted, the steps in which the decoder warms up and those in "
        "which the encoder does after it, such as [500,1000]."
    )


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
    "model.network.encoder.init_args.ckpt_path": ("encoder.weights", _key("encoder.weights")),
    "model.network.num_q": ("decoder.num_queries", _key("decoder.num_queries")),
    "model.network.num_blocks": ("decoder.num_blocks", _key("decoder.num_blocks")),
    "model.attn_mask_annealing_enabled": _switch(
        "model.attn_mask_annealing_enabled", "decoder.masks", on="annealed", off="always"
    ),
    "model.attn_mask_annealing_start_steps": ("decoder.anneal_start", _key("decoder.anneal_start")),
    "model.attn_mask_annealing_end_steps": ("decoder.anneal_end", _key("decoder.anneal_end")),
    "model.num_points": ("training.mask_points", _key("training.mask_points")),
    "model.no_object_coefficient": ("training.no_object_weight", _key("training.no_object_weight")),
    "model.llrd": ("training.layer_decay", _key("training.layer_decay")),
    "model.warmup_steps": ("training.warmup and training.encoder_warmup", _two_stages),
    "model.lr": ("training.learning_rate", _key("training.learning_rate")),
    "model.weight_decay": ("training.weight_decay", _key("training.weight_decay")),
    "model.lr_multiplier_encoder": ("training.encoder_lr_factor", _key("training.encoder_lr_factor")),
    "model.poly_lr_decay_power": ("training.poly_power", _key("training.poly_power")),
    "data.root": ("data.path", _key("data.path")),
    "data.img_size": ("encoder.image_size", _key("encoder.image_size")),
    "data.check_empty_targets": ("data.skip_constant_labels", _key("data.skip_constant_labels")),
    "trainer.max_steps": ("training.steps", _key("training.steps")),
    "trainer.precision": ("training.precision", _key("training.precision")),
    "trainer.gradient_clip_val": ("training.gradient_clip", _key("training.gradient_clip")),
    "trainer.enable_progress_bar": ("trainer.progress", _key("trainer.progress")),
    "seed_everything": ("seed", _key("seed")),
}
"""Published option (without ``--``) -> what it is called here, and how its value translates."""

MASKED_ATTENTION = "model.network.masked_attn_enabled"
CLASS_HEAD = ("model.load_ckpt_class_head", "load_class_head")
RUN_NAME = "trainer.logger.init_args.name"
SAID: dict[str, str] = {
    MASKED_ATTENTION: "in fit, False is decoder.masks never and True what the recipe says; in validate, of no effect: "
    "inference has no masks unless decoder.masks is always",
    RUN_NAME: "the name of the run: its folder is runs/NAME_ENCODER, unless --out says otherwise",
}
"""Published option (without ``--``) that is no recipe key -> what is made of it; see :func:`set_aside`."""

REFUSED: dict[str, str] = {
    "ckpt_path": "to go on with a run: --resume with its folder as --out; to start from weights: --init_from",
    "trainer.accumulate_grad_batches": "follows from training.effective_batch_size: as many micro-batches are "
    "accumulated as make that many images, whatever data.batch_size and trainer.devices are",
    "trainer.max_epochs": "a run is training.steps long; an epoch has as many as there are training images, divided by "
    "training.effective_batch_size",
    "trainer.check_val_every_n_epoch": "training.validate_every, a share of the run or optimiser steps",
    "trainer.val_check_interval": "training.validate_every, a share of the run or optimiser steps",
    "trainer.logger": "training.loggers, such as [tensorboard] or [wandb]; metrics.csv is always written",
    "trainer.logger.class_path": "training.loggers, such as [tensorboard] or [wandb]; metrics.csv is always written",
    "data.num_classes": "the data says how many classes there are",
    "data.stuff_classes": "the data says which classes are things: `things` in data.yaml, `isthing` in a COCO JSON",
}
"""Published option (without ``--``) that is not taken -> what is there in its place."""

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
    for head in CLASS_HEAD:
        if head in rest and not trains and not _is_on(head, rest.pop(head)):
            notes.append(f"--{head} False: of no effect here: a validation needs the checkpoint's class head")
    name = str(options.get(RUN_NAME, ""))
    if name:
        notes.append(f"--{RUN_NAME} {name}: names the run's folder, unless --out does")
    return SetAside(rest, tuple(notes), name)


def translate(options: dict[str, Any]) -> dict[str, Any]:
    """Return dotted recipe keys for options that may carry published names; recipe keys win over aliases.

    Raises:
        RecipeError: published options that are not taken here; all are named, with what is there in their place.
    """
    refused = [f"--{name}: {REFUSED[name]}" for name in options if name in REFUSED]
    refused += [
        f"--{name}: no option of the published programs that is known here.{nearest(name, ALIASES)}"
        for name in options
        if name.startswith("model.") and name not in ALIASES
    ]
    if refused:
        raise RecipeError(
            "Published options that are not taken:\n  - "
            + "\n  - ".join(refused)
            + "\n`vfmseg fit --help` shows those "
            "that are."
        )
    recipe: dict[str, Any] = {}
    for name, value in options.items():
        if name not in ALIASES:
            continue
        recipe.update(ALIASES[name][1](value))
    recipe.update({name: value for name, value in options.items() if name not in ALIASES})
    if _is_on(RANDOM_WEIGHTS, recipe.pop(RANDOM_WEIGHTS, False)):
        recipe["encoder.weights"] = "random"
    return recipe
