"""A model in, the parameters of its normalisation layers out: told by the layer's type, never by a name."""

from __future__ import annotations

from collections.abc import Iterator

from timm.layers import RmsNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, RmsNorm, _BatchNorm)


def norm_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield weight and bias of every normalisation layer inside ``model``."""
    for module in model.modules():
        if isinstance(module, _NORMS):
            yield from module.parameters(recurse=False)
