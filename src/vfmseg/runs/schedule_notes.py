"""A recipe and where its run begins in, what its owner should know of warm-up and attention masks out."""

from __future__ import annotations

from vfmseg.runs.assemble import mask_schedule
from vfmseg.runs.recipe import Recipe
from vfmseg.training.module import OptimizerSettings

_LONG_WARMUP = 0.5
"""Share of a run from which it is worth saying that the encoder warms up for so long."""


def long_warmup(settings: OptimizerSettings) -> str:
    """Return what to say of a run that is warming up for most of its steps; empty where it is not.

    Warm-up in steps, as in the papers' recipes, does not shrink with a shorter run.
    """
    spent = settings.warmup_steps + settings.encoder_warmup_steps
    if spent < _LONG_WARMUP * settings.total_steps:
        return ""
    own = settings.encoder_warmup_steps
    what = f"waits for {settings.warmup_steps} and warms up for {own}" if own else f"warms up for {spent}"
    return (
        f"warm-up: of {settings.total_steps} steps the encoder {what}, so that it hardly learns. Give training.warmup "
        "and training.encoder_warmup as shares of the run, such as 0.005 and 0.01."
    )


def returning_masks(before: Recipe, now: Recipe, num_blocks: int, step: int) -> str:
    """Return what to say where attention masks that were annealed away come back; empty where they do not.

    Args:
        before: the recipe that the run had.
        now: the recipe it goes on with.
        num_blocks: blocks that queries run through; 0 for other decoders than EoMT.
        step: optimiser steps done.
    """
    was = mask_schedule(before, num_blocks).probabilities(max(0, step - 1))
    will_be = mask_schedule(now, num_blocks).probabilities(step)
    if not any(new > old for old, new in zip(was, will_be, strict=True)):
        return ""
    old, new = (", ".join(f"{probability:.2f}" for probability in shown) for shown in (was, will_be))
    return (
        f"masks: queries attend inside their masks with probability {new} again (one a block; at step {step} it was "
        f"{old}), as annealing is spread over the longer run. To learn on without masks, start a new run from these "
        "weights: --init_from RUN --decoder.masks never."
    )
