"""VPT: learned prompt tokens beside the patches of every block of a frozen encoder (arXiv 2203.12119, VPT-deep)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import EXTRA_TOKENS_REFUSED, Encoder
from vfmseg.models.tuning.base import Tuning


class PromptTuning(Tuning):
    """Train prompts of every block; what a block makes of them is thrown away, and the next has its own.

    Args:
        num_tokens: prompts a block.
    """

    name = "vpt"

    def __init__(self, *, num_tokens: int = 150) -> None:
        super().__init__()
        if num_tokens < 1:
            raise RecipeError(
                f"tuning vpt has num_tokens {num_tokens}; at least 1 is needed. Compared in Rein: 150."
            )
        self.num_tokens = num_tokens

    def attach(self, encoder: Encoder) -> None:
        """Freeze ``encoder`` and give each of its blocks prompts.

        Raises:
            RecipeError: the encoder attends within windows, where prompts have no place.
        """
        if not encoder.takes_extra_tokens:
            raise RecipeError(EXTRA_TOKENS_REFUSED)
        encoder.requires_grad_(False)
        bound = math.sqrt(6 / (3 * encoder.patch_size**2 + encoder.embed_dim))
        shape = (encoder.num_blocks, self.num_tokens, encoder.embed_dim)
        self.prompts = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        encoder.extend(self)

    def before(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Put block ``index``'s prompts behind the extra tokens, whose masks are counted from the front."""
        prompts = self.prompts[index].to(tokens.dtype).expand(len(tokens), -1, -1)
        return torch.cat([tokens[:, :num_extra], prompts, tokens[:, num_extra:]], 1)

    def after(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Take the prompts out again."""
        rest = tokens[:, num_extra + self.num_tokens :]
        return torch.cat([tokens[:, :num_extra], rest], 1) if num_extra else rest
