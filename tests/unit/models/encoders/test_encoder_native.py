"""Which timm names become encoders, and why the others do not."""

import pytest
import timm
import torch
from torch import nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.native import add_sub_norms, check_timm_name, outline, remove_heads


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("swin_tiny_patch4_window7_224", "timm builds it as SwinTransformer, not as VisionTransformer"),
        ("convnext_tiny", "timm builds it as ConvNeXt, not as VisionTransformer"),
        ("deit_tiny_distilled_patch16_224", "timm builds it as VisionTransformerDistilled"),
        ("beit_base_patch16_224", "timm builds it as Beit"),
        ("vit_tiny_r_s16_p8_224", "its patches come from HybridEmbed, not from one convolution"),
    ],
)
def test_outline__refuses_what_is_no_plain_vit(name, reason):
    with pytest.raises(RecipeError, match=f"{name!r} is not a plain vision transformer: {reason}"):
        outline(name, {})


def test_outline__refuses_before_it_looks_at_overrides():
    with pytest.raises(
        RecipeError, match=r"'convnext_tiny' is not a plain vision transformer: timm builds it as"
    ):
        outline("convnext_tiny", {"depth": 2})


def test_outline__takes_no_memory():
    vit = outline("vit_7b_patch16_dinov3.lvd1689m", {})
    assert {p.device.type for p in vit.parameters()} == {"meta"}


def test_outline__overrides_that_do_not_fit():
    with pytest.raises(
        RecipeError, match=r"encoder.overrides {'embed_dim': 30, 'num_heads': 4} do not fit vit_tiny"
    ):
        outline("vit_tiny_patch16_224", {"embed_dim": 30, "num_heads": 4})


def test_check_name__unknown_architecture():
    expected = (
        r"encoder.name 'vit_base_patch14_dinov22' is unknown. Did you mean vit_base_patch14_dinov2, .*\? "
        r"`vfmseg list encoders` shows the short names"
    )
    with pytest.raises(RecipeError, match=expected):
        check_timm_name("vit_base_patch14_dinov22")


def test_check_name__unknown_weights():
    expected = (
        r"encoder.name 'vit_base_patch16_clip_224.opennai': timm has no weights 'opennai' of "
        r"vit_base_patch16_clip_224; it has: .*vit_base_patch16_clip_224.openai"
    )
    with pytest.raises(RecipeError, match=expected):
        check_timm_name("vit_base_patch16_clip_224.opennai")


def test_check_name__with_and_without_weights():
    check_timm_name("vit_base_patch16_clip_224.openai")
    check_timm_name("vit_base_patch16_clip_224")


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("vit_base_patch16_siglip_512", "attn_pool.latent"),
        ("eva02_base_patch14_224", "fc_norm.weight"),
        ("samvit_base_patch16", "neck.0.weight"),
        ("vit_pe_core_base_patch16_224", "attn_pool.q.weight"),
    ],
)
def test_remove_heads__says_what_went(name, removed):
    vit = outline(name, {"depth": 1})
    assert removed in remove_heads(vit)
    assert removed not in vit.state_dict()


def test_remove_heads__keeps_the_final_norm():
    vit = outline("vit_base_patch14_dinov2", {"depth": 1})
    assert remove_heads(vit) == ()
    assert "norm.weight" in vit.state_dict()


def test_sub_norms__names_and_epsilons():
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2)
    add_sub_norms(vit)
    assert [type(m) for m in vit.blocks[1].attn.proj] == [nn.LayerNorm, nn.Linear]
    assert vit.blocks[1].attn.proj[0].eps == vit.blocks[1].mlp.norm.eps == 1e-5
    assert vit.blocks[1].norm1.eps == 1e-6
    assert vit.blocks[0].mlp.norm.normalized_shape == (4 * 192,)
    assert vit(torch.zeros(1, 3, 224, 224)).shape == (1, 192)


@pytest.mark.parametrize("name", ["beit3_base_patch16_224", "eva02_base_patch14_224"])
def test_sub_norms__only_for_a_plain_vit(name):
    with pytest.raises(
        RecipeError, match=r"encoder.sub_norm adds BEiT-3's LayerNorms to a plain ViT that has none"
    ):
        add_sub_norms(outline(name, {"depth": 1}))
