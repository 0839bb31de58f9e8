"""What a recipe may say of how the weights are learned: loss, optimiser, schedule, what is saved on the way."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from vfmseg.runs.values import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    SpanOrNone,
    StepsOrFraction,
)

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@checked(frozen=True, kw_only=True, config=_STRICT)
class TrainingRecipe:
    """How the weights are learned. Durations are fractions of the run, or whole optimiser steps where a paper says so."""

    steps: PositiveInt = 20000
    """Optimiser steps."""
    effective_batch_size: PositiveInt = 16
    """Images an optimiser step: batch_size × devices × accumulation."""
    learning_rate: PositiveFloat = 1e-4
    """AdamW's peak rate for the decoder."""
    encoder_lr_factor: NonNegativeFloat = 0.1
    """The encoder learns at this times `learning_rate`."""
    layer_decay: PositiveFraction = 1.0
    """Each block below the last learns at this times the rate of the one above; 1 = all alike."""
    layer_decay_spares_queries: bool = False
    """The blocks that queries run through (eomt) learn at the full rate, as in EoMT's DINOv3 recipes."""
    weight_decay: NonNegativeFloat = 0.05
    """AdamW's decay, on every parameter as the papers do; of a tuning's own parameters, where its paper does."""
    decay_norms: bool = True
    """Norms, learned queries and the embeddings of levels decay, too; false: not, as in Rein's recipes."""
    poly_power: NonNegativeFloat = 0.9
    """Exponent of the polynomial decay to zero at the last step."""
    warmup: SpanOrNone = 0.0
    """Share of the run, or optimiser steps, in which the rate rises linearly."""
    warmup_start: Fraction = 0.0
    """Where the warm-up starts, as a factor of the peak rate."""
    encoder_warmup: SpanOrNone = 0.0
    """Above zero, the encoder waits until `warmup` is over and then warms up for this long (EoMT's second stage)."""
    inclusive_spans: bool = False
    """Warm-up reaches its peak, and decay reaches zero, in their last steps, as mmengine counts (Rein); false: one step
    later, as torch does."""
    gradient_clip: PositiveFloat | None = None
    """Largest global gradient norm; null = no clipping."""
    precision: Literal["16-mixed", "bf16-mixed", "32-true"] = "bf16-mixed"
    """Arithmetic; `16-mixed` becomes `bf16-mixed` where the device has no 16-bit floats with loss scaling (CPU)."""
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """Inner precision of 32-bit matrix products (torch.set_float32_matmul_precision)."""
    loss_average: Literal["image", "batch"] = "image"
    """`image`: every image weighs the same, so the result does not depend on how a batch is split; `batch`: every
    pixel or mask of a micro-batch does."""
    mask_points: PositiveInt = 12544
    """Points at which a mask decoder's masks are compared with true ones; fewer are quicker, for small images enough."""
    no_object_weight: NonNegativeFloat = 0.1
    """Weight of a query without an object in a mask decoder's class loss; a query with one weighs 1."""
    count_empty_images: bool = False
    """With `loss_average: batch`, an image without segments counts as one with one in the average of a mask decoder's
    mask losses, as in mmdet (Rein)."""
    class_weights: Literal["none", "auto"] | list[PositiveFloat] = "none"
    """`auto`: rare classes weigh more (1/√share, seen on training labels); or one weight a class. Linear decoder only."""
    ema: Fraction = 0.0
    """Half-life of the averaged weights that are validated and saved, as a share of the run; 0 = none."""
    early_stopping: Fraction = 0.0
    """Stop when the headline metric (mIoU, PQ or mask AP) has not improved for this share of the run; 0 = never."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """torch.compile the encoder. Off by default: EVA-02 loses accuracy when compiled."""
    validate_every: StepsOrFraction = 0.1
    """A share of the run, or optimiser steps, between validations."""
    checkpoint_every: StepsOrFraction = 0.05
    """A share of the run, or optimiser steps, between `last` checkpoints."""
    overlays: NonNegativeInt = 4
    """Validation images drawn with their prediction at each validation."""
    loggers: list[Literal["tensorboard", "wandb"]] = field(default_factory=lambda: ["tensorboard"])
    """Beside metrics.csv, which is always written."""
