"""A segmenter in, AdamW parameter groups out: grouped by identity, never by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from vfmseg.models.encoders.norms import norm_parameters
from vfmseg.models.segmenter import Segmenter
from vfmseg.training.schedule import layer_factor


def parameter_groups(
    segmenter: Segmenter,
    *,
    learning_rate: float,
    encoder_lr_factor: float,
    layer_decay: float,
    num_spared_blocks: int = 0,
    decay_norms: bool = True,
) -> list[dict[str, Any]]:
    """Return optimiser groups ``{params, lr, name}``: ``decoder``, ``tuning``, then the encoder from its last block down.

    Every learning parameter is in exactly one group; parameters that do not learn are in none. What weight decay leaves
    alone is in groups of its own, called ``decoder_undecayed`` and so on. What a tuning adds learns at the decoder's
    rate, as in Rein (arXiv 2312.04265), and without weight decay where its paper says so.

    Args:
        segmenter: what is trained.
        learning_rate: peak rate of the decoder.
        encoder_lr_factor: the encoder's rate as a factor of it.
        layer_decay: factor from each encoder block to the one below; at 1 the encoder is one group.
        num_spared_blocks: last blocks of the encoder that learn at the full rate (arXiv 2503.19108's DINOv3 setting).
        decay_norms: otherwise norms, and the decoder's learned queries and embeddings of levels, have no weight decay.
    """
    undecayed = {id(parameter) for parameter in segmenter.tuning.undecayed_parameters()}
    if not decay_norms:
        undecayed |= {id(parameter) for parameter in norm_parameters(segmenter)}
        undecayed |= {id(parameter) for parameter in segmenter.decoder.embeddings()}
    groups: list[dict[str, Any]] = []

    def add(name: str, parameters: Iterable[nn.Parameter], rate: float) -> None:
        all_of_them = list(parameters)
        decayed = [parameter for parameter in all_of_them if id(parameter) not in undecayed]
        spared = [parameter for parameter in all_of_them if id(parameter) in undecayed]
        if decayed:
            groups.append({"params": decayed, "lr": rate, "name": name})
        if spared:
            groups.append({"params": spared, "lr": rate, "weight_decay": 0.0, "name": f"{name}_undecayed"})

    add("decoder", segmenter.decoder_parameters(), learning_rate)
    add("tuning", segmenter.tuning_parameters(), learning_rate)
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
        add(name, by_factor[factor], learning_rate * encoder_lr_factor * factor)
    return groups
