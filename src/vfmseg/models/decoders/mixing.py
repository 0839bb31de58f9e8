"""GELU, depthwise 3x3 convolution and norm of a large map as one operation that keeps one map for its backward pass.

Written out since it is the dearest part of reading masks at the published resolution: autograd would keep three maps a
call, at every supervised layer, of which two are had again for a fraction of what made the first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def mix(scaled: Tensor, conv: nn.Conv2d, norm: nn.LayerNorm) -> Tensor:
    """Return ``norm(conv(gelu(scaled)))`` of a channels-last map, differentiable once.

    Args:
        scaled: (B, H, W, C), in the precision to compute in.
        conv: depthwise, 3x3, padded to keep the size, without bias.
        norm: over the C channels.
    """
    mixed: Tensor = _Mix.apply(scaled, conv.weight, norm.weight, norm.bias, norm.eps)
    return mixed


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scaled: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        mixed = _to_norm(_convolved(F.gelu(scaled), kernel), weight)
        normed, *statistics = torch.native_layer_norm(mixed, mixed.shape[3:], weight, bias, eps)
        ctx.save_for_backward(scaled, kernel, weight, bias, *statistics)
        return normed.to(scaled.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scaled, kernel, weight, bias, *statistics = ctx.saved_tensors
        activated = F.gelu(scaled)
        mixed = _to_norm(_convolved(activated, kernel), weight)
        grad_mixed, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
            grad.to(mixed.dtype), mixed, mixed.shape[3:], *statistics, weight, bias, [True] * 3
        )
        del mixed  # each map makes room for the next
        grad_activated, grad_kernel, _ = torch.ops.aten.convolution_backward(
            grad_mixed.to(scaled.dtype).permute(0, 3, 1, 2),
            activated.permute(0, 3, 1, 2),
            kernel.to(scaled.dtype),
            None,
            *((1, 1), (1, 1), (1, 1)),  # stride, padding, dilation
            False,
            (0, 0),
            len(kernel),
            [True, True, False],
        )
        del activated, grad_mixed
        # laid out as `scaled`: where sizes of 1 let a convolution choose, it may choose another layout
        grad_activated = grad_activated.permute(0, 2, 3, 1).contiguous()
        grad_scaled = torch.ops.aten.gelu_backward(grad_activated, scaled)
        return grad_scaled, grad_kernel.to(kernel.dtype), grad_weight, grad_bias, None


def _convolved(cells: Tensor, kernel: Tensor) -> Tensor:
    """Apply a depthwise ``kernel`` (C, 1, 3, 3) to (B, H, W, C)."""
    maps = F.conv2d(cells.permute(0, 3, 1, 2), kernel.to(cells.dtype), padding=1, groups=len(kernel))
    return maps.permute(0, 2, 3, 1).contiguous()


def _to_norm(mixed: Tensor, weight: Tensor) -> Tensor:
    """Return a map as the norm takes it: a CPU's goes with more precise weights, an accelerator's must be alike."""
    return mixed if mixed.device.type == "cpu" else mixed.to(weight.dtype)
