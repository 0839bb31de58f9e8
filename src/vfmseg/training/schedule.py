"""Optimiser step in, learning-rate factor out: pure functions of the step, so resume and extension need no state."""

from __future__ import annotations


def polynomial_decay(step: int, *, total_steps: int, power: float, warmup_steps: int = 0) -> float:
    """Return the factor on the peak rate in force during optimiser step ``step`` (0-based).

    The factor rises linearly over ``warmup_steps`` and then falls as
    ``(1 - (step - warmup) / (total - warmup)) ** power`` to zero at ``total_steps``
    (arXiv 2404.12172: power 0.9, no warm-up).

    Args:
        step: 0-based optimiser step; at or past ``total_steps`` the factor is 0.
        total_steps: steps of the whole run, > 0.
        power: exponent of the decay, >= 0; 0 keeps the rate at its peak.
        warmup_steps: steps of linear warm-up, below ``total_steps``.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if progress >= 1:
        return 0.0
    return float((1.0 - progress) ** power)


def ema_decay(half_life: float, total_steps: int) -> float:
    """Return the factor by which an average forgets at each step, if half is forgotten after ``half_life`` of the run.

    Args:
        half_life: share of the run in (0, 1].
        total_steps: optimiser steps of the run.
    """
    return float(0.5 ** (1.0 / max(1.0, half_life * total_steps)))


def layer_factor(block: int, *, num_blocks: int, decay: float) -> float:
    """Return the factor on the encoder's rate for a parameter of ``block``.

    Args:
        block: -1 for what comes before the blocks (treated as block 0), ``0..num_blocks - 1``, or
            ``num_blocks`` for what follows (treated as the last block).
        num_blocks: blocks of the encoder.
        decay: factor from each block to the one below, in (0, 1].
    """
    return float(decay ** (num_blocks - 1 - min(max(block, 0), num_blocks - 1)))
