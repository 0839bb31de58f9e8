"""The configuration of a transformers model in, the same architecture in timm's terms out.

DINOv2 and DINOv3 of the hub run on timm's blocks, with the weights of transformers under timm's names:
one implementation, whose layers tunings know, and no need of transformers. The outputs are those of
transformers (tests compare), except where DINOv2's positions are resampled: there timm's rule holds, bicubic
and antialiased, as for every encoder of vfmseg.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from timm.layers import SwiGLUPacked
from torch import nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.hub import fetch, fetch_weights

_MODELS = ("dinov2", "dinov2_with_registers", "dinov3_vit")


@dataclass(frozen=True)
class Blueprint:
    """A timm architecture and how to make it."""

    timm_name: str
    arguments: Mapping[str, Any]
    """Of the timm constructor."""
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_blueprint(source: str) -> Blueprint:
    """Read ``config.json`` and ``preprocessor_config.json`` of ``source``, a hub id or a local folder.

    Raises:
        HubError: the files cannot be had.
        RecipeError: the model is neither DINOv2 nor DINOv3, or a variant that timm's blocks cannot express.
    """
    config = json.loads(_file(source, "config.json").read_text())
    processor = json.loads(_file(source, "preprocessor_config.json").read_text())
    kind = config.get("model_type")
    if kind not in _MODELS:
        raise RecipeError(
            f"encoder.name {source!r} is a {kind!r} of transformers; of the Hugging Face hub vfmseg takes "
            f"{', '.join(_MODELS)}. Other families come by their timm names (`vfmseg list encoders`)"
        )
    try:
        name, arguments = _dinov3(source, config) if kind == "dinov3_vit" else _dinov2(source, config)
        arguments |= {
            "patch_size": config["patch_size"],
            "embed_dim": config["hidden_size"],
            "depth": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"],
            "init_values": config["layerscale_value"],
            "norm_layer": partial(nn.LayerNorm, eps=config["layer_norm_eps"]),
        }
        return Blueprint(name, arguments, tuple(processor["image_mean"]), tuple(processor["image_std"]))
    except KeyError as error:
        raise RecipeError(
            f"encoder.name {source!r}: its config.json or preprocessor_config.json lacks {error}"
        ) from error


def weights_of(source: str) -> Path:
    """Return the path of the weights of ``source``, a hub id or a local folder."""
    return Path(source) if Path(source).is_dir() else fetch_weights(source)


def _file(source: str, name: str) -> Path:
    if not Path(source).is_dir():
        return fetch(source, name)
    if not (Path(source) / name).is_file():
        raise RecipeError(
            f"encoder.name {source!r} is a folder without {name}; save the model and its processor"
        )
    return Path(source) / name


def _dinov2(source: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    _require(source, config, hidden_act="gelu", num_channels=3)
    dim, ratio = config["hidden_size"], config["mlp_ratio"]
    more: dict[str, Any] = {
        "img_size": config["image_size"],
        "qkv_bias": config["qkv_bias"],
        "mlp_ratio": ratio,
    }
    if config["use_swiglu_ffn"]:
        hidden = (int(int(dim * ratio) * 2 / 3) + 7) // 8 * 8
        more |= {"mlp_ratio": _ratio(2 * hidden, dim), "mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    if config["model_type"] == "dinov2":
        return "vit_small_patch14_dinov2", more
    return "vit_small_patch14_reg4_dinov2", more | {"reg_tokens": config["num_register_tokens"]}


def _dinov3(source: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    _require(source, config, num_channels=3, key_bias=False, proj_bias=True, mlp_bias=True)
    _require(source, config, value_bias=config["query_bias"])
    more: dict[str, Any] = {
        "img_size": config["image_size"],
        "qkv_bias": config["query_bias"],
        "mlp_ratio": _ratio(config["intermediate_size"], config["hidden_size"]),
        "num_reg_tokens": config["num_register_tokens"],
        "rope_temperature": config["rope_theta"],
    }
    if config["use_gated_mlp"]:
        _require(source, config, hidden_act="silu")
        more |= {"swiglu_mlp": True, "swiglu_align_to": 1}
    else:
        _require(source, config, hidden_act="gelu")
    return "vit_small_patch16_dinov3_qkvb", more


def _ratio(hidden: int, dim: int) -> float:
    """Return a ratio of which timm's ``int(dim * ratio)`` is ``hidden`` also after rounding."""
    return (hidden + 0.5) / dim


def _require(source: str, config: Mapping[str, Any], **expected: object) -> None:
    for key, value in expected.items():
        if config[key] != value:
            raise RecipeError(
                f"encoder.name {source!r} has {key} {config[key]!r} in its config.json; "
                f"vfmseg can run {value!r} only"
            )
