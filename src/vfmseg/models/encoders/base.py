"""The Encoder interface: pixels in, tokens out, whatever vision foundation model stands behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vfmseg.errors import DataError, RecipeError
from vfmseg.models.encoders.features import FeatureStore
from vfmseg.models.encoders.weights_report import WeightsReport
from vfmseg.types import Size

EXTRA_TOKENS_REFUSED = (
    "SAM's encoder attends within windows of the image, where queries have no place: decoders that put queries among "
    "the tokens (eomt) and prompt tokens cannot run on it. Take a decoder that reads its features (linear, mask2former) "
    "or another encoder (vfmseg list encoders)"
)


class BlockExtension(Protocol):
    """What a tuning does before and after every block."""

    def before(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Return what block ``index`` is given in place of ``tokens`` (B, N, C)."""

    def after(self, index: int, tokens: Tensor, num_extra: int) -> Tensor:
        """Return what is made of what block ``index`` gives; as many tokens as :meth:`before` was given."""


class Encoder(nn.Module, ABC):
    """A plain vision transformer of fixed image and patch size.

    ``run_blocks(embed(pixels), 0, num_blocks)`` and ``norm`` are together the published
    ``forward_features``. Tokens are (B, N, C): extra tokens (queries) first where a decoder put some,
    then the prefix tokens (class, registers), then the patches row by row.

    Args:
        num_blocks: transformer blocks.
        embed_dim: C.
        num_prefix_tokens: class and register tokens.
        patch_size: pixels a side.
        image_size: (height, width) in pixels.
        grid_size: (h, w), patches a side.
        mean: RGB mean of the weights, in [0, 1].
        std: RGB standard deviation of the weights, in [0, 1].
    """

    mean: Tensor
    """(3, 1, 1), in [0, 1]."""
    std: Tensor
    """(3, 1, 1), in [0, 1]."""
    takes_extra_tokens: bool = True
    """Whether queries may stand among the tokens."""
    features: FeatureStore | None = None
    """Where tokens are kept, of an encoder that does not change; see ``Segmenter.features_can_be_shared``."""

    def __init__(
        self,
        *,
        num_blocks: int,
        embed_dim: int,
        num_prefix_tokens: int,
        patch_size: int,
        image_size: Size,
        grid_size: Size,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.num_blocks = num_blocks
        self.embed_dim = embed_dim
        self.num_prefix_tokens = num_prefix_tokens
        self.patch_size = patch_size
        self.image_size = image_size
        self.grid_size = grid_size
        self.weights_report = WeightsReport(source="random")
        self._checkpointing = False
        # In a tuple, so that a tuning's parameters do not become the encoder's.
        self._extensions: tuple[BlockExtension, ...] = ()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks in order, for tunings that put something into them."""

    @abstractmethod
    def embed(self, pixels: Tensor) -> Tensor:
        """Turn normalised ``pixels`` (B, 3, H, W) into tokens (B, N, C), positions added.

        Raises:
            RecipeError: ``pixels`` are not of the encoder's ``image_size``.
        """

    @abstractmethod
    def norm(self, tokens: Tensor) -> Tensor:
        """Apply the published end of ``forward_features``: the final norm, or nothing where there is none."""

    @abstractmethod
    def adapt(self, image_size: Size, patch_size: int) -> None:
        """Change to another image and patch size in place: patch weights and positions are resampled.

        What was resampled is added to ``weights_report``; what already fits is kept bit for bit.

        Raises:
            RecipeError: the image size does not divide into patches (or, for SAM, into windows).
        """

    @abstractmethod
    def _run_block(self, index: int, tokens: Tensor, rotary: Tensor | None, mask: Tensor | None) -> Tensor:
        """Run one block on tokens (B, N, C)."""

    @abstractmethod
    def _embedding_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what stands before the blocks: patch embedding, positions, prefix tokens, norm before."""

    def _rotary_tables(self) -> Sequence[Tensor | None]:
        """Return the rotary table of every block; None where a block has none."""
        return (None,) * self.num_blocks

    def normalise(self, images: Tensor) -> Tensor:
        """Turn ``images`` (B, 3, H, W) uint8 RGB into pixels: over 255, minus the mean, over the std.

        Raises:
            DataError: the images are not uint8, so their range is unknown.
        """
        if images.dtype != torch.uint8:
            raise DataError(
                f"images are {images.dtype}; the encoder normalises uint8 images (0-255). "
                "Give uint8, or normalise yourself with encoder.mean and encoder.std and call encoder.embed"
            )
        return (images.to(self.mean.dtype) / 255 - self.mean) / self.std

    def run_blocks(
        self, tokens: Tensor, start: int, stop: int, *, mask: Tensor | None = None, num_extra: int = 0
    ) -> Tensor:
        """Run the blocks ``start`` to ``stop - 1`` on ``tokens`` (B, N, C).

        Args:
            tokens: extra tokens, prefix tokens, patches.
            start: first block, from 0.
            stop: one past the last block.
            mask: (B, num_extra, h*w) bool, True = the extra token may attend to the patch; all other
                pairs attend freely.
            num_extra: number of extra tokens (queries) in front of the prefix tokens.
        """
        if not 0 <= start <= stop <= self.num_blocks:
            raise ValueError(f"blocks {start} to {stop} asked for; there are 0 to {self.num_blocks}")
        expected = num_extra + self.num_prefix_tokens + self.grid_size[0] * self.grid_size[1]
        if tokens.shape[1] != expected:
            raise ValueError(
                f"{tokens.shape[1]} tokens given; expected {expected} = {num_extra} extra + "
                f"{self.num_prefix_tokens} prefix + {self.grid_size[0]}x{self.grid_size[1]} patches"
            )
        rotary = self._rotary_tables()
        for index in range(start, stop):
            given = (index, tokens, rotary[index], mask, num_extra)
            if self._checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(self._run_extended, *given, use_reentrant=False)
            else:
                tokens = self._run_extended(*given)
        return tokens

    def extend(self, extension: BlockExtension) -> None:
        """Let ``extension`` change the tokens before and after every block."""
        self._extensions = (*self._extensions, extension)

    def _run_extended(
        self, index: int, tokens: Tensor, rotary: Tensor | None, mask: Tensor | None, num_extra: int
    ) -> Tensor:
        for extension in self._extensions:
            tokens = extension.before(index, tokens, num_extra)
        tokens = self._run_block(index, tokens, rotary, mask)
        for extension in reversed(self._extensions):
            tokens = extension.after(index, tokens, num_extra)
        return tokens

    def to_grid(self, tokens: Tensor) -> Tensor:
        """Return the patches of ``tokens`` (B, N, C) as a map (B, C, h, w); extra and prefix tokens go."""
        h, w = self.grid_size
        return tokens[:, -h * w :].transpose(1, 2).unflatten(2, (h, w))

    def tokens_after(self, pixels: Tensor, stops: Sequence[int]) -> list[Tensor]:
        """Turn normalised ``pixels`` (B, 3, H, W) into the tokens (B, N, C) after each of several numbers of blocks.

        The way to what is a function of the image alone, with nothing put among the tokens: it is read from files where
        :attr:`features` knows it.

        Args:
            pixels: (B, 3, H, W).
            stops: in 0..num_blocks, not decreasing.
        """
        if self.features is None:
            return self._tokens_after(pixels, stops)
        return self.features.tokens(stops, lambda: self._tokens_after(pixels, stops))

    def _tokens_after(self, pixels: Tensor, stops: Sequence[int]) -> list[Tensor]:
        found, start = [], 0
        tokens = self.embed(pixels)
        for stop in stops:
            tokens = self.run_blocks(tokens, start, stop)
            start = stop
            found.append(tokens)
        return found

    def forward_grid(self, pixels: Tensor) -> Tensor:
        """Turn normalised ``pixels`` (B, 3, H, W) into the final features (B, C, h, w)."""
        return self.to_grid(self.norm(*self.tokens_after(pixels, [self.num_blocks])))

    def forward(self, pixels: Tensor) -> Tensor:
        """As :meth:`forward_grid`."""
        return self.forward_grid(pixels)

    def block_of(self, parameter: nn.Parameter) -> int:
        """Return where ``parameter`` stands, for layer-wise learning rates.

        Returns:
            -1 for the embedding (patches, positions, prefix tokens), 0 … num_blocks - 1 for a block,
            num_blocks for what comes after the blocks.

        Raises:
            ValueError: the parameter is not one of this encoder.
        """
        if any(parameter is p for p in self._embedding_parameters()):
            return -1
        for index, block in enumerate(self.blocks):
            if any(parameter is p for p in block.parameters()):
                return index
        if any(parameter is p for p in self.parameters()):
            return self.num_blocks
        raise ValueError(f"a parameter of shape {tuple(parameter.shape)} does not belong to this encoder")

    def set_checkpointing(self, enabled: bool) -> None:
        """Recompute each block in the backward pass instead of keeping its activations (less memory)."""
        self._checkpointing = enabled

    def _expect_size(self, pixels: Tensor) -> None:
        if tuple(pixels.shape[-2:]) != self.image_size:
            raise RecipeError(
                f"pixels are {pixels.shape[-2]}x{pixels.shape[-1]}, but the encoder is built for "
                f"{self.image_size[0]}x{self.image_size[1]}; resize or window the images, "
                f"or set encoder.image_size to [{pixels.shape[-2]}, {pixels.shape[-1]}]"
            )

    def _add_to_report(self, sentences: Sequence[str]) -> None:
        report = self.weights_report
        self.weights_report = replace(report, resampled=report.resampled + tuple(sentences))
