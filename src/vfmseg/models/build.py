"""Words in, a segmenter out: the one place where an encoder, a tuning and a decoder are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vfmseg.errors import RecipeError, nearest
from vfmseg.models.decoders.base import Decoder
from vfmseg.models.decoders.catalog import DECODERS
from vfmseg.models.encoders.base import EXTRA_TOKENS_REFUSED, Encoder
from vfmseg.models.encoders.load import Statistics, build_encoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.catalog import TUNINGS, build_tuning


def build(
    encoder: str = "dinov2-b",
    *,
    num_classes: int,
    decoder: str = "linear",
    tuning: str = "full",
    tuning_options: Mapping[str, Any] | None = None,
    image_size: int | tuple[int, int] = 512,
    patch_size: int | None = 16,
    weights: str = "pretrained",
    sub_norm: bool = False,
    positions: str = "crop",
    overrides: Mapping[str, int | float | bool] | None = None,
    rope_rescale: float | None = None,
    statistics: Statistics = "own",
    decoder_options: Mapping[str, int | bool | Sequence[int] | None] | None = None,
    seed: int | None = None,
) -> Segmenter:
    """Build a segmenter: a plain ``nn.Module`` that takes uint8 images (B, 3, H, W).

    Args:
        encoder: short name, timm name or Hugging Face id; see ``vfmseg list encoders``.
        num_classes: K, at least 1.
        decoder: see ``vfmseg list decoders``.
        tuning: see ``vfmseg list tunings``.
        tuning_options: of the tuning (rein: num_tokens, rank, link, softmax, zero_start, shared; lora: rank, alpha,
            layers, separate; soma: rank, layers; adaptformer: bottleneck, scale; vpt: num_tokens; partial: num_blocks).
        image_size: pixels, one number or (height, width), a multiple of ``patch_size``.
        patch_size: pixels a side; None keeps the encoder's own.
        weights: ``pretrained``, ``random`` or the path of a file.
        sub_norm: BEiT-3's extra LayerNorms in a plain ViT.
        positions: ``crop`` (benchmark) or ``stretch`` (timm) for non-square images.
        overrides: the encoder's sizes, for tiny encoders with random weights.
        rope_rescale: random rescaling of DINOv3's rotary positions in training; None = none.
        statistics: what pixels are normalised by: ``own``, ``imagenet`` or (mean, standard deviation) in [0, 1].
        decoder_options: sizes of the decoder (mask2former: num_queries, num_blocks, embed_dim, num_heads;
            mask2former_full: these, and the parts adapter, taps, pixel_decoder, multi_scale; eomt:
            num_queries, num_blocks).
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
        rope_rescale=rope_rescale,
        statistics=statistics,
    )
    if seed is not None:  # the decoder starts alike whether the encoder's weights were drawn or read
        torch.manual_seed(seed + 1)
    made = _decoder(decoder, built, num_classes, dict(decoder_options or {}))
    return Segmenter(built, build_tuning(tuning, tuning_options), made)


def _decoder(name: str, encoder: Encoder, num_classes: int, options: dict[str, Any]) -> Decoder:
    if name == "linear":
        from vfmseg.models.decoders.linear import LinearDecoder

        if options:
            raise RecipeError(f"The linear decoder has no options, but got {', '.join(options)}.")
        return LinearDecoder(encoder.embed_dim, num_classes)
    sizes: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if name == "eomt":
        from vfmseg.models.decoders.eomt import EoMTDecoder, default_blocks, refuse_more_blocks

        if not encoder.takes_extra_tokens:
            raise RecipeError(EXTRA_TOKENS_REFUSED)
        sizes.setdefault("num_blocks", default_blocks(encoder.num_blocks))
        refuse_more_blocks(sizes["num_blocks"], encoder)
        return EoMTDecoder(encoder.embed_dim, num_classes, encoder.patch_size, **sizes)
    if name == "mask2former_full":
        from vfmseg.models.decoders.full_mask2former import FullMask2FormerDecoder, refuse_missing_taps

        refuse_missing_taps(sizes.get("taps", ()), encoder.num_blocks)
        return FullMask2FormerDecoder(encoder.embed_dim, num_classes, encoder.patch_size, **sizes)
    from vfmseg.models.decoders.mask2former import Mask2FormerDecoder

    return Mask2FormerDecoder(encoder.embed_dim, num_classes, **sizes)
