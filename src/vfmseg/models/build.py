"""Words in, a segmenter out: the one place where an encoder, a tuning and a decoder are put together."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vfmseg.errors import RecipeError, nearest
from vfmseg.models.decoders.base import Decoder
from vfmseg.models.decoders.catalog import DECODERS
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.catalog import TUNINGS, build_tuning


def build(
    encoder: str = "dinov2-b",
    *,
    num_classes: int,
    decoder: str = "linear",
    tuning: str = "full",
    image_size: int | tuple[int, int] = 512,
    patch_size: int | None = 16,
    weights: str = "pretrained",
    sub_norm: bool = False,
    positions: str = "crop",
    overrides: Mapping[str, int | float | bool] | None = None,
    decoder_options: Mapping[str, int] | None = None,
    seed: int | None = None,
) -> Segmenter:
    """Build a segmenter: a plain ``nn.Module`` that takes uint8 images (B, 3, H, W).

    Args:
        encoder: short name, timm name or Hugging Face id; see ``vfmseg list encoders``.
        num_classes: K, at least 1.
        decoder: see ``vfmseg list decoders``.
        tuning: see ``vfmseg list tunings``.
        image_size: pixels, one number or (height, width), a multiple of ``patch_size``.
        patch_size: pixels a side; None keeps the encoder's own.
        weights: ``pretrained``, ``random`` or the path of a file.
        sub_norm: BEiT-3's extra LayerNorms in a plain ViT.
        positions: ``crop`` (benchmark) or ``stretch`` (timm) for non-square images.
        overrides: the encoder's sizes, for tiny encoders with random weights.
        decoder_options: sizes of the decoder (mask2former: num_queries, num_blocks, embed_dim, num_heads).
        seed: for random weights; None leaves torch's generator as it is.

    Raises:
        RecipeError: an unknown word or a size that does not fit.
        WeightsError, HubError: the weights cannot be had or do not fit.
    """
    if decoder not in DECODERS:
        raise RecipeError(
            f"Unknown decoder {decoder!r}.{nearest(decoder, DECODERS)} Known: {', '.join(DECODERS)}."
        )
    if tuning not in TUNINGS:
        raise RecipeError(
            f"Unknown tuning {tuning!r}.{nearest(tuning, TUNINGS)} Known: {', '.join(TUNINGS)}."
        )
    if num_classes < 1:
        raise RecipeError(f"num_classes is {num_classes}; a segmenter needs at least one class.")
    if seed is not None:
        torch.manual_seed(seed)
    built = build_encoder(
        encoder,
        (image_size, image_size) if isinstance(image_size, int) else image_size,
        patch_size,
        weights=weights,
        sub_norm=sub_norm,
        positions=positions,
        overrides=dict(overrides or {}),
    )
    if seed is not None:  # the decoder starts alike whether the encoder's weights were drawn or read
        torch.manual_seed(seed + 1)
    return Segmenter(
        built, build_tuning(tuning), _decoder(decoder, built.embed_dim, num_classes, decoder_options)
    )


def _decoder(name: str, encoder_dim: int, num_classes: int, options: Mapping[str, int] | None) -> Decoder:
    if name == "linear":
        from vfmseg.models.decoders.linear import LinearDecoder

        if options:
            raise RecipeError(f"The linear decoder has no options, but got {', '.join(options)}.")
        return LinearDecoder(encoder_dim, num_classes)
    from vfmseg.models.decoders.mask2former import Mask2FormerDecoder

    return Mask2FormerDecoder(encoder_dim, num_classes, **dict(options or {}))
