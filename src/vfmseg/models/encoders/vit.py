"""timm's VisionTransformer and Eva in, an Encoder out: all families but SAM.

VisionTransformer: ViT, CLIP, SigLIP, DINOv2, DeiT III, MAE, BEiT-3, C-RADIO, AIMv2. Eva: EVA-02, DINOv3, PE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from timm.layers import RotaryEmbeddingDinoV3
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.attention import full_mask, replace_attention
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.encoders.resample import Positions, patch_grid, resample_positions
from vfmseg.types import Size


class VitEncoder(Encoder):
    """A vision transformer with absolute or rotary positions, or both.

    Built at the size of ``vit``; :meth:`adapt` brings it to another.

    Args:
        vit: without head; its attention modules are replaced by :class:`QueryMaskedAttention`.
        mean: RGB mean of its weights.
        std: RGB standard deviation of its weights.
        positions: how absolute positions of a non-square image are made.
        rope_rescale: in training, the coordinates of the patches are multiplied by a random factor between
            1 / rope_rescale and rope_rescale, one per forward pass; DINOv3's rotary positions only.

    Raises:
        RecipeError: ``rope_rescale`` for an encoder without DINOv3's rotary positions, or below 1.
    """

    def __init__(
        self,
        vit: VisionTransformer | Eva,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        positions: Positions = "crop",
        rope_rescale: float | None = None,
    ) -> None:
        super().__init__(
            num_blocks=len(vit.blocks),
            embed_dim=vit.embed_dim,
            num_prefix_tokens=vit.num_prefix_tokens,
            patch_size=vit.patch_embed.patch_size[0],
            image_size=tuple(vit.patch_embed.img_size),
            grid_size=tuple(vit.patch_embed.grid_size),
            mean=mean,
            std=std,
        )
        self.vit = vit
        self.positions = positions
        self._masks_rows = replace_attention(vit.blocks)
        if rope_rescale is not None:
            if not isinstance(self._rope, RotaryEmbeddingDinoV3) or rope_rescale < 1:
                raise RecipeError(
                    f"encoder.rope_rescale is {rope_rescale}: it varies the rotary positions of DINOv3 by a factor of at "
                    "least 1 (published: 2); leave it out for other encoders"
                )
            self._rope.rescale_coords, self._rope.aug_active = rope_rescale, True
        self._drawn: Sequence[Tensor | None] | None = None
        """Rotary tables of the current forward pass in training: drawn once, whatever parts the blocks are run in."""

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks in order."""
        blocks: Sequence[nn.Module] = self.vit.blocks
        return blocks

    def embed(self, pixels: Tensor) -> Tensor:
        """Turn normalised ``pixels`` (B, 3, H, W) into tokens (B, prefix + h*w, C)."""
        self._expect_size(pixels)
        self._drawn = self._make_tables() if self.training else None
        vit = self.vit
        patches = vit.patch_embed(pixels)  # B hw C
        prefix = [t.expand(pixels.shape[0], -1, -1) for t in (vit.cls_token, vit.reg_token) if t is not None]
        if vit.no_embed_class and vit.pos_embed is not None:
            patches = patches + vit.pos_embed
        tokens = torch.cat([*prefix, patches], dim=1)
        if not vit.no_embed_class and vit.pos_embed is not None:
            tokens = tokens + vit.pos_embed
        before: Tensor = vit.norm_pre(vit.pos_drop(tokens))
        return before

    def norm(self, tokens: Tensor) -> Tensor:
        """Apply the final norm; for families published without one (EVA-02 MIM, RADIO …) nothing."""
        normed: Tensor = self.vit.norm(tokens)
        return normed

    def adapt(self, image_size: Size, patch_size: int) -> None:
        """Change image and patch size in place (see :meth:`Encoder.adapt`).

        Patch weights are resampled by the pseudo-inverse of image resizing (FlexiViT, arXiv 2212.08013,
        sec. 3.4), absolute positions bicubically; rotary tables are those of a model made at the new size.
        """
        grid = patch_grid(image_size, patch_size)
        vit, changes = self.vit, []
        if vit.pos_embed is not None and grid != self.grid_size:
            num_prefix = 0 if vit.no_embed_class else self.num_prefix_tokens
            table = resample_positions(
                vit.pos_embed.detach(), self.grid_size, grid, num_prefix=num_prefix, positions=self.positions
            )
            vit.pos_embed = nn.Parameter(table, requires_grad=vit.pos_embed.requires_grad)
            how = f", {self.positions}" if grid[0] != grid[1] else ""
            changes.append(
                f"positions: {self.grid_size[0]}x{self.grid_size[1]} -> {grid[0]}x{grid[1]} (bicubic{how})"
            )
        if patch_size != self.patch_size:
            changes.append(
                f"patch embedding: {self.patch_size} -> {patch_size} pixels (pseudo-inverse of resizing)"
            )
        vit.patch_embed.set_input_size(img_size=image_size, patch_size=patch_size)
        if self._rope is not None and grid != self.grid_size:
            self._rope.update_feat_shape(grid)
        self.image_size, self.patch_size, self.grid_size = image_size, patch_size, grid
        self._add_to_report(changes)

    @property
    def _rope(self) -> Any:
        return self.vit.rope if isinstance(self.vit, Eva) else None

    def _rotary_tables(self) -> Sequence[Tensor | None]:
        return self._make_tables() if self._drawn is None else self._drawn

    def _make_tables(self) -> Sequence[Tensor | None]:
        if self._rope is None:
            return (None,) * self.num_blocks
        table: Tensor = self._rope.get_embed()
        # Learned frequencies ("mixed") give every block a table of its own: blocks, heads, hw, 2D.
        return table.unbind(0) if self.vit.rope_mixed else (table,) * self.num_blocks

    def _run_block(self, index: int, tokens: Tensor, rotary: Tensor | None, mask: Tensor | None) -> Tensor:
        block = self.vit.blocks[index]
        if mask is not None and not self._masks_rows:
            mask = full_mask(mask, tokens.shape[1])
        if isinstance(self.vit, Eva):
            after: Tensor = block(tokens, rope=rotary, attn_mask=mask)
        else:
            after = block(tokens, attn_mask=mask)
        return after

    def _embedding_parameters(self) -> Iterator[nn.Parameter]:
        vit = self.vit
        yield from (p for p in (vit.cls_token, vit.reg_token, vit.pos_embed) if p is not None)
        yield from vit.patch_embed.parameters()
        yield from vit.norm_pre.parameters()
        if self._rope is not None:
            yield from self._rope.parameters()
