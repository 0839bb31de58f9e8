"""A timm name in, the plain vision transformer behind it out: at its own size, without head.

Everything that is no plain vision transformer is refused before anything is downloaded, and with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import timm
import torch
from timm.layers import (
    Attention,
    Mlp,
    PatchEmbed,
    RotaryEmbeddingCat,
    RotaryEmbeddingDinoV3,
    RotaryEmbeddingMixed,
)
from timm.models import get_arch_pretrained_cfgs, split_model_name_tag
from timm.models.eva import Eva
from timm.models.vision_transformer import Block, VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from vfmseg.errors import RecipeError, nearest
from vfmseg.models.encoders.catalog import ENCODERS

PlainViT: TypeAlias = VisionTransformer | Eva | VisionTransformerSAM

OVERRIDES = (
    "embed_dim",
    "depth",
    "num_heads",
    "mlp_ratio",
    "img_size",
    "patch_size",
    "window_size",
    "global_attn_indexes",
)
"""What ``encoder.overrides`` may change."""

_ROPES = (RotaryEmbeddingCat, RotaryEmbeddingDinoV3, RotaryEmbeddingMixed)


def check_timm_name(name: str) -> None:
    """Check that timm knows ``name``, with or without a ``.tag`` that says which weights.

    Raises:
        RecipeError: no such architecture, or no such weights; names the nearest.
    """
    architecture, tag = split_model_name_tag(name)
    if not timm.is_model(architecture):
        known = [*ENCODERS, *timm.list_models(module="vision_transformer"), *timm.list_models(module="eva")]
        raise RecipeError(
            f"encoder.name {name!r} is unknown.{nearest(name, known)} `vfmseg list encoders` shows the short "
            "names; any plain ViT of timm goes by its timm name, a DINOv2 or DINOv3 of the Hugging Face hub "
            "by its id (facebook/dinov2-base)"
        )
    if tag and name not in get_arch_pretrained_cfgs(architecture):
        offered = ", ".join(n for n in get_arch_pretrained_cfgs(architecture) if "." in n) or "none"
        raise RecipeError(
            f"encoder.name {name!r}: timm has no weights {tag!r} of {architecture}; it has: {offered}"
        )


def outline(name: str, overrides: Mapping[str, Any]) -> PlainViT:
    """Build ``name`` on the meta device: all shapes, no memory, no weights.

    Raises:
        RecipeError: ``name`` is no plain vision transformer, or ``overrides`` do not fit it.
    """
    try:
        with torch.device("meta"):
            vit = timm.create_model(name, pretrained=False, num_classes=0, **overrides)
    except (TypeError, AssertionError, ValueError, ZeroDivisionError) as error:
        if overrides:
            outline(name, {})  # what is no plain ViT has other sizes to override; that is said first
        raise RecipeError(f"encoder.overrides {dict(overrides)} do not fit {name}: {error}") from error
    reason = _why_not_plain(vit)
    if reason:
        raise RecipeError(
            f"encoder.name {name!r} is not a plain vision transformer: {reason}. vfmseg needs one grid of "
            "patch tokens through all blocks; `vfmseg list encoders` shows what it knows"
        )
    return vit


def create(name: str, arguments: Mapping[str, Any], like: PlainViT, *, pretrained: bool = False) -> PlainViT:
    """Build ``name`` at its own size with random or, if ``pretrained``, its published weights.

    Args:
        name: a timm name.
        arguments: of the timm constructor.
        like: the outline of ``name``; says which class it is.
        pretrained: fetch the weights from the hub, or its cache.
    """
    if not isinstance(like, VisionTransformerSAM):
        # A fixed size keeps patches as tokens, and rotary tables as buffers instead of made at each call.
        arguments = {**arguments, "dynamic_img_size": False}
    return timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)


def remove_heads(vit: PlainViT) -> tuple[str, ...]:
    """Remove what stands after the features (head, pooling, SAM's neck) in place; return what was removed."""
    before = set(vit.state_dict())
    vit.head = nn.Identity()
    if isinstance(vit, VisionTransformerSAM):
        vit.neck = nn.Identity()
    else:
        vit.attn_pool = None
        vit.fc_norm = nn.Identity()
    return tuple(sorted(before - set(vit.state_dict())))


def add_sub_norms(vit: PlainViT) -> None:
    """Put BEiT-3's extra LayerNorms into a plain ViT in place, as the benchmark does (arXiv 2404.12172).

    One stands before each attention projection (``attn.proj.0``; the projection becomes ``attn.proj.1``), one
    before each second layer of the MLP (``mlp.norm``); their epsilon is 1e-5, that of the ViT stays.

    Raises:
        RecipeError: ``vit`` is not built of timm's plain blocks, or has these norms already.
    """
    make = partial(nn.LayerNorm, eps=1e-5)
    for block in vit.blocks:
        plain = type(block) is Block and type(block.attn) is Attention and type(block.mlp) is Mlp
        if not plain or not isinstance(block.mlp.norm, nn.Identity):
            raise RecipeError(
                "encoder.sub_norm adds BEiT-3's LayerNorms to a plain ViT that has none "
                "(encoder.name vit_base_patch16_224); this encoder needs or takes none. "
                "For timm's own BEiT-3 set encoder.name beit3-b and encoder.sub_norm false"
            )
        block.attn.proj = nn.Sequential(make(block.attn.proj.in_features), block.attn.proj)
        block.mlp.norm = make(block.mlp.fc2.in_features)


def _why_not_plain(model: PlainViT) -> str:
    """Return what keeps ``model`` from being an Encoder, or an empty string."""
    kind = type(model)
    if kind not in (VisionTransformer, Eva, VisionTransformerSAM):
        return f"timm builds it as {kind.__name__}, not as VisionTransformer, Eva or VisionTransformerSAM"
    if type(model.patch_embed) is not PatchEmbed:
        return f"its patches come from {type(model.patch_embed).__name__}, not from one convolution"
    if len(set(model.patch_embed.patch_size)) != 1:
        return f"its patches are {model.patch_embed.patch_size} pixels, not square"
    if isinstance(model, Eva) and model.rope is not None and type(model.rope) not in _ROPES:
        return f"its rotary positions are {type(model.rope).__name__}"
    if isinstance(model, VisionTransformerSAM) and model.rope_global is not None:
        return "its windows have rotary positions"
    return ""
