import pytest
import torch
from torch import Tensor, nn

from vfmseg.errors import RecipeError, WeightsError
from vfmseg.models.decoders.mask2former import (
    Mask2FormerDecoder,
    blocked_positions,
    from_published,
    sine_positions,
)


class Encoder(nn.Module):
    """Patches of 8 pixels, embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 10, 8, stride=8)

    def forward_grid(self, pixels: Tensor) -> Tensor:
        grid: Tensor = self.layer(pixels)
        return grid


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def tiny(**changes: int) -> Mask2FormerDecoder:
    sizes = {"num_queries": 7, "num_blocks": 2, "embed_dim": 16, "num_heads": 2, "feedforward_dim": 32}
    return Mask2FormerDecoder(10, 5, **(sizes | changes))


def test_mask2former__published_sizes_by_default() -> None:
    decoder = Mask2FormerDecoder(384, 150)
    assert decoder.query_content.shape == decoder.query_position.shape == (100, 256)
    assert len(decoder.blocks) == 9
    assert decoder.blocks[0].cross_attention.num_heads == 8
    assert decoder.blocks[0].feedforward[0].out_features == 2048
    assert decoder.class_layer.out_features == 151
    assert decoder.kind == "masks"


def test_mask2former__training_predicts_at_every_layer_and_evaluation_at_the_last() -> None:
    encoder, decoder, pixels = Encoder(), tiny(), torch.randn(3, 3, 32, 40)
    every = decoder.train()(encoder, pixels)
    assert len(every) == 3
    for layer in every:
        assert layer.mask_logits.shape == (3, 7, 4, 5)
        assert layer.class_logits.shape == (3, 7, 6)
    (last,) = decoder.eval()(encoder, pixels)
    torch.testing.assert_close(last.mask_logits, every[-1].mask_logits)
    torch.testing.assert_close(last.class_logits, every[-1].class_logits)


def test_mask2former__every_parameter_learns() -> None:
    encoder, decoder = Encoder(), tiny()
    output = decoder.train()(encoder, torch.randn(2, 3, 32, 32))
    sum((layer.mask_logits.square().sum() + layer.class_logits.square().sum()) for layer in output).backward()
    without = [
        name
        for name, parameter in decoder.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    # softmax does not see what all keys have in common
    assert all(name.endswith("attention.key.bias") for name in without)
    assert encoder.layer.weight.grad is not None


def test_mask2former__images_do_not_see_each_other() -> None:
    encoder, decoder, pixels = Encoder(), tiny().eval(), torch.randn(2, 3, 32, 32)
    (both,) = decoder(encoder, pixels)
    (second,) = decoder(encoder, pixels[1:])
    torch.testing.assert_close(both.mask_logits[1:], second.mask_logits)


def test_mask2former__class_layer_is_named() -> None:
    decoder = tiny()
    assert decoder.get_submodule(decoder.class_layer_name) is decoder.class_layer


def test_mask2former__cross_attention_starts_like_one_packed_matrix() -> None:
    block = tiny(embed_dim=64).blocks[0]
    packed = nn.MultiheadAttention(64, 2)
    attention = block.cross_attention
    ours = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]).detach()
    theirs = packed.in_proj_weight.detach()
    torch.testing.assert_close(ours.abs().max(), theirs.abs().max(), rtol=0.01, atol=0)
    torch.testing.assert_close(ours.std(), theirs.std(), rtol=0.05, atol=0)
    for layer in (attention.query, attention.key, attention.value, attention.output):
        assert (layer.bias == 0).all()


def test_blocked_positions__an_empty_mask_blocks_nothing() -> None:
    logits = torch.tensor([[[-1.0, 2.0, 0.0], [-1.0, -2.0, -3.0]]])
    assert blocked_positions(logits).tolist() == [[[True, False, False], [False, False, False]]]


def test_sine_positions__rows_then_columns() -> None:
    table = sine_positions((3, 5), 8, torch.zeros(1)).view(3, 5, 8)
    assert table[1, 0, :4].equal(table[1, 4, :4])  # the first half knows the row alone
    assert table[0, 2, 4:].equal(table[2, 2, 4:])
    torch.testing.assert_close(
        table[2, 4, [0, 1, 4, 5]], torch.tensor([0.0, 1.0, 0.0, 1.0]), atol=1e-5, rtol=0
    )
    assert sine_positions((3, 5), 8, torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("sizes", [{"embed_dim": 18, "num_heads": 2}, {"embed_dim": 16, "num_heads": 3}])
def test_mask2former__refuses_sizes_that_do_not_divide(sizes: dict[str, int]) -> None:
    with pytest.raises(
        RecipeError, match=rf"embed_dim is {sizes['embed_dim']} with num_heads {sizes['num_heads']}; "
    ):
        tiny(**sizes)


def test_from_published__names_every_unknown_tensor() -> None:
    state = {
        "q.weight": torch.zeros(7, 16),
        "encoder.norm.weight": torch.zeros(3),
        "pixel_mean": torch.zeros(3),
    }
    with pytest.raises(
        WeightsError, match=r"2 of 3 names are not .*: encoder.norm.weight, pixel_mean. Known are proj"
    ):
        from_published(state)
