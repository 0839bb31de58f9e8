"""The sections of a recipe whose keys depend on one word: which word, and what can be said with each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vfmseg.runs.augmentation_recipe import AUGMENTATION_RECIPES
from vfmseg.runs.decoder_recipe import DECODER_RECIPES
from vfmseg.runs.tuning_recipe import TUNING_RECIPES


class Choice(NamedTuple):
    """A section that is one of several dataclasses."""

    section: str
    word: str
    """The key that tells them apart."""
    kinds: Mapping[str, Any]
    """What the word may be -> the dataclass."""
    default: str
    listed: str = ""
    """What `vfmseg list` calls them; empty where it does not list them."""

    @property
    def key(self) -> str:
        """The dotted key of the word."""
        return f"{self.section}.{self.word}"


CHOICES: dict[str, Choice] = {
    "tuning": Choice("tuning", "method", TUNING_RECIPES, "full", "tunings"),
    "decoder": Choice("decoder", "name", DECODER_RECIPES, "linear", "decoders"),
    "augmentation": Choice("augmentation", "method", AUGMENTATION_RECIPES, "benchmark"),
}
"""By section, in the order of the recipe."""
