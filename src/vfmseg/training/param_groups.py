"""A segmenter in, AdamW parameter groups out: grouped by identity, never by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from vfmseg.models.segmenter import Segmenter
from vfmseg.training.schedule import layer_factor


def parameter_groups(
    segmenter: Segmenter,
    *,
    learning_rate: float,
    encoder_lr_factor: float,
    layer_decay: float,
    num_spared_blocks: int = 0,
) -> list[dict[str, Any]]:
    """Return optimiser groups ``{params, lr, name}``: ``decoder``, ``tuning``, then the encoder from its last block down.

    Every learning parameter is in exactly one group; parameters that do not learn are in none. What a tuning adds
    learns at the decoder's rate, as in Rein (arXiv 2312.04265), and without weight decay where its paper says so.

    Args:
        segmenter: what is trained.
        learning_rate: peak rate of the decoder.
        encoder_lr_factor: the encoder's rate as a factor of it.
        layer_decay: factor from each encoder block to the one below; at 1 the encoder is one group.
        num_spared_blocks: last blocks of the encoder that learn at the full rate (arXiv 2503.19108's DINOv3 setting).
    """
    groups: list[dict[str, Any]] = [
        {"params": list(segmenter.decoder_parameters()), "lr": learning_rate, "name": "decoder"}
    ]
    undecayed = list(segmenter.tuning.undecayed_parameters())
    spared = {id(parameter) for parameter in undecayed}
    decayed = [parameter for parameter in segmenter.tuning_parameters() if id(parameter) not in spared]
    if decayed:
        groups.append({"params": decayed, "lr": learning_rate, "name": "tuning"})
    if undecayed:
        groups.append(
            {"params": undecayed, "lr": learning_rate, "weight_decay": 0.0, "name": "tuning_undecayed"}
        )
    by_factor: dict[float, list[nn.Parameter]] = {}
    encoder = segmenter.encoder
    for parameter in segmenter.encoder_parameters():
        block = 0 if layer_decay == 1.0 else encoder.block_of(parameter)
        factor = layer_factor(
            block, num_blocks=encoder.num_blocks, decay=layer_decay, num_spared=num_spared_blocks
        )
        by_factor.setdefault(factor, []).append(parameter)
    for factor in sorted(by_factor, reverse=True):
        name = "encoder" if layer_decay == 1.0 else f"encoder_x{factor:.4g}"
        rate = learning_rate * encoder_lr_factor * factor
        groups.append({"params": by_factor[factor], "lr": rate, "name": name})
    return groups
