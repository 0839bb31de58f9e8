"""What a recipe may say of its decoder: one frozen dataclass a decoder, told apart by its name."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from vfmseg.runs.values import NonNegativeInt, PositiveFloat, PositiveInt, SpanOrNone

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@checked(frozen=True, kw_only=True, config=_STRICT)
class LinearRecipe:
    """The linear decoder has nothing to choose."""

    name: Literal["linear"] = "linear"
    """One linear layer on the patch tokens."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class Mask2FormerRecipe:
    """The plain Mask2Former decoder of the benchmark (arXiv 2404.12172)."""

    name: Literal["mask2former"] = "mask2former"
    """Queries that attend to single-scale encoder features."""
    num_queries: PositiveInt = 100
    """Masks proposed an image."""
    num_blocks: PositiveInt = 9
    """Decoder blocks; each is supervised."""
    embed_dim: PositiveInt = 256
    """Channels inside the decoder."""
    num_heads: PositiveInt = 8
    """Attention heads; divides embed_dim."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class FullMask2FormerRecipe:
    """Mask2Former on a pyramid of features, whole or with parts taken away: the ladder of arXiv 2503.19108, Table 1."""

    name: Literal["mask2former_full"] = "mask2former_full"
    """ViT-Adapter, pixel decoder and transformer decoder."""
    adapter: bool = True
    """Take the pyramid from a ViT-Adapter; false: scale the encoder's last map."""
    taps: list[NonNegativeInt] = field(default_factory=list)
    """In place of both, four blocks of the encoder, from 0, whose patches (resized, without the final norm) are the maps
    at strides 4, 8, 16 and 32. Rein's decoder: [7, 11, 15, 23] of 24 blocks. Needs `adapter: false`; empty: not so."""
    pixel_decoder: bool = True
    """Refine the pyramid by deformable attention; false: only project it."""
    multi_scale: bool = True
    """Queries look at strides 32, 16 and 8 in turn; false: at the patch grid alone, which needs the other two false."""
    num_queries: PositiveInt = 200
    """Masks proposed an image."""
    num_blocks: PositiveInt = 9
    """Decoder blocks; each is supervised."""
    embed_dim: PositiveInt = 256
    """Channels inside the decoder."""
    num_heads: PositiveInt = 8
    """Attention heads; divides embed_dim."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class EoMTRecipe:
    """Encoder-only mask transformer: queries run through the encoder's own last blocks (arXiv 2503.19108)."""

    name: Literal["eomt"] = "eomt"
    """Queries among the patch tokens; three small heads."""
    num_queries: PositiveInt = 200
    """Masks proposed an image; published: 100 for semantic, 200 for panoptic and instance."""
    num_blocks: PositiveInt | None = None
    """Last blocks of the encoder that the queries run through; null: 3 of up to 12 blocks, 4 of up to 24, 5 of more."""
    masks: Literal["annealed", "always", "never"] = "annealed"
    """Attention masks of the queries: `annealed` away while training, so that inference needs none; `always`, at
    inference too; `never`, in training neither."""
    anneal_start: list[SpanOrNone] = field(default_factory=list)
    """When each block's masks begin to be annealed, first block first: shares of the run, or optimiser steps. Empty: the
    published pattern (a sixth of the run for each block, evenly spread from 1/6 to 5/6)."""
    anneal_end: list[SpanOrNone] = field(default_factory=list)
    """When each block's masks are gone; as many as `anneal_start`."""
    anneal_power: PositiveFloat = 0.9
    """Exponent of the fall from 1 to 0."""


DecoderRecipe = Annotated[
    LinearRecipe | Mask2FormerRecipe | FullMask2FormerRecipe | EoMTRecipe, Field(discriminator="name")
]

DECODER_RECIPES = {
    "linear": LinearRecipe,
    "mask2former": Mask2FormerRecipe,
    "mask2former_full": FullMask2FormerRecipe,
    "eomt": EoMTRecipe,
}
"""The word in a recipe -> what else can be said of that decoder."""


def decoder_contradictions(decoder: DecoderRecipe, steps: int) -> list[str]:
    """Return what is wrong across fields of a decoder, one sentence each.

    Args:
        decoder: its part of the recipe.
        steps: optimiser steps of the run.
    """
    if isinstance(decoder, EoMTRecipe):
        return _annealing_contradictions(decoder, steps)
    if isinstance(decoder, LinearRecipe):
        return []
    if isinstance(decoder, FullMask2FormerRecipe):
        return [*_wrong_taps(decoder), *_parts_without_scales(decoder), *_indivisible(decoder)]
    return _indivisible(decoder)


def _wrong_taps(decoder: FullMask2FormerRecipe) -> list[str]:
    taps = decoder.taps
    if not taps:
        return []
    found = []
    if len(taps) != 4 or taps != sorted(set(taps)):
        found.append(
            f"decoder.taps is {taps}; give four blocks in ascending order, counted from 0 (published for 24 blocks: "
            "[7, 11, 15, 23])"
        )
    if decoder.adapter:
        found.append(
            "decoder.taps and decoder.adapter both make the pyramid; set decoder.adapter false, or leave out decoder.taps"
        )
    return found


def _indivisible(decoder: Mask2FormerRecipe | FullMask2FormerRecipe) -> list[str]:
    heads = decoder.num_heads
    if decoder.embed_dim % heads == 0 and decoder.embed_dim % 4 == 0:
        return []
    what = f"decoder.num_heads {heads}" if decoder.embed_dim % heads else "4, as positions have four parts"
    return [f"decoder.embed_dim {decoder.embed_dim} is not a multiple of {what}; published: 256 with 8 heads"]


def _parts_without_scales(decoder: FullMask2FormerRecipe) -> list[str]:
    if decoder.multi_scale:
        return []
    return [
        f"decoder.{word} is {str(set_to).lower()}, but decoder.multi_scale is false: {why}, of which "
        f"only one would be looked at; set decoder.multi_scale true or decoder.{word} {off}"
        for set_to, word, why, off in (
            (decoder.adapter, "adapter", "the ViT-Adapter makes maps of four scales", "false"),
            (decoder.taps, "taps", "taps make maps of four scales", "[]"),
            (decoder.pixel_decoder, "pixel_decoder", "the pixel decoder exchanges between scales", "false"),
        )
        if set_to
    ]


def _annealing_contradictions(decoder: EoMTRecipe, steps: int) -> list[str]:
    starts, ends = decoder.anneal_start, decoder.anneal_end
    if len(starts) != len(ends):
        return [
            f"decoder.anneal_start has {len(starts)} entries and decoder.anneal_end {len(ends)}; give one a block in both"
        ]
    if starts and decoder.num_blocks is not None and len(starts) != decoder.num_blocks:
        return [
            f"decoder.anneal_start has {len(starts)} entries, but decoder.num_blocks is {decoder.num_blocks}; "
            "give one a block"
        ]
    spans = [(span_in_steps(a, steps), span_in_steps(b, steps)) for a, b in zip(starts, ends, strict=True)]
    return [
        f"decoder.anneal_end {ends[i]} of block {i} is before its decoder.anneal_start {starts[i]}; swap them"
        for i, (start, end) in enumerate(spans)
        if end < start
    ]


def span_in_steps(setting: float, total_steps: int) -> int:
    """Return a point of the run in optimiser steps, rounded; 0 stays 0."""
    return setting if isinstance(setting, int) else round(setting * total_steps)
