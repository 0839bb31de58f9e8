"""EoMT of Hugging Face transformers (DINOv2 and DINOv3) in, our segmenter's tensors out; and back.

``EomtForUniversalSegmentation`` and ``EomtDinov3ForUniversalSegmentation`` hold the same network under other
names: queries, keys and values apart, the table of positions without a batch dimension.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from timm.models.eva import Eva
from torch import Tensor

from vfmseg.errors import WeightsError
from vfmseg.interop.tue_mps import Published
from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.encoders.names import to_timm_names
from vfmseg.models.encoders.vit import VitEncoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.types import LabelSpace

_DECODER: tuple[tuple[str, str], ...] = (
    ("query.weight", "queries"),
    ("class_predictor.", "class_layer."),
    ("mask_head.fc1.", "mask_embedding.0."),
    ("mask_head.fc2.", "mask_embedding.2."),
    ("mask_head.fc3.", "mask_embedding.4."),
    ("upscale_block.block.", "upscale."),
)
_NOT_USED = ("attn_mask_probs", "criterion.empty_weight", "embeddings.mask_token")


def from_transformers(state: Mapping[str, Tensor], segmenter: Segmenter) -> Published:
    """Rename transformers' state dict to the names of ``segmenter``; shapes are checked where it is loaded.

    Args:
        state: of an ``Eomt...ForUniversalSegmentation``.
        segmenter: of the same encoder, with the eomt decoder.

    Raises:
        WeightsError: the segmenter is of another kind.
    """
    encoder, _ = _parts(segmenter)
    tensors: dict[str, Tensor] = {}
    own: dict[str, Tensor] = {}
    not_used = []
    for name, tensor in state.items():
        if name in _NOT_USED or name.startswith("rope_embeddings."):
            not_used.append(name)
            continue
        for theirs, ours in _DECODER:
            if name.startswith(theirs):
                renamed = name.replace(theirs, ours, 1).replace(".layernorm2d.", ".norm.")
                tensors[f"decoder.{renamed}"] = tensor
                break
        else:
            short = name.replace("layers.", "layer.", 1).replace(".attention.out_proj.", ".attention.o_proj.")
            if short == "embeddings.position_embeddings.weight":
                short, tensor = "embeddings.position_embeddings", tensor[None]
            own[short] = tensor
    renamed_encoder, left_out = to_timm_names(own, encoder.vit)
    tensors |= {f"encoder.vit.{name}": tensor for name, tensor in renamed_encoder.items()}
    return Published(tensors, (*not_used, *left_out))


def to_transformers(segmenter: Segmenter) -> dict[str, Tensor]:
    """Return the state dict of transformers' EoMT with the weights of ``segmenter``.

    ``criterion.empty_weight`` and the annealing state, which say nothing of a finished model, are set so that the
    model predicts without masks.

    Raises:
        WeightsError: the segmenter is no EoMT on a DINOv2 or DINOv3, which is all that transformers has.
    """
    encoder, decoder = _parts(segmenter)
    is_dinov3 = isinstance(encoder.vit, Eva)
    state: dict[str, Tensor] = {}
    for name, tensor in encoder.vit.state_dict().items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if block:
            prefix = f"layers.{block[1]}."
            state |= {prefix + n: t for n, t in _block(block[2], tensor, is_dinov3=is_dinov3).items()}
        else:
            state |= _outside(name, tensor, is_dinov3=is_dinov3)
    for name, tensor in decoder.state_dict().items():
        theirs, ours = next((t, o) for t, o in _DECODER if name.startswith(o))
        state[name.replace(ours, theirs, 1).replace(".norm.", ".layernorm2d.")] = tensor
    state["attn_mask_probs"] = torch.zeros(decoder.num_blocks)
    weights = torch.ones(decoder.class_layer.out_features)
    weights[-1] = 0.1  # no-object
    state["criterion.empty_weight"] = weights
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def config_of(segmenter: Segmenter, label_space: LabelSpace) -> dict[str, Any]:
    """Return what transformers' ``config.json`` says of ``segmenter``.

    Args:
        segmenter: as for :func:`to_transformers`.
        label_space: its classes.
    """
    encoder, _ = _parts(segmenter)
    height, width = encoder.image_size
    if height != width:
        raise WeightsError(
            f"transformers' EoMT sees squares, but this model sees {height}x{width} pixels (height x width)"
        )
    is_dinov3 = isinstance(encoder.vit, Eva)
    kind = "EomtDinov3ForUniversalSegmentation" if is_dinov3 else "EomtForUniversalSegmentation"
    return sizes_of(segmenter) | {
        "architectures": [kind],
        "image_size": height,
        "id2label": dict(enumerate(label_space.names)),
        "label2id": {name: number for number, name in enumerate(label_space.names)},
    }


def sizes_of(segmenter: Segmenter) -> dict[str, Any]:
    """Return what ``config.json`` says of the network, whatever size its images have and its classes are called.

    Raises:
        WeightsError: as for :func:`to_transformers`.
    """
    encoder, decoder = _parts(segmenter)
    is_dinov3 = isinstance(encoder.vit, Eva)
    block = encoder.vit.blocks[0]
    hidden = block.mlp.fc2.in_features
    sizes: dict[str, Any] = {
        "model_type": "eomt_dinov3" if is_dinov3 else "eomt",
        "hidden_size": encoder.embed_dim,
        "num_hidden_layers": encoder.num_blocks,
        "num_attention_heads": block.attn.num_heads,
        "patch_size": encoder.patch_size,
        "num_register_tokens": encoder.num_prefix_tokens - 1,
        "num_queries": decoder.num_queries,
        "num_blocks": decoder.num_blocks,
        "num_upscale_blocks": len(decoder.upscale),
        "layer_norm_eps": block.norm1.eps,
    }
    return sizes | (
        {"intermediate_size": hidden} if is_dinov3 else {"mlp_ratio": hidden // encoder.embed_dim}
    )


def _parts(segmenter: Segmenter) -> tuple[VitEncoder, EoMTDecoder]:
    encoder, decoder = segmenter.encoder, segmenter.decoder
    if not isinstance(encoder, VitEncoder) or not isinstance(decoder, EoMTDecoder):
        raise WeightsError(
            f"transformers has EoMT on DINOv2 and DINOv3 only; this is a {type(decoder).__name__} on a "
            f"{type(encoder).__name__}"
        )
    if next(segmenter.tuning_parameters(), None) is not None:
        raise WeightsError(
            f"transformers' EoMT has no place for what tuning {segmenter.tuning.name} has added; lora and soma can be "
            "merged into the encoder first (segmenter.tuning.merge(segmenter.encoder))"
        )
    return encoder, decoder


def _outside(name: str, tensor: Tensor, *, is_dinov3: bool) -> dict[str, Tensor]:
    projection = "embeddings.patch_embeddings." if is_dinov3 else "embeddings.patch_embeddings.projection."
    if name.startswith("patch_embed.proj."):
        return {name.replace("patch_embed.proj.", projection): tensor}
    known = {
        "cls_token": ("embeddings.cls_token", tensor),
        "reg_token": ("embeddings.register_tokens", tensor),
        "pos_embed": ("embeddings.position_embeddings.weight", tensor[0] if tensor.ndim == 3 else tensor),
        "norm.weight": ("layernorm.weight", tensor),
        "norm.bias": ("layernorm.bias", tensor),
    }
    if name not in known:
        raise WeightsError(f"transformers' EoMT has no place for the encoder's {name}")
    return dict([known[name]])


def _block(name: str, tensor: Tensor, *, is_dinov3: bool) -> dict[str, Tensor]:
    if name in ("attn.qkv.weight", "attn.qkv.bias"):
        kind = name.rsplit(".", 1)[1]
        return {f"attention.{p}_proj.{kind}": t for p, t in zip("qkv", tensor.chunk(3), strict=True)}
    bias = re.fullmatch(r"attn\.([qv])_bias", name)
    if bias:
        return {f"attention.{bias[1]}_proj.bias": tensor}
    scale = re.fullmatch(r"(?:ls([12])\.gamma|gamma_([12]))", name)
    if scale:
        return {f"layer_scale{scale[1] or scale[2]}.lambda1": tensor}
    name = name.replace("attn.proj.", "attention.o_proj." if is_dinov3 else "attention.out_proj.")
    if is_dinov3:
        name = name.replace("mlp.fc1.", "mlp.up_proj.").replace("mlp.fc2.", "mlp.down_proj.")
    if not re.fullmatch(r"(attention|mlp|norm[12])\..+", name):
        raise WeightsError(f"transformers' EoMT has no place for the encoder's blocks.*.{name}")
    return {name: tensor}
