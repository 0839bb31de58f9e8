"""timm's VisionTransformerSAM in, an Encoder out: windowed attention, relative positions, no neck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timm.layers import resample_abs_pos_embed_nhwc
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import EXTRA_TOKENS_REFUSED, Encoder
from vfmseg.models.encoders.resample import (
    Positions,
    patch_grid,
    resample_relative_positions,
    window_size,
)
from vfmseg.types import Size


class SamEncoder(Encoder):
    """SAM's image encoder (arXiv 2304.02643) up to its last block: features have no final norm.

    The benchmark (arXiv 2404.12172) resamples the tables of relative positions of a side of ``s`` patches
    to 2s + 1 rows, two more than there are distances, and timm's forward pass resamples them again to
    2s - 1. That blurs them a little, even where the size does not change; its published numbers contain it.

    Args:
        vit: without neck and head.
        mean: RGB mean of its weights.
        std: RGB standard deviation of its weights.
        positions: how positions of a non-square image are made.
        published_rel_pos: True for 2s + 1 rows, as published; False for the exact 2s - 1.
    """

    takes_extra_tokens = False

    def __init__(
        self,
        vit: VisionTransformerSAM,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        positions: Positions = "crop",
        published_rel_pos: bool = True,
    ) -> None:
        super().__init__(
            num_blocks=len(vit.blocks),
            embed_dim=vit.embed_dim,
            num_prefix_tokens=0,
            patch_size=vit.patch_embed.patch_size[0],
            image_size=tuple(vit.patch_embed.img_size),
            grid_size=tuple(vit.patch_embed.grid_size),
            mean=mean,
            std=std,
        )
        self.vit = vit
        self.positions = positions
        self.published_rel_pos = published_rel_pos

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks in order."""
        blocks: Sequence[nn.Module] = self.vit.blocks
        return blocks

    def embed(self, pixels: Tensor) -> Tensor:
        """Turn normalised ``pixels`` (B, 3, H, W) into tokens (B, h*w, C)."""
        self._expect_size(pixels)
        patches = self.vit.patch_embed(pixels)  # B h w C
        if self.vit.pos_embed is not None:
            patches = patches + self.vit.pos_embed
        tokens: Tensor = self.vit.norm_pre(self.vit.pos_drop(patches)).flatten(1, 2)
        return tokens

    def norm(self, tokens: Tensor) -> Tensor:
        """Return ``tokens``: the neck, which would follow, belongs to SAM's mask decoder."""
        return tokens

    def run_blocks(
        self, tokens: Tensor, start: int, stop: int, *, mask: Tensor | None = None, num_extra: int = 0
    ) -> Tensor:
        """Run blocks (see :meth:`Encoder.run_blocks`).

        Raises:
            RecipeError: there are extra tokens; they have no place in windows.
        """
        if num_extra or mask is not None:
            raise RecipeError(EXTRA_TOKENS_REFUSED)
        return super().run_blocks(tokens, start, stop)

    def adapt(self, image_size: Size, patch_size: int) -> None:
        """Change image and patch size in place (see :meth:`Encoder.adapt`).

        Windows grow with the longer side of the grid and must stay whole; relative positions are resampled
        linearly for the longer side, of which the shorter side of a cropped grid gets the middle.
        """
        grid = patch_grid(image_size, patch_size)
        vit, changes = self.vit, []
        old = max(self.grid_size)
        windows = [window_size(b.window_size, old, grid, patch_size) for b in vit.blocks]
        if vit.pos_embed is not None and grid != self.grid_size:
            vit.pos_embed = nn.Parameter(
                self._absolute(vit.pos_embed.detach(), grid), requires_grad=vit.pos_embed.requires_grad
            )
        if grid != self.grid_size:
            changes.append(
                f"positions and windows: {self.grid_size[0]}x{self.grid_size[1]} -> {grid[0]}x{grid[1]}"
            )
        if patch_size != self.patch_size:
            changes.append(
                f"patch embedding: {self.patch_size} -> {patch_size} pixels (pseudo-inverse of resizing)"
            )
        vit.patch_embed.set_input_size(img_size=image_size, patch_size=patch_size)
        for block, window in zip(vit.blocks, windows, strict=True):
            block.window_size = window
            if block.attn.use_rel_pos:
                sides = (window, window) if window else grid
                block.attn.rel_pos_h = self._relative(block.attn.rel_pos_h, sides[0], max(sides))
                block.attn.rel_pos_w = self._relative(block.attn.rel_pos_w, sides[1], max(sides))
        if self.published_rel_pos:
            changes.append("relative positions: 2s + 1 rows as in the benchmark (published_rel_pos)")
        self.image_size, self.patch_size, self.grid_size = image_size, patch_size, grid
        self._add_to_report(changes)

    def _absolute(self, table: Tensor, grid: Size) -> Tensor:
        """Resample (1, h, w, C) to ``grid``."""
        if self.positions == "stretch":
            stretched: Tensor = resample_abs_pos_embed_nhwc(table, list(grid))
            return stretched
        if self.grid_size[0] != self.grid_size[1]:
            raise RecipeError(
                f"the positions were cropped to {self.grid_size[0]}x{self.grid_size[1]} patches; "
                "build the encoder anew at the size wanted, or with positions=stretch"
            )
        longer = max(grid)
        square: Tensor = resample_abs_pos_embed_nhwc(table, [longer, longer])
        return square[:, : grid[0], : grid[1]].contiguous()

    def _relative(self, table: nn.Parameter, side: int, longer: int) -> nn.Parameter:
        """Resample relative positions (L, D) to a side of ``side`` patches."""
        margin = 1 if self.published_rel_pos else -1
        if self.positions == "stretch":
            longer = side
        rows = resample_relative_positions(table.detach(), 2 * longer + margin)
        middle = rows[longer - side : longer + side + margin].contiguous()  # distances -side … side
        return nn.Parameter(middle, requires_grad=table.requires_grad)

    def _run_block(self, index: int, tokens: Tensor, rotary: Tensor | None, mask: Tensor | None) -> Tensor:
        grid = tokens.unflatten(1, self.grid_size)  # B h w C
        after: Tensor = self.vit.blocks[index](grid).flatten(1, 2)
        return after

    def _embedding_parameters(self) -> Iterator[nn.Parameter]:
        if self.vit.pos_embed is not None:
            yield self.vit.pos_embed
        yield from self.vit.patch_embed.parameters()
        yield from self.vit.norm_pre.parameters()
