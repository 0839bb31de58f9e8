"""What a recipe may say of its tuning: one frozen dataclass a method, told apart by its name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from vfmseg.runs.values import PositiveFloat, PositiveInt

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@checked(frozen=True, kw_only=True, config=_STRICT)
class FullRecipe:
    """Nothing to choose."""

    method: Literal["full"] = "full"
    """Every weight of the encoder learns."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class FrozenRecipe:
    """Nothing to choose."""

    method: Literal["frozen"] = "frozen"
    """Nothing of the encoder learns."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class BitFitRecipe:
    """Nothing to choose."""

    method: Literal["bitfit"] = "bitfit"
    """The encoder's biases learn."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class PartialRecipe:
    """The encoder's last blocks learn."""

    method: Literal["partial"] = "partial"
    """The encoder's last blocks learn."""
    num_blocks: PositiveInt | None = None
    """Last blocks that learn; null: a third of them."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class ReinRecipe:
    """Learned tokens refine a frozen encoder's patches after every block (arXiv 2312.04265)."""

    method: Literal["rein"] = "rein"
    """Tokens that refine the patches."""
    num_tokens: Annotated[int, Field(ge=2)] = 100
    """Tokens a block; where they drive the decoder's queries, as many as decoder.num_queries."""
    rank: PositiveInt | None = 16
    """Of the tokens' two factors; null: whole tokens."""
    link: bool | None = None
    """Make the decoder's queries of the tokens; null: where the decoder has queries."""
    softmax: bool = True
    """Weigh tokens by a softmax; false: by the similarity itself."""
    zero_start: bool = False
    """Begin as the identity: the map that moves the patches starts at zero, and no scale is learned."""
    shared: bool = True
    """All blocks share their maps; false: each has its own."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class LoraRecipe:
    """Low-rank updates that start at zero (arXiv 2106.09685)."""

    method: Literal["lora"] = "lora"
    """Low-rank updates of linear layers."""
    rank: PositiveInt = 8
    """Of each update."""
    alpha: PositiveFloat | None = None
    """Updates are scaled by alpha / rank; null: by 1."""
    layers: Literal["qkv", "attention", "all"] = "qkv"
    """Layers with an update: `qkv`; `attention`, with the projection after it; `all`, with the feed-forward layers."""
    separate: bool = False
    """Query, key and value have an update each even where the encoder computes them by one layer."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class SomaRecipe:
    """Low-rank updates that start as the weights' minor singular components (arXiv 2412.04077)."""

    method: Literal["soma"] = "soma"
    """The minor singular components of linear layers learn."""
    rank: PositiveInt = 16
    """Components a layer."""
    layers: Literal["qkv", "attention", "all"] = "all"
    """Layers with an update: `qkv`; `attention`, with the projection after it; `all`, with the feed-forward layers."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class AdaptFormerRecipe:
    """Bottlenecks beside the feed-forward layers (arXiv 2205.13535)."""

    method: Literal["adaptformer"] = "adaptformer"
    """Bottlenecks beside the feed-forward layers."""
    bottleneck: PositiveInt = 64
    """Channels inside."""
    scale: PositiveFloat = 0.1
    """Factor of what they add."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class PromptRecipe:
    """Prompt tokens of every block (arXiv 2203.12119, VPT-deep)."""

    method: Literal["vpt"] = "vpt"
    """Prompt tokens beside the patches."""
    num_tokens: PositiveInt = 150
    """Prompts a block."""


TuningRecipe = Annotated[
    FullRecipe
    | FrozenRecipe
    | ReinRecipe
    | LoraRecipe
    | SomaRecipe
    | AdaptFormerRecipe
    | PromptRecipe
    | BitFitRecipe
    | PartialRecipe,
    Field(discriminator="method"),
]

TUNING_RECIPES = {
    "full": FullRecipe,
    "frozen": FrozenRecipe,
    "rein": ReinRecipe,
    "lora": LoraRecipe,
    "soma": SomaRecipe,
    "adaptformer": AdaptFormerRecipe,
    "vpt": PromptRecipe,
    "bitfit": BitFitRecipe,
    "partial": PartialRecipe,
}
"""The word in a recipe -> what else can be said of that tuning."""


def tuning_contradictions(tuning: TuningRecipe, num_queries: int | None) -> list[str]:
    """Return what is wrong between a tuning and a decoder of ``num_queries`` queries, or none; one sentence each."""
    if not isinstance(tuning, ReinRecipe) or tuning.link is False:
        return []
    if num_queries is None:
        refused = "tuning.link is true, but the decoder has no queries that the tokens could drive; leave it out, or take"
        return [f"{refused} decoder.name eomt, mask2former or mask2former_full"] if tuning.link else []
    if num_queries != tuning.num_tokens:
        return [
            f"tuning.num_tokens is {tuning.num_tokens} and decoder.num_queries {num_queries}: each of Rein's tokens "
            "makes a query; set both alike, or tuning.link false"
        ]
    return []
