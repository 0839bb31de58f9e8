"""A module in, the numbers that describe its size and its cost out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from vfmseg.models.encoders.base import Encoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.types import Output, PixelLogits


@dataclass(frozen=True)
class ParameterCount:
    """How many numbers a model holds and how many of them learn."""

    total: int
    trainable: int


def count_parameters(module: nn.Module) -> ParameterCount:
    """Count each parameter once, shared ones too."""
    parameters = list(module.parameters())
    return ParameterCount(
        sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
    )


@torch.no_grad()
def count_gflops(segmenter: Segmenter) -> float:
    """Count what inference on one image of the segmenter's ``image_size`` costs, in 10^9 multiply-adds.

    A multiply-add is one operation, as papers on vision models count (fvcore's convention). Counted are the matrix
    products, attention's included, and the convolutions that the segmenter carries out, and the product that makes
    the masks of all queries. Norms, activations, resizing and sampling are not.
    An image that is seen through several windows costs as much once per window.

    Nothing is computed: shapes alone go through the segmenter, on the meta device, wherever its weights are. It is
    left as it was.
    """
    tensors = [*segmenter.named_parameters(), *segmenter.named_buffers()]
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    images = torch.empty(1, 3, *segmenter.image_size, dtype=torch.uint8, device="meta")
    learning = [module for module in segmenter.modules() if module.training]
    segmenter.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            _logits(functional_call(segmenter, shapes, (images,)))
    finally:
        for module in learning:
            module.training = True
    return float(counter.get_total_flops()) / 2e9  # torch counts a multiply-add as two


@torch.no_grad()
def count_encoder_gflops(encoder: Encoder) -> float:
    """Count what an encoder costs on one image, in 10^9 multiply-adds, with what a tuning has put into it.

    Blocks with parameters of equal shapes cost the same, so each kind is run once: a tenth of the time that
    :func:`count_gflops` takes. The encoder is on the meta device, and stays as it was.
    """
    learning = [module for module in encoder.modules() if module.training]
    encoder.eval()
    pixels = torch.empty(1, 3, *encoder.image_size, device="meta")
    of_kind: dict[tuple[torch.Size, ...], int] = {}
    try:
        with FlopCounterMode(display=False) as counter:
            tokens = encoder.embed(pixels)
        total = counter.get_total_flops()
        for index, block in enumerate(encoder.blocks):
            kind = tuple(parameter.shape for parameter in block.parameters())
            if kind not in of_kind:
                with FlopCounterMode(display=False) as counter:
                    encoder.run_blocks(tokens, index, index + 1)
                of_kind[kind] = counter.get_total_flops()
            total += of_kind[kind]
    finally:
        for module in learning:
            module.training = True
    return float(total) / 2e9


def _logits(output: Output) -> Tensor:
    """Return the final logits; masks that come as factors are multiplied out."""
    return output.logits if isinstance(output, PixelLogits) else output[-1].mask_logits
