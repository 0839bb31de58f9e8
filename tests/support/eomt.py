"""What the published EoMT recorded, and a segmenter of ours with its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from vfmseg.interop.tue_mps import from_tue_mps
from vfmseg.models.checkpoint import load_into
from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.basic import FullTuning

GOLDENS = Path(__file__).parents[1] / "goldens"
Golden = dict[str, Tensor]


def read(name: str) -> tuple[dict[str, Any], Golden]:
    with safe_open(GOLDENS / f"{name}.safetensors", "pt") as file:
        return json.loads(file.metadata()["info"]), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def dinov3_folder(info: dict[str, Any], folder: Path) -> str:
    """Write the configuration of a transformers DINOv3, as the hub has it."""
    config = {
        "model_type": "dinov3_vit",
        "num_channels": 3,
        **info["encoder_config_defaults"],
        **info["encoder_kwargs"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    statistics = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    return str(folder)


def build(info: dict[str, Any], state: Golden, folder: Path, rand: list[Tensor], **options: Any) -> Segmenter:
    size = tuple(info.get("img_size", info["encoder_kwargs"].get("img_size")))
    if "DINOv3" in info["encoder_name"]:
        encoder = build_encoder(dinov3_folder(info, folder), size, 16, weights="random", **options)
    else:
        sizes = {k: v for k, v in info["encoder_kwargs"].items() if k in ("depth", "embed_dim", "num_heads")}
        encoder = build_encoder(info["encoder_name"], size, 16, weights="random", overrides=sizes)
    for name in ("mean", "std"):  # the published program has ImageNet's for every encoder
        getattr(encoder, name).copy_(state[f"encoder.pixel_{name}"].view(3, 1, 1))
    decoder = EoMTDecoder(
        encoder.embed_dim,
        info["num_classes"],
        16,
        num_queries=info["num_q"],
        num_blocks=info["num_blocks"],
        draw=lambda shape: rand.pop(0),
    )
    segmenter = Segmenter(encoder, FullTuning(), decoder)
    load_into(segmenter, from_tue_mps(state, segmenter).tensors, source="golden")
    return segmenter


def part(golden: Golden, prefix: str) -> Golden:
    return {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}


def in_order(tensors: Golden) -> list[Tensor]:
    return [tensors[k] for k in sorted(tensors, key=int)]


SEPARATE = ("q_proj", "k_proj", "v_proj")


def our_name(name: str) -> str:
    """Return what an encoder parameter of the published program (without ``encoder.backbone.``) is called here."""
    block, _, tail = name.partition(".attention.")
    if tail and tail.split(".")[0] in SEPARATE:  # transformers' separate projections are one layer here
        which, kind = tail.split(".")
        return f"encoder.vit.{block}.attn." + ("qkv.weight" if kind == "weight" else f"{which[0]}_bias")
    for old, new in (
        (".attention.o_proj", ".attn.proj"),
        ("layer_scale1.lambda1", "gamma_1"),
        ("layer_scale2.lambda1", "gamma_2"),
        ("mlp.up_proj", "mlp.fc1"),
        ("mlp.down_proj", "mlp.fc2"),
        ("patch_embed.cls_token", "cls_token"),
        ("patch_embed.register_tokens", "reg_token"),
        ("patch_embed.patch_embeddings.", "patch_embed.proj."),
    ):
        name = name.replace(old, new)
    return f"encoder.vit.{name}"
