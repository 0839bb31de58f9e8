import math

import pytest
import torch
from torch import Tensor

from vfmseg.errors import RecipeError
from vfmseg.models.decoders.deformable_attention import DeformableAttention, cell_centres, sample_levels

SIZES = [(5, 3), (4, 8), (2, 1)]
NUM_TOKENS = sum(h * w for h, w in SIZES)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def random_samples(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Values, places (some outside the maps) and weights: 2 images, 7 queries, 2 heads of 4, 3 points."""
    values = torch.randn(2, NUM_TOKENS, 2, 4, dtype=dtype)
    locations = torch.rand(2, 7, 2, len(SIZES), 3, 2, dtype=dtype) * 1.6 - 0.3
    weights = torch.rand(2, 7, 2, len(SIZES), 3, dtype=dtype)
    return values, locations, weights


def by_hand(values: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """The definition, one sample and one corner at a time."""
    batch, queries, heads, _, points = weights.shape
    out = torch.zeros(batch, queries, heads, values.shape[3], dtype=values.dtype)
    starts = [0]
    for h, w in SIZES:
        starts.append(starts[-1] + h * w)
    for b, q, m, level, p in torch.cartesian_prod(
        *(torch.arange(n) for n in (batch, queries, heads, len(SIZES), points))
    ).tolist():
        h, w = SIZES[level]
        x = locations[b, q, m, level, p, 0].item() * w - 0.5
        y = locations[b, q, m, level, p, 1].item() * h - 0.5
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < h and 0 <= column < w:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, m, level, p]
                    out[b, q, m] += share * values[b, starts[level] + row * w + column, m]
    return out.flatten(2)


def test_sample_levels__is_the_definition() -> None:
    samples = random_samples()
    torch.testing.assert_close(sample_levels(samples[0], SIZES, *samples[1:]), by_hand(*samples))


def test_sample_levels__gradients() -> None:
    values, locations, weights = random_samples(torch.float64)
    samples = [t.requires_grad_() for t in (values[:1], locations[:1, :2], weights[:1, :2])]
    torch.autograd.gradcheck(lambda v, at, w: sample_levels(v, SIZES, at, w), samples)


def test_attention__starts_by_looking_around() -> None:
    attention = DeformableAttention(16, num_heads=8, num_levels=2, num_points=2)
    offsets = attention.sampling_offsets.bias.detach().view(8, 2, 2, 2)
    around = torch.tensor([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]])
    for level in range(2):
        torch.testing.assert_close(offsets[:, level, 0], around.float(), atol=1e-5, rtol=0)
        torch.testing.assert_close(offsets[:, level, 1], 2 * around.float(), atol=1e-5, rtol=0)
    assert not attention.sampling_offsets.weight.any()
    assert not attention.attention_weights.weight.any()


def test_attention__a_head_that_looks_at_its_own_cell_returns_it() -> None:
    attention = DeformableAttention(8, num_heads=2, num_levels=1, num_points=1)
    with torch.no_grad():
        attention.sampling_offsets.bias.zero_()
        for layer in (attention.value_proj, attention.output_proj):
            layer.weight.copy_(torch.eye(8))
    features = torch.randn(1, 15, 8)
    found = attention(torch.randn(1, 15, 8), cell_centres((5, 3), features), features, [(5, 3)])
    torch.testing.assert_close(found, features)


def test_attention__half_precision_places_are_exact() -> None:
    """In bfloat16 a place in a map of 160 cells would be off by half a cell."""
    attention = DeformableAttention(8, num_heads=2, num_levels=1, num_points=1, value_ratio=0.5)
    queries, features = torch.randn(1, 160, 8), torch.randn(1, 160, 8)
    places = cell_centres((1, 160), features)
    exact = attention(queries, places, features, [(1, 160)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention(queries, places, features, [(1, 160)])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.02)
    found = attention.bfloat16()(queries.bfloat16(), places, features.bfloat16(), [(1, 160)])
    torch.testing.assert_close(found.float(), exact, rtol=0.03, atol=0.03)


def test_attention__values_may_be_narrower() -> None:
    attention = DeformableAttention(16, num_heads=2, num_levels=1, value_ratio=0.5)
    assert attention.value_proj.out_features == attention.output_proj.in_features == 8


def test_attention__refuses_channels_that_do_not_divide() -> None:
    with pytest.raises(
        RecipeError, match=r"8 value channels \(0.5 of 16\) and 3 heads; the channels must be"
    ):
        DeformableAttention(16, num_heads=3, num_levels=1, value_ratio=0.5)


def test_cell_centres__row_by_row_x_before_y() -> None:
    places = cell_centres((2, 4), torch.zeros(1))
    assert places.shape == (8, 2)
    assert places[1].tolist() == [0.375, 0.25]
    assert places[-1].tolist() == [0.875, 0.75]


def test_sample_levels__keeps_no_samples_for_the_backward_pass() -> None:
    values, locations, weights = random_samples()
    inputs = [values.repeat(1, 1, 1, 8), locations.repeat(1, 4, 1, 1, 1, 1), weights.repeat(1, 4, 1, 1, 1)]
    largest = 0

    def kept(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        found = sample_levels(inputs[0].requires_grad_(), SIZES, *(t.requires_grad_() for t in inputs[1:]))
    samples_of_one_level = 2 * 2 * 32 * 28 * 3  # images, heads, channels, queries, points
    assert largest < samples_of_one_level / 2
    found.sum().backward()
    assert all(tensor.grad is not None for tensor in inputs)
