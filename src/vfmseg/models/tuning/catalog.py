"""What tunings there are: the word in a recipe, what it does, what it trains. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfmseg.models.tuning.base import Tuning

TUNINGS: dict[str, str] = {
    "full": "trains every weight of the encoder, at a tenth of the decoder's learning rate by default",
    "frozen": "trains the decoder only; the encoder keeps no activations",
}


def build_tuning(name: str) -> Tuning:
    """Return the tuning called ``name``; ``KeyError`` for a word the recipe reader should have refused."""
    from vfmseg.models.tuning.basic import FrozenTuning, FullTuning

    return {"full": FullTuning, "frozen": FrozenTuning}[name]()
