"""AdaptFormer: a small bottleneck beside the feed-forward layer of every block (arXiv 2205.13535)."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.tuning.base import Tuning


class AdaptFormerTuning(Tuning):
    """Train a bottleneck of every block that sees what its feed-forward layer sees, before the norm.

    Args:
        bottleneck: channels between the two layers.
        scale: factor of what the bottleneck adds; the paper's 0.1.
    """

    name = "adaptformer"

    def __init__(self, *, bottleneck: int = 64, scale: float = 0.1) -> None:
        super().__init__()
        if bottleneck < 1:
            raise RecipeError(
                f"tuning adaptformer has bottleneck {bottleneck}; at least 1 is needed. Published: 64."
            )
        self.bottleneck, self.scale = bottleneck, scale

    def attach(self, encoder: Encoder) -> None:
        """Freeze ``encoder`` and put a bottleneck beside each feed-forward layer.

        Raises:
            RecipeError: the encoder's blocks are built in a way in which there is no such place.
        """
        encoder.requires_grad_(False)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self._seen: dict[int, Tensor] = {}
        for index, block in enumerate(encoder.blocks):
            down = nn.Linear(encoder.embed_dim, self.bottleneck)
            up = nn.Linear(self.bottleneck, encoder.embed_dim)
            nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
            for zeroed in (down.bias, up.weight, up.bias):
                nn.init.zeros_(zeroed)
            self.down.append(down), self.up.append(up)
            _entrance(block).register_forward_pre_hook(_Watch(index, self._seen))
        encoder.extend(self)

    def before(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Return ``tokens``."""
        return tokens

    def after(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Add what block ``index``'s bottleneck makes of what its feed-forward layer has seen."""
        seen = self._seen.pop(index).view_as(tokens)
        up = cast(nn.Linear, self.up[index])
        # The scale goes into the small matrix, not over all tokens.
        added = F.linear(F.relu(self.down[index](seen)), up.weight * self.scale, up.bias * self.scale)
        return tokens + added


class _Watch:
    """A hook that keeps what a module is given; an object, so that copies of the model have hooks of their own."""

    def __init__(self, index: int, seen: dict[int, Tensor]) -> None:
        self.index, self.seen = index, seen

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        self.seen[self.index] = given[0]


def _entrance(block: nn.Module) -> nn.Module:
    """Return the module that first sees the tokens which the feed-forward layer of ``block`` works on."""
    children = dict(block.named_children())
    if "mlp" not in children or "norm2" not in children:
        raise RecipeError(
            f"tuning adaptformer needs blocks with a feed-forward layer of their own, and {type(block).__name__} has "
            f"none ({', '.join(children)}). Take lora, rein or vpt."
        )
    normed_after = (
        "Post" in type(block).__name__
    )  # ResPostBlock, EvaBlockPostNorm: tokens + norm(mlp(tokens))
    return children["mlp" if normed_after else "norm2"]
