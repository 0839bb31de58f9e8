import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.models.decoders.mixing import mix


def parts(dim: int, dtype: torch.dtype = torch.float32) -> tuple[nn.Conv2d, nn.LayerNorm]:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False), nn.LayerNorm(dim)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    return conv.to(dtype), norm.to(dtype)


def by_modules(scaled: Tensor, conv: nn.Conv2d, norm: nn.LayerNorm) -> Tensor:
    normed: Tensor = norm(conv(F.gelu(scaled).permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    return normed


@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (1, 1, 1, 3), (1, 5, 1, 1)])
def test_mix__gradients_are_those_of_small_steps(shape: tuple[int, int, int, int]) -> None:
    conv, norm = parts(shape[3], torch.float64)
    scaled = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def of(scaled: Tensor, *_: Tensor) -> Tensor:
        return mix(scaled, conv, norm)

    assert torch.autograd.gradcheck(of, (scaled, *conv.parameters(), *norm.parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 6, 10, 32), (1, 1, 1, 3), (3, 2, 2, 1)])
def test_mix__equals_its_modules(shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    """Bit for bit forwards, in float32 and under autocast; gradients to the last digits of the precision."""
    conv, norm = parts(shape[3])
    scaled = torch.randn(shape).to(dtype).requires_grad_()
    learned = [scaled, *conv.parameters(), *norm.parameters()]
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        found, expected = mix(scaled, conv, norm), by_modules(scaled, conv, norm)
    assert torch.equal(found, expected)
    weight = torch.randn_like(found)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    for ours, theirs in zip(
        torch.autograd.grad((found * weight).sum(), learned),
        torch.autograd.grad((expected * weight).sum(), learned),
        strict=True,
    ):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_mix__keeps_one_map() -> None:
    """And not the three that autograd would keep of its modules."""
    conv, norm = parts(8)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.shape) or x, lambda x: x):
        mix(torch.randn(1, 4, 4, 8, requires_grad=True), conv, norm)
    assert kept.count(torch.Size([1, 4, 4, 8])) == 1
