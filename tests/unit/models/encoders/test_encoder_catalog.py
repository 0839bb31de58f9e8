"""The catalog against timm: names, sizes, licences, places of weights."""

import subprocess
import sys

import pytest
import timm
from timm.models.eva import Eva

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.catalog import ENCODERS, find, lookup
from vfmseg.models.encoders.native import outline, remove_heads

TIMM = [info for info in ENCODERS.values() if not info.is_huggingface]
SMALL = [info for info in TIMM if info.parameters_m < 100]


def test_catalog__imports_without_torch():
    code = (
        "import sys, vfmseg.models.encoders.catalog; "
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_catalog__weights_exist_in_timm():
    assert {info.timm_name for info in ENCODERS.values()} <= set(timm.list_pretrained())


@pytest.mark.parametrize("info", TIMM, ids=lambda i: i.short)
def test_entry__as_timm_states_it(info):
    config = timm.get_pretrained_cfg(info.timm_name)
    assert info.licence == config.license
    assert info.hub_id == config.hf_hub_id
    assert info.native_size == config.input_size[1] == config.input_size[2]


@pytest.mark.parametrize("info", SMALL, ids=lambda i: i.short)
def test_entry__recomputed(info):
    vit = outline(info.timm_name, {})
    remove_heads(vit)
    assert sum(p.numel() for p in vit.parameters()) / 1e6 == pytest.approx(info.parameters_m, abs=0.05)
    assert (vit.embed_dim, len(vit.blocks)) == (info.embed_dim, info.num_blocks)
    assert vit.patch_embed.patch_size == (info.native_patch,) * 2
    assert vit.patch_embed.img_size == (info.native_size,) * 2


def test_entry__dinov3_has_the_biases_that_transformers_trains():
    biased = [i for i in TIMM if i.family == "DINOv3" and "7b" not in i.short]
    assert all("_qkvb" in i.timm_name for i in biased)
    assert isinstance(outline("vit_small_patch16_dinov3_qkvb.lvd1689m", {}), Eva)


def test_huggingface__same_architecture_another_place():
    info = find("facebook/dinov3-vitb16-pretrain-lvd1689m")
    assert info.is_huggingface
    assert info.gated
    assert info.timm_name == find("dinov3-b").timm_name
    assert not find("dinov3-b").gated
    assert not find("facebook/dinov2-base").gated
    assert info.source == "facebook/dinov3-vitb16-pretrain-lvd1689m on the Hugging Face hub"


def test_find__by_short_and_by_timm_name():
    assert find("dinov2-b") is find("vit_base_patch14_dinov2.lvd142m")
    assert lookup("vit_base_patch16_224") is None


def test_find__unknown_names_the_nearest():
    expected = (
        r"no encoder called 'dinov2-base' in the catalog\. Did you mean .*dinov2-b.*\? "
        r"`vfmseg list encoders` shows all"
    )
    with pytest.raises(RecipeError, match=expected):
        find("dinov2-base")
