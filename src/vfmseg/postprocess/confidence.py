"""Turns class logits, or class scores summed over queries, into how sure a prediction is of each pixel.

Pixel decoders say one logit a class, from which come the maximum probability (Hendrycks & Gimpel, arXiv 1610.02136),
entropy, and energy (Liu et al., arXiv 2010.03759). Mask decoders say masks, whose sum over queries
(:func:`vfmseg.postprocess.semantic.semantic_scores`) has at a pixel no fixed total: it is small where all queries
reject the pixel, which is a measure of its own. More is surer, always. Windows are merged before, not after: logits
and sums are what they average.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from vfmseg.errors import RecipeError
from vfmseg.types import Output, PixelLogits

Said = Literal["logits", "scores"]
"""What a decoder says of a class at a pixel: a logit, or a score summed over queries."""
Scale = Literal["probability", "real"]
"""Whether a measure is in 0..1, where it can be compared with accuracy, or any number, which only ranks."""


def said_by(output: Output) -> Said:
    """Return what :func:`vfmseg.postprocess.semantic.pixel_scores` makes of an output."""
    return "logits" if isinstance(output, PixelLogits) else "scores"


def max_probability(logits: Tensor) -> Tensor:
    """Return the probability of the likeliest class, (..., H, W) float32 in 1/K..1, of logits (..., K, H, W)."""
    logits = logits.float()
    return (logits.amax(-3) - logits.logsumexp(-3)).exp_().clamp_(max=1)


def certainty(logits: Tensor) -> Tensor:
    """Return 1 - entropy / log K of the class probabilities, (..., H, W) float32 in 0..1, of logits (..., K, H, W).

    0 where all classes are equally likely, 1 where one is certain, as it is where there is only one.
    """
    return _certainty(logits.float().softmax(-3))


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the negative free energy T log sum_c exp(z_c / T), (..., H, W) float32, of logits (..., K, H, W).

    Raises:
        RecipeError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise RecipeError(f"The temperature of the energy is {temperature:g}; it must be above 0, such as 1.")
    return (logits.float() / temperature).logsumexp(-3).mul_(temperature)


def max_score(scores: Tensor) -> Tensor:
    """Return the score of the best class, (..., H, W) float32, at least 0, of scores (..., K, H, W).

    What the winning entry of the BRAVO challenge took (arXiv 2409.17208). Where queries overlap it may be above 1.
    """
    return scores.float().amax(-3)


def max_share(scores: Tensor) -> Tensor:
    """Return the best class's share of all scores, (..., H, W) float32 in 1/K..1, of scores (..., K, H, W).

    A probability as that of a pixel decoder is; that the scores are small together is not in it. Where all are 0,
    1/K.
    """
    return _shares(scores).amax(-3).clamp_(max=1)


def share_certainty(scores: Tensor) -> Tensor:
    """Return :func:`certainty` of the classes' shares of all scores, (..., H, W) in 0..1, of scores (..., K, H, W)."""
    return _certainty(_shares(scores))


def accepted(scores: Tensor) -> Tensor:
    """Return how far a pixel is from being rejected by all classes, (..., H, W) float32 in 0..K.

    The negative of RbA (Nayal et al., arXiv 2211.14293), as its program has it: the sum over the classes of tanh of the
    score. Low where no query claims the pixel for a known class, even if the best class stands out among them.

    Args:
        scores: (..., K, H, W), at least 0.
    """
    return scores.float().tanh().sum(-3)


MEASURES: dict[str, dict[Said, tuple[Callable[[Tensor], Tensor], Scale]]] = {
    "max_probability": {"logits": (max_probability, "probability"), "scores": (max_share, "probability")},
    "entropy": {"logits": (certainty, "probability"), "scores": (share_certainty, "probability")},
    "energy": {"logits": (energy, "real")},
    "max_score": {"scores": (max_score, "real")},
    "rejected_by_all": {"scores": (accepted, "real")},
}
"""Name in recipes and on the command line -> what it is of logits or scores, and its scale."""


def measure_of(name: str, said: Said) -> tuple[Callable[[Tensor], Tensor], Scale]:
    """Return the function from class logits or scores (..., K, H, W) to confidence (..., H, W), and its scale.

    Raises:
        RecipeError: there is no such measure, or it makes no sense of what the decoder says.
    """
    possible = [measure for measure, kinds in MEASURES.items() if said in kinds]
    if name not in possible:
        decoder = "pixel decoders, which say logits" if said == "logits" else "mask decoders, which say masks"
        raise RecipeError(
            f"There is no confidence {name!r} of {decoder}: choose {', '.join(possible[:-1])} or {possible[-1]}."
        )
    return MEASURES[name][said]


def _certainty(probabilities: Tensor) -> Tensor:
    """Return 1 - entropy / log K of probabilities (..., K, H, W)."""
    num_classes = probabilities.shape[-3]
    if num_classes == 1:  # log K is 0, and so is the entropy
        return probabilities.squeeze(-3)
    entropy = torch.special.entr(probabilities).sum(-3)
    return (1 - entropy / math.log(num_classes)).clamp_(0, 1)


def _shares(scores: Tensor) -> Tensor:
    """Return scores (..., K, H, W) divided by their sum, 1/K where that is 0."""
    scores = scores.float()
    total = scores.sum(-3, keepdim=True)
    return torch.where(total == 0, 1 / scores.shape[-3], scores / total)
