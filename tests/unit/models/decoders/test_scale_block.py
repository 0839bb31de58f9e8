import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vfmseg.models.decoders.scale_block import ScaleBlock, Upscaling


def by_convolutions(block: ScaleBlock, grid: Tensor) -> Tensor:
    mixed = block.conv2(F.gelu(block.conv1(grid)))
    normed: Tensor = F.layer_norm(
        mixed.permute(0, 2, 3, 1), (mixed.shape[1],), block.norm.weight, block.norm.bias, 1e-6
    )
    return normed.permute(0, 3, 1, 2)


@pytest.mark.parametrize(("down", "size"), [(False, (12, 20)), (True, (3, 5))])
def test_scale_block__equals_its_convolutions(down: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = ScaleBlock(8, down=down)
    grid = torch.randn(2, 8, 6, 10, requires_grad=True)
    found, expected = block(grid), by_convolutions(block, grid)
    assert found.shape == (2, 8, *size)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)

    weight = torch.randn_like(found)
    learned = [grid, *block.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((found * weight).sum(), learned),
        torch.autograd.grad((expected * weight).sum(), learned),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_scale_block__names_are_those_of_published_weights() -> None:
    names = set(ScaleBlock(4).state_dict())
    assert names == {"conv1.weight", "conv1.bias", "conv2.weight", "norm.weight", "norm.bias"}
    assert set(ScaleBlock(4, down=True).state_dict()) == names


def test_scale_block__halving_an_odd_grid_loses_no_cell() -> None:
    block = ScaleBlock(4, down=True)
    grid = torch.randn(1, 4, 5, 1, requires_grad=True)
    small = block(grid)
    assert small.shape == (1, 4, 3, 1)
    small.square().sum().backward()
    assert grid.grad is not None
    assert grid.grad[0, :, 4].any()


def test_scale_block__stays_channels_last() -> None:
    """As tokens lie in memory, so that neither the norm nor the next block copies."""
    tokens = torch.randn(2, 15, 4)
    grid = tokens.transpose(1, 2).unflatten(2, (3, 5))
    assert ScaleBlock(4)(grid).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("doublings", [1, 2, 3])
def test_upscaling__at_patches_is_its_result_brought_back_to_the_grid(doublings: int) -> None:
    torch.manual_seed(0)
    upscale = Upscaling(*(ScaleBlock(8) for _ in range(doublings)))
    grid = torch.randn(2, 8, 3, 5)
    with torch.no_grad():
        expected = F.interpolate(upscale(grid), (3, 5), mode="bilinear", align_corners=False)
        torch.testing.assert_close(upscale.at_patches(grid), expected, rtol=1e-5, atol=1e-5)


def test_scale_block__halving_has_no_centres() -> None:
    with pytest.raises(TypeError, match="halves"):
        ScaleBlock(4, down=True).centres(torch.randn(1, 4, 2, 2))
