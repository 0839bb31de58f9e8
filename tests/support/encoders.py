"""Tiny encoders of every family, each with the untouched timm model that holds the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import nn

from vfmseg.models.encoders.base import Encoder
from vfmseg.models.encoders.load import build_encoder

_SMALL = {"embed_dim": 32, "depth": 3, "num_heads": 2}
_P16 = {**_SMALL, "img_size": 64}
_P14 = {**_SMALL, "img_size": 56}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_base_patch16_224", _P16),
    "vit_no_class": ("test_vit2", _P16),
    "clip": ("vit_base_patch16_clip_quickgelu_224.openai", _P16),
    "siglip": ("vit_base_patch16_siglip_512.webli", _P16),
    "dinov2": ("vit_base_patch14_dinov2.lvd142m", _P14),
    "dinov2_reg": ("vit_base_patch14_reg4_dinov2.lvd142m", _P14),
    "dinov2_g": ("vit_giant_patch14_dinov2.lvd142m", _P14),
    "deit3": ("deit3_base_patch16_384.fb_in1k", _P16),
    "mae": ("vit_base_patch16_224.mae", _P16),
    "beit3": ("beit3_base_patch16_224.pt", _P16),
    "radio": ("vit_base_patch16_radio_v3.c_radio", _P16),
    "aimv2": ("aimv2_large_patch14_224.apple_pt", _P14),
    "eva": ("eva_giant_patch14_224.clip_ft_in1k", _P14),
    "eva02": ("eva02_base_patch14_224.mim_in22k", _P14),
    "eva02_clip": ("eva02_base_patch16_clip_224.merged2b", _P16),
    "dinov3": ("vit_base_patch16_dinov3.lvd1689m", _P16),
    "dinov3_qkvb": ("vit_base_patch16_dinov3_qkvb.lvd1689m", _P16),
    "dinov3_h": ("vit_huge_plus_patch16_dinov3_qkvb.lvd1689m", _P16),
    "pe_core": ("vit_pe_core_base_patch16_224.fb", _P16),
    "pe_spatial": ("vit_pe_spatial_base_patch16_512.fb", _P16),
    "rope_mixed": ("vit_small_patch16_rope_mixed_ape_224", _P16),
    "parallel": ("vit_base_patch16_xp_224", _P16),
    "sam": ("samvit_base_patch16.sa1b", {**_P16, "window_size": 2, "global_attn_indexes": (1,)}),
}
"""A timm name and tiny sizes, by the word that tests show."""


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Fill all parameters in place so that none is zero or one and every layer changes what it is given."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 1 + 0.2 * noise if parameter.ndim == 1 else 0.2 * noise


def timm_reference(family: str) -> nn.Module:
    """Return timm's own tiny model of ``family`` with randomised weights, in evaluation mode."""
    name, overrides = FAMILIES[family]
    model = timm.create_model(name, pretrained=False, num_classes=0, **overrides)
    randomise(model)
    return model.eval()


def encoder_like(
    family: str, reference: nn.Module, folder: Path, image_size: Any, patch_size: int, **options: Any
) -> Encoder:
    """Return the encoder of ``family`` with the weights of ``reference``, which go through a file."""
    name, overrides = FAMILIES[family]
    file = folder / f"{family}.safetensors"
    save_file({k: v.contiguous() for k, v in reference.state_dict().items()}, file)
    return build_encoder(name, image_size, patch_size, weights=file, overrides=overrides, **options)
