"""Test-time augmentation: the scales and flips of an image whose class scores are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vfmseg.errors import RecipeError

_LEAST: Final = 0.25
_MOST: Final = 4.0
HOW: Final = "Write flip, scales, or both with commas between: --augment flip,0.75,1,1.25."


@dataclass(frozen=True)
class AveragedViews:
    """Which variants of an image are predicted; their class scores are averaged before the best class is taken."""

    scales: tuple[float, ...] = (1.0,)
    """Factors on the size at which the image is seen otherwise, each once."""
    flip: bool = False
    """Also see each of them mirrored, left to right."""

    def __post_init__(self) -> None:
        if not self.scales or len(set(self.scales)) < len(self.scales):
            raise RecipeError(
                f"Test-time augmentation has the scales {self.scales}; each is needed once. {HOW}"
            )
        for scale in self.scales:
            if not _LEAST <= scale <= _MOST:
                raise RecipeError(
                    f"Test-time augmentation has the scale {scale:g}; allowed are {_LEAST:g} to {_MOST:g}. {HOW}"
                )

    @property
    def variants(self) -> tuple[tuple[float, bool], ...]:
        """(scale, whether mirrored) of each."""
        return tuple(
            (scale, is_flipped) for scale in self.scales for is_flipped in (False, True)[: 1 + self.flip]
        )

    @property
    def text(self) -> str:
        """As it is typed."""
        scales = [] if self.flip and self.scales == (1.0,) else [f"{scale:g}" for scale in self.scales]
        return ",".join(["flip"] * self.flip + scales)


def refuse_other_tasks(task: str) -> None:
    """Raise RecipeError where a model is of another task than semantic."""
    if task != "semantic":
        raise RecipeError(
            f"Test-time augmentation averages the class scores of each pixel, which a model of task {task} does not "
            "have: its queries find other segments in each view, and none is the mean of the others. Leave out --augment."
        )


def parse_augment(text: str) -> AveragedViews:
    """Read ``flip``, ``0.75,1,1.25`` or ``flip,0.75,1,1.25``.

    Raises:
        RecipeError: a word that is neither, a scale twice or out of range; says what is allowed.
    """
    words = text.replace(" ", "").split(",")
    scales = []
    for word in words:
        if word == "flip":
            continue
        try:
            scales.append(float(word))
        except ValueError:
            raise RecipeError(f"--augment {text}: {word!r} is neither flip nor a scale. {HOW}") from None
    if words.count("flip") > 1:
        raise RecipeError(f"--augment {text}: flip is there twice. {HOW}")
    return AveragedViews(tuple(scales) or (1.0,), "flip" in words)
