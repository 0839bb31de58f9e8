"""What tunings there are: the word in a recipe, what it does, what it trains. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfmseg.models.tuning.base import Tuning

TUNINGS: dict[str, str] = {
    "full": "trains every weight of the encoder, at a tenth of the decoder's learning rate by default",
    "frozen": "trains the decoder only; the encoder keeps no activations",
    "rein": "tokens that refine a frozen encoder's patches after every block, and can drive a mask decoder's queries",
    "lora": "low-rank updates of a frozen encoder's query, key and value layers, which can be merged into them",
    "soma": "low-rank updates that start as the minor singular components of a frozen encoder's weights; can be merged",
    "adaptformer": "bottlenecks beside the feed-forward layers of a frozen encoder",
    "vpt": "prompt tokens of every block of a frozen encoder",
    "bitfit": "trains the encoder's biases only",
    "partial": "trains the encoder's last blocks only",
}


def build_tuning(name: str, options: Mapping[str, Any] | None = None) -> Tuning:
    """Return the tuning called ``name``; ``KeyError`` for a word the recipe reader should have refused."""
    from vfmseg.models.tuning.adaptformer import AdaptFormerTuning
    from vfmseg.models.tuning.basic import BitFitTuning, FrozenTuning, FullTuning, PartialTuning
    from vfmseg.models.tuning.low_rank import LoraTuning, SomaTuning
    from vfmseg.models.tuning.prompts import PromptTuning
    from vfmseg.models.tuning.rein import ReinTuning

    kinds: tuple[type[Tuning], ...] = (
        FullTuning,
        FrozenTuning,
        ReinTuning,
        LoraTuning,
        SomaTuning,
        AdaptFormerTuning,
        PromptTuning,
        BitFitTuning,
        PartialTuning,
    )
    return {kind.name: kind for kind in kinds}[name](**dict(options or {}))
