import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vfmseg.errors import RecipeError
from vfmseg.models.decoders.masked_transformer import MaskedTransformer

SIZES = [(2, 3), (4, 6), (8, 12)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def tiny(**changes: int) -> MaskedTransformer:
    sizes = {"num_queries": 7, "num_blocks": 4, "embed_dim": 16, "num_heads": 2, "feedforward_dim": 32}
    return MaskedTransformer(5, **(sizes | changes))


def maps(batch: int = 2) -> tuple[list[Tensor], Tensor]:
    return [torch.randn(batch, 16, *size) for size in SIZES], torch.randn(batch, 16, 16, 24)


def test_transformer__training_predicts_at_every_layer_and_evaluation_at_the_last() -> None:
    transformer, (levels, mask_features) = tiny(), maps()
    every = transformer.train()(levels, mask_features)
    assert len(every) == 5
    for layer in every:
        assert layer.mask_logits.shape == (2, 7, 16, 24)
        assert layer.class_logits.shape == (2, 7, 6)
    (last,) = transformer.eval()(levels, mask_features)
    assert last.mask_logits.equal(every[-1].mask_logits)
    assert last.class_logits.equal(every[-1].class_logits)


def test_transformer__blocks_take_the_levels_in_turn() -> None:
    transformer, (levels, mask_features) = tiny(), maps()
    seen: list[int] = []
    for block in transformer.blocks:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[3].shape[1]))
    transformer(levels, mask_features)
    assert seen == [6, 24, 96, 6]


def test_transformer__looks_under_its_own_mask_resized() -> None:
    transformer, (levels, mask_features) = tiny(), maps()
    seen: list[Tensor] = []
    for block in transformer.blocks:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[4]))
    output = transformer.train()(levels, mask_features)
    for i, may_attend in enumerate(seen):
        logits = F.interpolate(
            output[i].mask_logits, size=SIZES[i % 3], mode="bilinear", align_corners=False
        ).flatten(2)
        inside = (logits >= 0) | (logits < 0).all(-1, keepdim=True)
        assert may_attend.equal(inside)


def test_transformer__every_parameter_learns() -> None:
    transformer, (levels, mask_features) = tiny(), maps()
    inputs = [m.requires_grad_() for m in (*levels, mask_features)]
    output = transformer.train()(levels, mask_features)
    sum(layer.mask_logits.square().sum() + layer.class_logits.square().sum() for layer in output).backward()
    without = [n for n, p in transformer.named_parameters() if p.grad is None or not p.grad.any()]
    # softmax does not see what all keys have in common
    assert all(name.endswith("attention.key.bias") for name in without)
    assert all(m.grad is not None and m.grad.any() for m in inputs)


def test_transformer__queries_from_outside() -> None:
    transformer, (levels, mask_features) = tiny().eval(), maps()
    (own,) = transformer(levels, mask_features)
    content, position = transformer.query_content.detach(), transformer.query_position.detach()
    (same,) = transformer(levels, mask_features, queries=content, query_positions=position)
    assert same.mask_logits.equal(own.mask_logits)

    fewer = content[:3].clone().requires_grad_()
    (given,) = transformer(levels, mask_features, queries=fewer, query_positions=position[:3])
    assert given.mask_logits.shape == (2, 3, 16, 24)
    given.mask_logits.sum().backward()
    assert fewer.grad is not None
    assert fewer.grad.any()

    per_image = torch.stack([content, content.flip(0)])
    (each,) = transformer(levels, mask_features, queries=per_image)
    (first,) = transformer(levels, mask_features, queries=content)
    torch.testing.assert_close(each.mask_logits[0], first.mask_logits[0])
    assert not torch.allclose(each.mask_logits[1], first.mask_logits[1])


def test_transformer__one_level_needs_no_embedding() -> None:
    transformer = tiny(num_levels=1)
    assert transformer.level_embedding is None
    output = transformer([torch.randn(1, 16, 4, 6)], torch.randn(1, 16, 16, 24))
    assert output[-1].mask_logits.shape == (1, 7, 16, 24)


def test_transformer__autocast_stays_close() -> None:
    transformer, (levels, mask_features) = tiny().eval(), maps()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = transformer(levels, mask_features)
    assert found.mask_logits.isfinite().all()


def test_transformer__refuses_sizes_that_do_not_divide() -> None:
    with pytest.raises(RecipeError, match="embed_dim is 18 with num_heads 2; embed_dim must be a multiple"):
        tiny(embed_dim=18)
