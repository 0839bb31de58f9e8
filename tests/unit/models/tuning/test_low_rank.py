"""Low-rank layers by themselves; on encoders: tests/contracts/test_tuning_contract.py."""

import pytest
import torch
from torch import nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.tuning.catalog import build_tuning
from vfmseg.models.tuning.low_rank import LowRankLinear, MinorLinear, minor_components


@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (8, 8)])
def test_minor_components__are_those_of_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    up, down = minor_components(weight, 2)
    torch.testing.assert_close(up @ down, left[:, -2:] * values[-2:] @ right[-2:], rtol=1e-4, atol=1e-5)
    assert up.norm() == pytest.approx(down.norm().item(), rel=1e-4)


def test_minor_components__of_a_weight_without_any_stay_finite() -> None:
    up, down = minor_components(torch.ones(4, 4), 2)
    assert up.isfinite().all()
    assert down.isfinite().all()
    torch.testing.assert_close(up @ down, torch.zeros(4, 4), rtol=0, atol=1e-6)
    assert up.any()


def test_minor_linear__starts_as_its_source_and_moves_by_the_update() -> None:
    torch.manual_seed(0)
    source, tokens = nn.Linear(5, 7), torch.randn(3, 5)
    layer = MinorLinear(source, 2)
    torch.testing.assert_close(layer(tokens), source(tokens))
    start = layer.up[0] @ layer.down
    with torch.no_grad():
        layer.up += 1
    expected = source(tokens) + tokens @ (layer.up[0] @ layer.down - start).t()
    torch.testing.assert_close(layer(tokens), expected, rtol=1e-4, atol=1e-5)


def test_low_rank_linear__parts_do_not_reach_into_each_other() -> None:
    torch.manual_seed(0)
    source, tokens = nn.Linear(4, 6), torch.randn(3, 4)
    layer = LowRankLinear(source, 2, parts=3, scale=0.5)
    with torch.no_grad():
        layer.up[1] = torch.randn(2, 2)
    change = layer(tokens) - source(tokens)
    assert not change[:, [0, 1, 4, 5]].any()
    expected = 0.5 * tokens @ (layer.up[1] @ layer.down[2:4]).t()
    torch.testing.assert_close(change[:, 2:4], expected)
    torch.testing.assert_close(layer.merged()(tokens), layer(tokens))


@pytest.mark.parametrize(
    ("options", "message"), [({"rank": 0}, "at least 1"), ({"rank": 500}, "has 24 at most")]
)
def test_lora__a_rank_that_no_layer_has_is_refused(options: dict[str, int], message: str) -> None:
    encoder = build_encoder(
        "vit_tiny_patch16_224",
        (32, 32),
        16,
        weights="random",
        overrides={"embed_dim": 24, "depth": 1, "num_heads": 2},
    )
    with pytest.raises(RecipeError, match=message):
        build_tuning("lora", options).attach(encoder)


def test_lora__layers_and_alpha() -> None:
    def updated(**options: object) -> dict[str, float]:
        encoder = build_encoder(
            "vit_tiny_patch16_224",
            (32, 32),
            16,
            weights="random",
            overrides={"embed_dim": 24, "depth": 1, "num_heads": 2},
        )
        build_tuning("lora", {"rank": 2, **options}).attach(encoder)
        return {
            name: m.scale for name, m in encoder.blocks[0].named_modules() if isinstance(m, LowRankLinear)
        }

    assert updated() == {"attn.qkv": 1.0}
    assert updated(layers="attention", alpha=8) == {"attn.qkv": 4.0, "attn.proj": 4.0}
    assert set(updated(layers="all")) == {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}
