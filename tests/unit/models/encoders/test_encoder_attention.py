"""The attention that replaces timm's: bit-equal without a mask, exact with one, open to tunings."""

import pytest
import timm
import torch
from timm.layers import Attention
from timm.models.eva import EvaAttention
from torch import nn

from support.encoders import randomise
from vfmseg.models.encoders.attention import QueryMaskedAttention, full_mask, replace_attention, row_mask


def test_masks__patches_are_the_last_keys():
    mask = torch.tensor([[[True, False], [False, False]]])  # 1 image, 2 queries, 2 patches
    assert row_mask(mask, 5)[0, 0].tolist() == [
        [True, True, True, True, False],
        [True, True, True, False, False],
    ]
    whole = full_mask(mask, 5)[0, 0]
    assert whole[:2].tolist() == row_mask(mask, 5)[0, 0].tolist()
    assert whole[2:].all()


def test_replace__same_names_and_parameters():
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2)
    before = dict(vit.named_parameters())
    assert replace_attention(vit.blocks)
    assert {k: id(p) for k, p in vit.named_parameters()} == {k: id(p) for k, p in before.items()}
    assert isinstance(vit.blocks[0].attn, QueryMaskedAttention)


def test_replace__leaves_blocks_that_it_does_not_know():
    vit = timm.create_model("vit_base_patch16_xp_224", num_classes=0, depth=1)
    kind = type(vit.blocks[0])
    assert not replace_attention(vit.blocks)
    assert type(vit.blocks[0]) is kind


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16__autocast_gives_bfloat16(masked):
    attention = QueryMaskedAttention(Attention(32, num_heads=2, qkv_bias=True))
    mask = torch.rand(1, 2, 4) > 0.5 if masked else None
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert attention(torch.randn(1, 7, 32), attn_mask=mask).dtype == torch.bfloat16


class Wrapped(nn.Module):
    """Put a layer around another, as a tuning does."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, tokens):
        return self.inner(tokens) + 1


def test_eva__a_layer_put_in_place_of_qkv_is_called():
    source = EvaAttention(32, num_heads=2, qkv_bias=True, scale_norm=False)
    randomise(source)
    attention = QueryMaskedAttention(source).eval()
    tokens = torch.randn(1, 5, 32)
    with torch.no_grad():
        plain = attention(tokens)
        attention.qkv = Wrapped(attention.qkv)
        shifted = attention(tokens)
        attention.qkv.inner.bias = nn.Parameter(-torch.ones(96))
        torch.testing.assert_close(attention(tokens), plain, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(plain, shifted)


def test_dropout__in_training_only():
    attention = QueryMaskedAttention(Attention(32, num_heads=2, attn_drop=0.9))
    tokens = torch.randn(1, 5, 32)
    mask = torch.ones(1, 2, 3, dtype=torch.bool)
    with torch.no_grad():
        for m in (None, mask):
            assert not torch.allclose(
                attention.train()(tokens, attn_mask=m), attention.eval()(tokens, attn_mask=m)
            )


@pytest.mark.parametrize("gated", [False, True])
def test_grouped_queries_and_gates__as_timm(gated):
    from timm.layers import AttentionRope

    source = AttentionRope(32, num_heads=4, num_kv_heads=2, qkv_fused=False, gated=gated)
    randomise(source)
    tokens = torch.randn(1, 5, 32)
    with torch.no_grad():
        assert torch.equal(QueryMaskedAttention(source)(tokens), source(tokens))
