"""The full Mask2Former decoder, and the ladder that takes it apart (EoMT, arXiv 2503.19108, sec. 3.1 and Table 1).

====  =========  ===============  =============  ======================================================
step  adapter    pixel_decoder    multi_scale    what is left
====  =========  ===============  =============  ======================================================
0     yes        yes              yes            ViT-Adapter, pixel decoder, transformer decoder
1     no         yes              yes            a pyramid made from the encoder's last map instead
2     no         no               yes            that pyramid straight into the transformer decoder
3     no         no               no             one map to look at, one at stride 4 to read masks from
====  =========  ===============  =============  ======================================================

Beside the ladder stands Rein's decoder (arXiv 2312.04265): ``taps`` names the blocks whose maps, resized, are the
pyramid; pixel decoder and transformer decoder are step 0's.

The step after the last, EoMT, does without the transformer decoder: see ``eomt.py``. The benchmark's plain Mask2Former
(``mask2former.py``) is step 3 with masks read at the patch grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor, nn

from vfmseg.errors import RecipeError
from vfmseg.models.decoders.base import Decoder
from vfmseg.models.decoders.masked_transformer import MaskedTransformer
from vfmseg.models.decoders.pixel_decoder import PixelDecoder
from vfmseg.models.decoders.pyramid import FeaturePyramid, PyramidProjection, TappedPyramid
from vfmseg.models.decoders.vit_adapter import ViTAdapter
from vfmseg.models.encoders.base import Encoder
from vfmseg.types import MaskLogits


class FullMask2FormerDecoder(Decoder):
    """Mask2Former on a pyramid of features, whole or with parts taken away.

    Args:
        encoder_dim: channels of the encoder's tokens.
        num_classes: K.
        patch_size: of the encoder, in pixels.
        adapter: take the pyramid from a ViT-Adapter; otherwise scale the encoder's last map.
        taps: in place of both, four blocks of the encoder whose maps become the pyramid, ascending, from 0.
        pixel_decoder: refine the pyramid by deformable attention; otherwise only project it.
        multi_scale: look at strides 32, 16 and 8 in turn; otherwise at the patch grid alone.
        num_queries: Q, masks proposed per image.
        num_blocks: masked-attention blocks.
        embed_dim: C, channels inside the decoder; a multiple of 4 and of ``num_heads``.
        num_heads: attention heads, of the pixel decoder too.
        feedforward_dim: hidden channels of the transformer decoder's feed-forward layers.

    Raises:
        RecipeError: parts that need each other are not both there, or sizes do not divide.
    """

    kind: Literal["pixels", "masks"] = "masks"
    class_layer_name = "transformer.class_layer"

    def __init__(
        self,
        encoder_dim: int,
        num_classes: int,
        patch_size: int,
        *,
        adapter: bool = True,
        taps: Sequence[int] = (),
        pixel_decoder: bool = True,
        multi_scale: bool = True,
        num_queries: int = 200,
        num_blocks: int = 9,
        embed_dim: int = 256,
        num_heads: int = 8,
        feedforward_dim: int = 2048,
    ) -> None:
        super().__init__()
        _expect_sensible(adapter=adapter, taps=taps, pixel_decoder=pixel_decoder, multi_scale=multi_scale)
        self.num_queries, self.query_dim = num_queries, embed_dim
        self.transformer = MaskedTransformer(
            num_classes,
            num_queries=num_queries,
            num_blocks=num_blocks,
            num_levels=3 if multi_scale else 1,
            embed_dim=embed_dim,
            num_heads=num_heads,
            feedforward_dim=feedforward_dim,
        )
        self.features: ViTAdapter | FeaturePyramid | TappedPyramid
        if taps:
            self.features = TappedPyramid(patch_size, taps)
        elif adapter:
            self.features = ViTAdapter(encoder_dim)
        else:
            strides = (4, 8, 16, 32) if multi_scale else (4, patch_size)
            self.features = FeaturePyramid(encoder_dim, patch_size, strides)
        self.neck: PixelDecoder | PyramidProjection
        if pixel_decoder:
            self.neck = PixelDecoder(
                encoder_dim, embed_dim, num_heads=num_heads, num_groups=math.gcd(32, embed_dim)
            )
        else:
            self.neck = PyramidProjection(encoder_dim, embed_dim, num_levels=3 if multi_scale else 1)

    def link_queries(self) -> None:
        """Take positions from a tuning's queries, and contents from a linear map of them (Rein, sec. 3.3)."""
        self.transformer.query_content = self.transformer.query_position = None
        dim = self.transformer.class_layer.in_features
        self.query_from_link = nn.Linear(dim, dim)

    def embeddings(self) -> Iterator[nn.Parameter]:
        """Yield the transformer decoder's learned queries, unless a tuning makes them, and its embeddings of levels."""
        inside = self.transformer
        found = (inside.query_content, inside.query_position, inside.level_embedding)
        yield from (parameter for parameter in found if parameter is not None)

    def forward(
        self, encoder: Encoder, pixels: Tensor, queries: Tensor | None = None
    ) -> tuple[MaskLogits, ...]:
        """Return the predictions, masks at a quarter of the image's size.

        In training, L = num_blocks + 1 of them, one before the first block and one after each; in
        evaluation only the last.
        """
        mask_features, levels = self.neck(self.features(encoder, pixels))
        content = None if queries is None else self.query_from_link(queries)
        output: tuple[MaskLogits, ...] = self.transformer(
            levels, mask_features, queries=content, query_positions=queries
        )
        return output


def refuse_missing_taps(taps: Sequence[int], num_blocks: int) -> None:
    """Raise RecipeError where ``taps`` names a block that an encoder of ``num_blocks`` blocks does not have."""
    if taps and max(taps) >= num_blocks:
        quarter = num_blocks / 4
        spread = f"evenly spread: {[round(quarter * (i + 1)) - 1 for i in range(4)]}"
        raise RecipeError(
            f"decoder.taps is {list(taps)}, but the encoder has the blocks 0 to {num_blocks - 1}; "
            f"{spread if num_blocks >= 4 else 'four are needed: leave decoder.taps out, or take a deeper encoder'}"
        )


def _expect_sensible(*, adapter: bool, taps: Sequence[int], pixel_decoder: bool, multi_scale: bool) -> None:
    if taps and adapter:
        raise RecipeError(
            "decoder: taps and adapter both make the pyramid. Set adapter: false, or leave out taps."
        )
    if taps and (len(taps) != 4 or min(taps) < 0 or list(taps) != sorted(set(taps))):
        raise RecipeError(
            f"decoder: taps is {list(taps)}; give four blocks in ascending order, for strides 4, 8, 16 and 32, "
            "counted from 0. Published for 24 blocks: [7, 11, 15, 23]."
        )
    if multi_scale:
        return
    for wanted, word, off, made in (
        (adapter, "adapter", "false", "the ViT-Adapter is there to make maps of four scales"),
        (list(taps), "taps", "[]", "taps are there to make maps of four scales"),
        (pixel_decoder, "pixel_decoder", "false", "the pixel decoder is there to exchange between scales"),
    ):
        if wanted:
            raise RecipeError(
                f"decoder: multi_scale is false but {word} is {str(wanted).lower()}; {made}, which nothing would look "
                f"at. Set multi_scale: true, or {word}: {off}."
            )
