"""What a checkpoint leaves out, the weights of an encoder that did not learn, and how they are known again.

A tuned model is a few megabytes beside its encoder (Rein, arXiv 2312.04265, sec. 4: one encoder, a small file a
task). The file names the encoder in its recipe and holds a hash of its weights, so that it never runs on others
unnoticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from vfmseg.errors import CheckpointError
from vfmseg.models.segmenter import Segmenter


def frozen_names(segmenter: Segmenter) -> list[str]:
    """Return the names in the segmenter's state of what its encoder had of its own and does not learn."""
    encoder, tuning = segmenter.encoder, segmenter.tuning
    kept = {id(t) for t in (*tuning.encoder_parameters(encoder), *tuning.added_tensors())}
    return [f"encoder.{name}" for name, t in encoder.state_dict(keep_vars=True).items() if id(t) not in kept]


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return 32 hexadecimal digits that change with any name, shape or value of ``tensors``."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def hash_of_frozen(segmenter: Segmenter) -> str | None:
    """Return the hash of what the encoder does not learn, or None where it learns all."""
    state = segmenter.state_dict()
    names = frozen_names(segmenter)
    return weights_hash({name: state[name] for name in names}) if names else None


def completed(
    tensors: Mapping[str, Tensor], encoder_hash: str | None, segmenter: Segmenter, *, source: object
) -> dict[str, Tensor]:
    """Return a checkpoint's tensors with the encoder's weights that it leaves out, which ``segmenter`` has.

    Args:
        tensors: of the checkpoint.
        encoder_hash: of what it leaves out; None where it is whole.
        segmenter: as the checkpoint's recipe builds it.
        source: file that the error names.

    Raises:
        CheckpointError: the segmenter's encoder has other weights.
    """
    if encoder_hash is None:
        return dict(tensors)
    left_out = {
        name: tensor
        for name, tensor in segmenter.state_dict().items()
        if name.startswith("encoder.") and name not in tensors
    }
    found = weights_hash(left_out)
    if found != encoder_hash:
        report = segmenter.encoder.weights_report
        raise CheckpointError(
            f"{source} holds what tuning {segmenter.tuning.name} and the decoder have learned on an encoder whose "
            f"weights have the hash {encoder_hash}; those of this encoder ({report.source}) have {found}. Put the "
            "weights it was trained on where its recipe says they are (encoder.weights in checkpoint.json)."
        )
    return {**left_out, **tensors}
