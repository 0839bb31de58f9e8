"""Which vision foundation models have a short name, and what is known of each. Imports no torch.

Parameters are those of the encoder as vfmseg runs it, at its native size, without head or neck; licences are
those that timm states for the weights, with the original's where it differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vfmseg.errors import RecipeError, nearest

_UNNORMED = "features have no final norm"
_DINOV3 = "DINOv3 License: read its terms before use; timm's copy asks for no access request, Meta's own does"


@dataclass(frozen=True)
class EncoderInfo:
    """What can be known of an encoder without building it."""

    short: str
    """The word in a recipe: a short name, or an id of the Hugging Face hub."""
    timm_name: str
    """The architecture and weights in timm."""
    family: str
    """The paper's name of the model."""
    parameters_m: float
    """Millions of parameters."""
    embed_dim: int
    num_blocks: int
    native_size: int
    """Native size in pixels a side."""
    native_patch: int
    """Native patch in pixels a side."""
    licence: str
    """Of the weights."""
    hub_id: str
    """The repository of the Hugging Face hub that holds the weights."""
    gated: bool = False
    """Whether the hub asks for an accepted licence and a login."""
    note: str = ""
    """What to know before choosing it."""

    @property
    def is_huggingface(self) -> bool:
        """Whether the weights are in the format of transformers, not timm's."""
        return self.short == self.hub_id

    @property
    def source(self) -> str:
        """Where the weights come from, for a person."""
        return f"{self.hub_id} on the Hugging Face hub"


def _of_timm(
    family: str, licence: str, *rows: tuple[str, str, float, int, int, int, int], note: str = ""
) -> list[EncoderInfo]:
    """Return entries of one family; a row is short name, timm name, parameters, C, blocks, image, patch."""
    return [
        EncoderInfo(
            short, timm_name, family, millions, dim, depth, image, patch, licence,
            # OpenAI's and Apple's QuickGELU variants share the files of the plain ones.
            hub_id=f"timm/{timm_name.replace('_quickgelu', '')}",
            note=note,
        )
        for short, timm_name, millions, dim, depth, image, patch in rows
    ]  # fmt: skip


# fmt: off
_TIMM = [
    *_of_timm(
        "DINOv2", "apache-2.0",
        ("dinov2-s", "vit_small_patch14_dinov2.lvd142m", 22.1, 384, 12, 518, 14),
        ("dinov2-b", "vit_base_patch14_dinov2.lvd142m", 86.6, 768, 12, 518, 14),
        ("dinov2-l", "vit_large_patch14_dinov2.lvd142m", 304.4, 1024, 24, 518, 14),
        ("dinov2-g", "vit_giant_patch14_dinov2.lvd142m", 1136.5, 1536, 40, 518, 14),
    ),
    *_of_timm(
        "DINOv2", "apache-2.0",
        ("dinov2-reg-s", "vit_small_patch14_reg4_dinov2.lvd142m", 22.1, 384, 12, 518, 14),
        ("dinov2-reg-b", "vit_base_patch14_reg4_dinov2.lvd142m", 86.6, 768, 12, 518, 14),
        ("dinov2-reg-l", "vit_large_patch14_reg4_dinov2.lvd142m", 304.4, 1024, 24, 518, 14),
        ("dinov2-reg-g", "vit_giant_patch14_reg4_dinov2.lvd142m", 1136.5, 1536, 40, 518, 14),
        note="with registers; EoMT's choice",
    ),
    *_of_timm(
        "DINOv3", "dinov3-license",
        ("dinov3-s", "vit_small_patch16_dinov3_qkvb.lvd1689m", 21.6, 384, 12, 256, 16),
        ("dinov3-s+", "vit_small_plus_patch16_dinov3_qkvb.lvd1689m", 28.7, 384, 12, 256, 16),
        ("dinov3-b", "vit_base_patch16_dinov3_qkvb.lvd1689m", 85.7, 768, 12, 256, 16),
        ("dinov3-l", "vit_large_patch16_dinov3_qkvb.lvd1689m", 303.1, 1024, 24, 256, 16),
        ("dinov3-h+", "vit_huge_plus_patch16_dinov3_qkvb.lvd1689m", 840.6, 1280, 32, 256, 16),
        ("dinov3-7b", "vit_7b_patch16_dinov3.lvd1689m", 6716.0, 4096, 40, 256, 16),
        note=_DINOV3,
    ),
    *_of_timm(
        "DINOv3", "dinov3-license",
        ("dinov3-sat-l", "vit_large_patch16_dinov3_qkvb.sat493m", 303.1, 1024, 24, 256, 16),
        ("dinov3-sat-7b", "vit_7b_patch16_dinov3.sat493m", 6716.0, 4096, 40, 256, 16),
        note=f"satellite images; {_DINOV3}",
    ),
    *_of_timm(
        "EVA-02", "mit",
        ("eva02-t", "eva02_tiny_patch14_224.mim_in22k", 5.5, 192, 12, 224, 14),
        ("eva02-s", "eva02_small_patch14_224.mim_in22k", 21.6, 384, 12, 224, 14),
        ("eva02-b", "eva02_base_patch14_224.mim_in22k", 85.8, 768, 12, 224, 14),
        ("eva02-l", "eva02_large_patch14_224.mim_m38m", 303.3, 1024, 24, 224, 14),
        note=f"{_UNNORMED}; loses accuracy under torch.compile",
    ),
    *_of_timm(
        "EVA-02-CLIP", "mit",
        ("eva02-clip-b", "eva02_base_patch16_clip_224.merged2b", 85.9, 768, 12, 224, 16),
        ("eva02-clip-l", "eva02_large_patch14_clip_336.merged2b", 303.6, 1024, 24, 336, 14),
        note="loses accuracy under torch.compile",
    ),
    *_of_timm(
        "BEiT-3", "apache-2.0",
        ("beit3-b", "beit3_base_patch16_224.pt", 85.9, 768, 12, 224, 16),
        ("beit3-l", "beit3_large_patch16_224.pt", 303.5, 1024, 24, 224, 16),
        note=f"{_UNNORMED}; normed as in the benchmark: vit_base_patch16_224, sub_norm, the official file; "
        "the original is MIT",
    ),
    *_of_timm(
        "SigLIP", "apache-2.0",
        ("siglip-b", "vit_base_patch16_siglip_512.webli", 86.4, 768, 12, 512, 16),
        ("siglip-l", "vit_large_patch16_siglip_384.webli", 303.7, 1024, 24, 384, 16),
        ("siglip-so400m", "vit_so400m_patch14_siglip_378.webli", 413.0, 1152, 27, 378, 14),
    ),
    *_of_timm(
        "SigLIP 2", "apache-2.0",
        ("siglip2-b", "vit_base_patch16_siglip_512.v2_webli", 86.4, 768, 12, 512, 16),
        ("siglip2-l", "vit_large_patch16_siglip_512.v2_webli", 304.1, 1024, 24, 512, 16),
        ("siglip2-so400m", "vit_so400m_patch16_siglip_512.v2_webli", 413.5, 1152, 27, 512, 16),
    ),
    *_of_timm(
        "DFN-CLIP", "apple-ascl",
        ("dfn-clip-b", "vit_base_patch16_clip_224.dfn2b", 85.8, 768, 12, 224, 16),
        ("dfn-clip-l", "vit_large_patch14_clip_quickgelu_224.dfn2b", 303.2, 1024, 24, 224, 14),
        ("dfn-clip-h", "vit_huge_patch14_clip_quickgelu_224.dfn5b", 630.8, 1280, 32, 224, 14),
        note="l and h with the QuickGELU they were trained with; the benchmark ran l without",
    ),
    *_of_timm(
        "CLIP", "apache-2.0",
        ("clip-b", "vit_base_patch16_clip_quickgelu_224.openai", 85.8, 768, 12, 224, 16),
        ("clip-l", "vit_large_patch14_clip_quickgelu_336.openai", 303.5, 1024, 24, 336, 14),
        note="OpenAI's, with the QuickGELU they were trained with; the original is MIT",
    ),
    *_of_timm(
        "DeiT III", "apache-2.0",
        ("deit3-s", "deit3_small_patch16_384.fb_in22k_ft_in1k", 21.8, 384, 12, 384, 16),
        ("deit3-b", "deit3_base_patch16_384.fb_in22k_ft_in1k", 86.1, 768, 12, 384, 16),
        ("deit3-l", "deit3_large_patch16_384.fb_in22k_ft_in1k", 303.7, 1024, 24, 384, 16),
        ("deit3-h", "deit3_huge_patch14_224.fb_in22k_ft_in1k", 630.8, 1280, 32, 224, 14),
        note="supervised on ImageNet-21k, then 1k",
    ),
    *_of_timm(
        "DeiT III", "apache-2.0",
        ("deit3-in1k-s", "deit3_small_patch16_384.fb_in1k", 21.8, 384, 12, 384, 16),
        ("deit3-in1k-b", "deit3_base_patch16_384.fb_in1k", 86.1, 768, 12, 384, 16),
        ("deit3-in1k-l", "deit3_large_patch16_384.fb_in1k", 303.7, 1024, 24, 384, 16),
        ("deit3-in1k-h", "deit3_huge_patch14_224.fb_in1k", 630.8, 1280, 32, 224, 14),
        note="supervised on ImageNet-1k alone",
    ),
    *_of_timm(
        "MAE", "cc-by-nc-4.0",
        ("mae-b", "vit_base_patch16_224.mae", 85.8, 768, 12, 224, 16),
        ("mae-l", "vit_large_patch16_224.mae", 303.3, 1024, 24, 224, 16),
        ("mae-h", "vit_huge_patch14_224.mae", 630.8, 1280, 32, 224, 14),
        note="not for commercial use",
    ),
    *_of_timm(
        "SAM", "apache-2.0",
        ("sam-b", "samvit_base_patch16.sa1b", 88.9, 768, 12, 1024, 16),
        ("sam-l", "samvit_large_patch16.sa1b", 307.4, 1024, 24, 1024, 16),
        ("sam-h", "samvit_huge_patch16.sa1b", 636.1, 1280, 32, 1024, 16),
        note=f"{_UNNORMED}; the longer side a multiple of 32 patches; no queries among its tokens",
    ),
    *_of_timm(
        "PE", "apache-2.0",
        ("pe-core-t", "vit_pe_core_tiny_patch16_384.fb", 5.6, 192, 12, 384, 16),
        ("pe-core-s", "vit_pe_core_small_patch16_384.fb", 21.8, 384, 12, 384, 16),
        ("pe-core-b", "vit_pe_core_base_patch16_224.fb", 85.8, 768, 12, 224, 16),
        ("pe-core-l", "vit_pe_core_large_patch14_336.fb", 303.5, 1024, 24, 336, 14),
        ("pe-core-g", "vit_pe_core_gigantic_patch14_448.fb", 1851.7, 1536, 50, 448, 14),
    ),
    *_of_timm(
        "PE", "apache-2.0",
        ("pe-spatial-t", "vit_pe_spatial_tiny_patch16_512.fb", 5.7, 192, 12, 512, 16),
        ("pe-spatial-s", "vit_pe_spatial_small_patch16_512.fb", 22.0, 384, 12, 512, 16),
        ("pe-spatial-b", "vit_pe_spatial_base_patch16_512.fb", 86.4, 768, 12, 512, 16),
        ("pe-spatial-l", "vit_pe_spatial_large_patch14_448.fb", 304.0, 1024, 24, 448, 14),
        ("pe-spatial-g", "vit_pe_spatial_gigantic_patch14_448.fb", 1851.9, 1536, 50, 448, 14),
        note=f"tuned for dense tasks; {_UNNORMED}",
    ),
    *_of_timm(
        "AIMv2", "apple-ascl",
        ("aimv2-l", "aimv2_large_patch14_224.apple_pt", 309.2, 1024, 24, 224, 14),
        ("aimv2-h", "aimv2_huge_patch14_224.apple_pt", 680.9, 1536, 24, 224, 14),
        ("aimv2-1b", "aimv2_1b_patch14_224.apple_pt", 1235.0, 2048, 24, 224, 14),
        ("aimv2-3b", "aimv2_3b_patch14_224.apple_pt", 2720.7, 3072, 24, 224, 14),
    ),
    *_of_timm(
        "C-RADIO", "nvidia-open-model-license",
        ("radio-b", "vit_base_patch16_radio_v3.c_radio", 86.5, 768, 12, 512, 16),
        ("radio-l", "vit_large_patch16_radio_v3.c_radio", 304.2, 1024, 24, 512, 16),
        ("radio-h", "vit_huge_patch16_radio_v3.c_radio", 632.0, 1280, 32, 512, 16),
        ("radio-g", "vit_giant_patch16_radio_v3.c_radio", 1136.0, 1536, 40, 512, 16),
        note=f"version 3; {_UNNORMED}; positions from timm's 32x32 table, not the original 128x128",
    ),
    *_of_timm(
        "C-RADIO", "nvidia-open-model-license",
        ("radio4-so400m", "vit_so400m_patch16_radio_v4.c_radio", 413.5, 1152, 27, 512, 16),
        ("radio4-h", "vit_huge_patch16_radio_v4.c_radio", 632.0, 1280, 32, 512, 16),
        note=f"version 4; {_UNNORMED}; positions from timm's 32x32 table, not the original 128x128",
    ),
    *_of_timm(
        "ViT", "apache-2.0",
        ("vit-t", "vit_tiny_patch16_224.augreg_in21k_ft_in1k", 5.5, 192, 12, 224, 16),
        ("vit-s", "vit_small_patch16_224.augreg_in21k_ft_in1k", 21.7, 384, 12, 224, 16),
        ("vit-b", "vit_base_patch16_224.augreg_in21k", 85.8, 768, 12, 224, 16),
        ("vit-l", "vit_large_patch16_224.augreg_in21k", 303.3, 1024, 24, 224, 16),
        note="supervised on ImageNet-21k; the yardstick",
    ),
    *_of_timm(
        "ViT", "apache-2.0",
        ("vit-test", "test_vit.r160_in1k", 0.3, 64, 6, 160, 16),
        note="tiny, for demos and tests",
    ),
]
# fmt: on


def _of_huggingface(rows: dict[str, str], note: str, *, gated: bool = False) -> list[EncoderInfo]:
    """Return entries for ids of the hub; ``rows`` gives the short name that is the same model."""
    same = {info.short: info for info in _TIMM}
    return [replace(same[s], short=i, hub_id=i, gated=gated, note=f"{s} {note}") for i, s in rows.items()]


_HUGGINGFACE = [
    *_of_huggingface(
        {
            "facebook/dinov2-small": "dinov2-s",
            "facebook/dinov2-base": "dinov2-b",
            "facebook/dinov2-large": "dinov2-l",
            "facebook/dinov2-giant": "dinov2-g",
            "facebook/dinov2-with-registers-small": "dinov2-reg-s",
            "facebook/dinov2-with-registers-base": "dinov2-reg-b",
            "facebook/dinov2-with-registers-large": "dinov2-reg-l",
            "facebook/dinov2-with-registers-giant": "dinov2-reg-g",
        },
        "from Meta's own repository",
    ),
    *_of_huggingface(
        {
            "facebook/dinov3-vits16-pretrain-lvd1689m": "dinov3-s",
            "facebook/dinov3-vits16plus-pretrain-lvd1689m": "dinov3-s+",
            "facebook/dinov3-vitb16-pretrain-lvd1689m": "dinov3-b",
            "facebook/dinov3-vitl16-pretrain-lvd1689m": "dinov3-l",
            "facebook/dinov3-vith16plus-pretrain-lvd1689m": "dinov3-h+",
            "facebook/dinov3-vit7b16-pretrain-lvd1689m": "dinov3-7b",
            "facebook/dinov3-vitl16-pretrain-sat493m": "dinov3-sat-l",
            "facebook/dinov3-vit7b16-pretrain-sat493m": "dinov3-sat-7b",
        },
        "from Meta's own repository, after Meta granted access; DINOv3 License",
        gated=True,
    ),
]

ENCODERS: dict[str, EncoderInfo] = {info.short: info for info in (*_TIMM, *_HUGGINGFACE)}
"""By the word in a recipe, in the order of families."""


def lookup(name: str) -> EncoderInfo | None:
    """Return what is known of ``name``: a short name, a hub id, or a timm name with its tag; else None."""
    if name in ENCODERS:
        return ENCODERS[name]
    return next((info for info in _TIMM if info.timm_name == name), None)


def find(name: str) -> EncoderInfo:
    """Return what is known of ``name``.

    Raises:
        RecipeError: the catalog does not hold it; names the nearest that it holds.
    """
    info = lookup(name)
    if info is None:
        known = [*ENCODERS, *(i.timm_name for i in _TIMM)]
        raise RecipeError(
            f"no encoder called {name!r} in the catalog.{nearest(name, known)} "
            "`vfmseg list encoders` shows all"
        )
    return info
