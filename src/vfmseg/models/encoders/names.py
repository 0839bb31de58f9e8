"""Weights under the names of their publisher in, the same weights under timm's names out.

Read are timm's own names, Meta's (DINOv2, DINOv3, SAM), those of transformers (DINOv2, DINOv3) and of
BEiT-3. What has the same meaning is renamed, split or joined; what is left out is returned as such.
"""

from __future__ import annotations

import re
from math import isqrt

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from vfmseg.models.encoders.native import PlainViT

State = dict[str, Tensor]

_HF_LAYER = re.compile(r"(?:encoder\.|model\.)?layer\.(\d+)\.(.+)")
_HF_OUTSIDE = (
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("embeddings.patch_embeddings.", "patch_embed.proj."),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.", ""),
    ("layernorm.", "norm."),
)
_HF_INSIDE = (
    ("attention.attention.query.", "q."),
    ("attention.attention.key.", "k."),
    ("attention.attention.value.", "v."),
    ("attention.output.dense.", "attn.proj."),
    ("attention.q_proj.", "q."),
    ("attention.k_proj.", "k."),
    ("attention.v_proj.", "v."),
    ("attention.o_proj.", "attn.proj."),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("mlp.weights_in.", "mlp.fc1."),
    ("mlp.weights_out.", "mlp.fc2."),
    ("mlp.down_proj.", "mlp.fc2."),
)
_META_MLP = {
    "w12": "fc1",  # DINOv2 packs gate and value into one layer, DINOv3 and EVA have two
    "w1": "fc1_g",
    "w2": "fc1_x",
    "w3": "fc2",
    "lin1": "fc1",
    "lin2": "fc2",
    "ffn_ln": "norm",
}
_BEIT3 = (
    ("vision_embed.cls_token", "cls_token"),
    ("vision_embed.proj.", "patch_embed.proj."),
    ("encoder.embed_positions.A.weight", "pos_embed"),
    ("encoder.layer_norm.A.", "norm."),
    ("encoder.layers.", "blocks."),
    (".self_attn_layer_norm.A.", ".norm1."),
    (".final_layer_norm.A.", ".norm2."),
    (".self_attn.inner_attn_ln.A.", ".attn.norm."),
    (".self_attn.out_proj.A.", ".attn.proj."),
    (".self_attn.q_proj.A.", ".q."),
    (".self_attn.k_proj.A.", ".k."),
    (".self_attn.v_proj.A.", ".v."),
    (".ffn.A.ffn_layernorm.", ".mlp.norm."),
    (".ffn.A.", ".mlp."),
)


def to_timm_names(state: State, vit: PlainViT) -> tuple[State, tuple[str, ...]]:
    """Rename ``state`` (without prefix) to the names of ``vit``.

    Args:
        state: weights under any of the names this module reads; left as it is.
        vit: without head; only its names and layout are looked at, so the meta device will do.

    Returns:
        The weights under timm names, and the names of the publisher that have no counterpart in an image
        encoder (BEiT-3's language experts).
    """
    left_out: tuple[str, ...] = ()
    if any(name.startswith("embeddings.patch_embeddings.") for name in state):
        state = _from_huggingface(state)
    elif "vision_embed.proj.weight" in state:
        state, left_out = _from_beit3(state)
    wanted = set(vit.state_dict())
    state = {_meta_name(name): tensor for name, tensor in state.items()}
    state = _layer_scale_names(state, wanted)
    state = _sub_norm_names(state, wanted)
    state = _biases(state, wanted)
    return _class_position(state, vit), left_out


def _from_huggingface(state: State) -> State:
    """Rename transformers' Dinov2Model, Dinov2WithRegistersModel and DINOv3ViTModel, old and new layouts."""
    renamed: State = {}
    for name, tensor in state.items():
        layer = _HF_LAYER.fullmatch(name)
        if layer:
            renamed[f"blocks.{layer[1]}.{_first_match(layer[2], _HF_INSIDE)}"] = tensor
        else:
            renamed[_first_match(name, _HF_OUTSIDE)] = tensor
    return _join_gated_mlp(_join_qkv(renamed))


def _first_match(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    return next((new + name[len(old) :] for old, new in rules if name.startswith(old)), name)


def _join_qkv(state: State) -> State:
    """Join ``blocks.i.{q,k,v}.*`` to timm's ``blocks.i.attn.qkv.*``; a missing bias counts as zero."""
    joined = {n: t for n, t in state.items() if not re.fullmatch(r"blocks\.\d+\.[qkv]\.(weight|bias)", n)}
    for name in state:
        if name.endswith(".q.weight"):
            block = name[: -len("q.weight")]
            if f"{block}k.weight" not in state or f"{block}v.weight" not in state:
                return state  # a damaged file; its names are reported as they are
            joined[f"{block}attn.qkv.weight"] = torch.cat([state[f"{block}{part}.weight"] for part in "qkv"])
            biases = [state.get(f"{block}{part}.bias") for part in "qkv"]
            known = [b for b in biases if b is not None]
            if known:
                zero = torch.zeros_like(known[0])
                joined[f"{block}attn.qkv.bias"] = torch.cat([zero if b is None else b for b in biases])
    return joined


def _join_gated_mlp(state: State) -> State:
    """Name the gated MLPs of transformers: DINOv2's packed into one layer, DINOv3's as two layers."""
    renamed: State = {}
    packed = "pos_embed" in state  # DINOv3 has no table of positions
    for name, tensor in state.items():
        gate = name.replace(".mlp.up_proj.", ".mlp.gate_proj.")
        if ".mlp.gate_proj." in name:
            if not packed:
                renamed[name.replace(".gate_proj.", ".fc1_g.")] = tensor
        elif ".mlp.up_proj." not in name:
            renamed[name] = tensor
        elif gate not in state:
            renamed[name.replace(".up_proj.", ".fc1.")] = tensor
        elif packed:
            renamed[name.replace(".up_proj.", ".fc1.")] = torch.cat([state[gate], tensor])
        else:
            renamed[name.replace(".up_proj.", ".fc1_x.")] = tensor
    return renamed


def _from_beit3(state: State) -> tuple[State, tuple[str, ...]]:
    """Rename BEiT-3's vision ("A") experts; its position table has two unused rows in front."""
    left_out, renamed = [], {}
    for name, tensor in state.items():
        if ".B." in name or name.startswith("text_embed.") or name == "vision_embed.mask_token":
            left_out.append(name)
            continue
        new = name
        for old, replacement in _BEIT3:
            new = new.replace(old, replacement)
        renamed[new] = tensor[2:][None] if new == "pos_embed" else tensor
    return _join_qkv(renamed), tuple(left_out)


def _meta_name(name: str) -> str:
    """Return timm's name for one of Meta's (DINOv2, DINOv3, SAM) or of EVA."""
    name = re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name)  # DINOv2's chunks of blocks
    if name in ("register_tokens", "storage_tokens"):
        return "reg_token"
    name = re.sub(r"\.mlp\.(\w+)\.", lambda m: f".mlp.{_META_MLP.get(m[1], m[1])}.", name)
    return name.replace(".attn.inner_attn_ln.", ".attn.norm.")


def _layer_scale_names(state: State, wanted: set[str]) -> State:
    """Name layer scales as the encoder does: ``ls1.gamma`` (plain ViT) or ``gamma_1`` (Eva)."""
    if "blocks.0.gamma_1" in wanted:
        return {re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", n): t for n, t in state.items()}
    if "blocks.0.ls1.gamma" in wanted:
        return {re.sub(r"\.gamma_([12])$", r".ls\1.gamma", n): t for n, t in state.items()}
    return state


def _sub_norm_names(state: State, wanted: set[str]) -> State:
    """Name BEiT-3's LayerNorm before the projection as the encoder does: timm's own, or the benchmark's."""
    if "blocks.0.attn.proj.0.weight" in wanted and "blocks.0.attn.norm.weight" in state:
        state = {re.sub(r"\.attn\.proj\.", ".attn.proj.1.", n): t for n, t in state.items()}
        return {re.sub(r"\.attn\.norm\.", ".attn.proj.0.", n): t for n, t in state.items()}
    if "blocks.0.attn.norm.weight" in wanted and "blocks.0.attn.proj.0.weight" in state:
        state = {re.sub(r"\.attn\.proj\.0\.", ".attn.norm.", n): t for n, t in state.items()}
        return {re.sub(r"\.attn\.proj\.1\.", ".attn.proj.", n): t for n, t in state.items()}
    return state


def _biases(state: State, wanted: set[str]) -> State:
    """Split a joint bias of query, key and value for models whose key has none (EVA, DINOv3).

    Meta's DINOv3 multiplies the bias by a mask. A part that is all zero and has no place in the encoder
    changes nothing and goes; one that is not stays under its name, and is reported as not fitting.
    """
    split: State = {}
    for name, tensor in state.items():
        if name.endswith(".attn.qkv.bias_mask"):
            continue
        if not name.endswith(".attn.qkv.bias") or name in wanted:
            split[name] = tensor
            continue
        mask = state.get(f"{name}_mask")
        bias = tensor if mask is None else tensor * mask
        block = name[: -len("qkv.bias")]
        for part, values in zip("qkv", bias.chunk(3), strict=True):
            if f"{block}{part}_bias" in wanted or values.any():
                split[f"{block}{part}_bias"] = values
    return split


def _class_position(state: State, vit: PlainViT) -> State:
    """Fold the class token's position into the token, for models whose positions cover patches only."""
    table, token = state.get("pos_embed"), state.get("cls_token")
    if not isinstance(vit, VisionTransformer) or not vit.no_embed_class or table is None or token is None:
        return state
    rows = table.shape[1]
    if isqrt(rows) ** 2 == rows or isqrt(rows - 1) ** 2 != rows - 1:
        return state
    return {**state, "cls_token": token + table[:, :1], "pos_embed": table[:, 1:]}
