"""Optimiser step in, learning-rate factor out: pure functions of the step, so resume and extension need no state."""

from __future__ import annotations

from dataclasses import dataclass


def polynomial_decay(
    step: int,
    *,
    total_steps: int,
    power: float,
    warmup_steps: int = 0,
    hold_steps: int = 0,
    warmup_start: float = 0.0,
    inclusive: bool = False,
) -> float:
    """Return the factor on the peak rate in force during optimiser step ``step`` (0-based).

    The factor is zero for ``hold_steps``, rises linearly over ``warmup_steps`` and then falls as
    ``(1 - (step - hold - warmup) / (total - hold - warmup)) ** power`` to zero at ``total_steps``
    (arXiv 2404.12172: power 0.9, neither hold nor warm-up; arXiv 2503.19108: both, for the encoder).
    Rein's recipes (arXiv 2312.04265) count as mmengine does: ``inclusive``.

    Args:
        step: 0-based optimiser step; at or past ``total_steps`` the factor is 0.
        total_steps: steps of the whole run, > 0.
        power: exponent of the decay, >= 0; 0 keeps the rate at its peak.
        warmup_steps: steps of linear warm-up.
        hold_steps: steps before the warm-up.
        warmup_start: factor in the first of the steps of warm-up.
        inclusive: warm-up reaches its peak, and decay reaches zero, in their last steps and not one step later.
    """
    if step < hold_steps:
        return 0.0
    peak = hold_steps + warmup_steps
    if step < peak:
        risen = (step - hold_steps) / max(1, warmup_steps - inclusive)
        return warmup_start + (1.0 - warmup_start) * risen
    progress = (step - peak) / max(1, total_steps - peak - inclusive)
    if progress >= 1:
        return 0.0
    return float((1.0 - progress) ** power)


def mask_probability(step: int, *, start: int, end: int, power: float = 0.9) -> float:
    """Return the probability that a query attends inside its mask only, during optimiser step ``step``.

    Mask annealing (arXiv 2503.19108, sec. 3.3): 1 before ``start``, then ``(1 - (step - start) / (end - start)) **
    power``, 0 from ``end`` on. Of the step alone, so that accumulation, resume and a longer run need no state.

    Args:
        step: 0-based optimiser step.
        start: step from which the probability falls.
        end: step from which it is zero, at least ``start``.
        power: exponent, > 0.
    """
    if step < start:
        return 1.0
    if step >= end:
        return 0.0
    return float((1.0 - (step - start) / (end - start)) ** power)


def annealing_spans(num_blocks: int) -> tuple[tuple[float, float], ...]:
    """Return when the mask of each of the last blocks is annealed, first block first, in shares of the run.

    The published pattern: a sixth of the run fully masked, then each block anneals for a sixth, the starts evenly
    spread so that the last sixth of the run has no masks.
    """
    starts = [1 / 6 + (i / (num_blocks - 1) if num_blocks > 1 else 0) * 3 / 6 for i in range(num_blocks)]
    return tuple((start, start + 1 / 6) for start in starts)


@dataclass(frozen=True, kw_only=True)
class MaskSchedule:
    """When the attention masks of the last blocks are annealed, and whether masks are there at inference."""

    starts: tuple[int, ...] = ()
    """Optimiser step from which each block's mask probability falls, first block first."""
    ends: tuple[int, ...] = ()
    """Step from which it is zero."""
    power: float = 0.9
    at_inference: bool = False
    """Masks stay on, in training and at inference; nothing is annealed."""

    def probabilities(self, step: int) -> tuple[float, ...]:
        """Return the probability of each block during optimiser step ``step`` (0-based)."""
        if self.at_inference:
            return (1.0,) * len(self.starts)
        return tuple(
            mask_probability(step, start=start, end=end, power=self.power)
            for start, end in zip(self.starts, self.ends, strict=True)
        )

    def unfinished(self, steps: int) -> str:
        """Return what to say of a run that ends after ``steps`` with masks still on; empty where all are gone."""
        left = self.probabilities(max(0, steps - 1))
        if self.at_inference or not any(left):
            return ""
        shown = ", ".join(f"{probability:.2f}" for probability in left)
        return (
            f"masks: at step {steps}, the last, queries still attend inside their masks with probability {shown} (one a "
            "block), but predictions are made without masks and will be worse than training suggests. Let "
            "decoder.anneal_end lie before the end, or set decoder.masks always."
        )

    @property
    def inference(self) -> tuple[float, ...]:
        """Probabilities with which the finished model predicts."""
        return (1.0 if self.at_inference else 0.0,) * len(self.starts)


def ema_decay(half_life: float, total_steps: int) -> float:
    """Return the factor by which an average forgets at each step, if half is forgotten after ``half_life`` of the run.

    Args:
        half_life: share of the run in (0, 1].
        total_steps: optimiser steps of the run.
    """
    return float(0.5 ** (1.0 / max(1.0, half_life * total_steps)))


def layer_factor(block: int, *, num_blocks: int, decay: float, num_spared: int = 0) -> float:
    """Return the factor on the encoder's rate for a parameter of ``block``.

    Args:
        block: -1 for what comes before the blocks (treated as block 0), ``0..num_blocks - 1``, or
            ``num_blocks`` for what follows (treated as the last block).
        num_blocks: blocks of the encoder.
        decay: factor from each block to the one below, in (0, 1].
        num_spared: last blocks that learn at the full rate; the others are as far down as without.
    """
    below_last = num_blocks - 1 - min(max(block, 0), num_blocks - 1)
    return 1.0 if below_last < num_spared else float(decay**below_last)
