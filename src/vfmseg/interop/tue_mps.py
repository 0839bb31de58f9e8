"""Checkpoints of the published EoMT and benchmark (tue-mps) in, our segmenter's tensors out.

Their files hold ``network.encoder.backbone.*``, the decoder's layers beside it, and what belongs to training
(class weights of the loss, annealing state). EoMT's DINOv3 files hold differences to Meta's gated weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vfmseg.errors import WeightsError
from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.decoders.eomt import from_published as eomt_tensors
from vfmseg.models.decoders.linear import LinearDecoder
from vfmseg.models.decoders.mask2former import Mask2FormerDecoder
from vfmseg.models.decoders.mask2former import from_published as mask2former_tensors
from vfmseg.models.encoders.names import to_timm_names
from vfmseg.models.encoders.vit import VitEncoder
from vfmseg.models.encoders.weights_file import is_pickle, read_file
from vfmseg.models.encoders.weights_report import collapse
from vfmseg.models.segmenter import Segmenter

_STATISTICS = {
    "encoder.pixel_mean": "mean",
    "encoder.pixel_std": "std",
    "pixel_mean": "mean",
    "pixel_std": "std",
}


@dataclass(frozen=True)
class Published:
    """A published checkpoint under our names."""

    tensors: dict[str, Tensor]
    """Of the segmenter's state dict."""
    not_used: tuple[str, ...]
    """Names in the file that say nothing of the segmenter."""


def is_tue_mps(file: Path) -> bool:
    """Tell a checkpoint of a published program from one of ours: a pickle, or safetensors with their names."""
    try:
        if is_pickle(file):
            return True
        with safe_open(file, "pt") as opened:
            names = [name.replace("_orig_mod.", "") for name in opened.keys()]  # noqa: SIM118
        return any(name.startswith(("network.encoder.", "encoder.backbone.")) for name in names)
    except (OSError, SafetensorError):
        return False  # whoever reads it will say what is wrong


def read_tue_mps(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a published checkpoint; a pickle runs no code.

    Args:
        file: ``pytorch_model.bin`` of the model zoo, a ``.ckpt`` of their trainer, or the same as safetensors.

    Raises:
        WeightsError: it is damaged, would run code, or is of another program.
    """
    content = read_file(file)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    state = (
        {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not any(_short(name).startswith("encoder.") for name in state):
        raise WeightsError(
            f"{file} is no checkpoint of vfmseg, nor of the published EoMT or benchmark (tue-mps): no name in it begins "
            f"with network.encoder., but with {collapse(name.partition('.')[0] for name in state)}. Weights of an "
            "encoder alone go to encoder.weights."
        )
    return state


def from_tue_mps(
    state: Mapping[str, Tensor], segmenter: Segmenter, *, are_differences: bool = False
) -> Published:
    """Rename a published state dict to the names of ``segmenter``; shapes are checked where it is loaded.

    Args:
        state: with or without the prefixes ``network.`` and torch.compile's ``_orig_mod.``.
        segmenter: of the same encoder and decoder.
        are_differences: the encoder's tensors are differences to the weights that ``segmenter.encoder`` has.

    Raises:
        WeightsError: the file holds another decoder, was trained on pixels normalised otherwise, or the encoder is none
            that was published.
    """
    network, not_used = {}, []
    for name, tensor in state.items():
        short = _short(name)
        if short in _STATISTICS:
            _check_differences(short, tensor, are_differences)
            if not are_differences:
                refuse_other_statistics(_STATISTICS[short], tensor, segmenter)
            not_used.append(name)
        elif short == "attn_mask_probs" or short.startswith("criterion."):
            not_used.append(name)
        else:
            network[short] = tensor
    encoder = segmenter.encoder
    if not isinstance(encoder, VitEncoder):
        raise WeightsError(
            f"weights of a tue-mps program were given for a {type(encoder).__name__}; they are read for plain vision "
            "transformers only."
        )
    inside = "encoder.backbone." if any(n.startswith("encoder.backbone.") for n in network) else "encoder."
    own = {n.removeprefix(inside): t for n, t in network.items() if n.startswith(inside)}
    if "patch_embed.patch_embeddings.weight" in own:
        own = {_transformers_name(n): t for n, t in own.items()}
    renamed, left_out = to_timm_names(own, encoder.vit)
    known = {n: t for n, t in renamed.items() if n in encoder.vit.state_dict() or not _is_table(n)}
    tensors = {f"encoder.vit.{n}": t for n, t in known.items()}
    if are_differences:  # renaming only joins and reorders, so that it may come before the sum
        base = segmenter.state_dict()
        fits = {
            n for n, t in tensors.items() if n in base and base[n].shape == t.shape
        }  # others are reported
        tensors = {n: base[n] + t.to(base[n]) if n in fits else t for n, t in tensors.items()}
    decoder = {n: t for n, t in network.items() if not n.startswith("encoder.")}
    tensors |= {f"decoder.{n}": t for n, t in _decoder(decoder, segmenter).items()}
    return Published(tensors, (*not_used, *left_out, *(n for n in renamed if n not in known)))


def _short(name: str) -> str:
    return name.replace("_orig_mod.", "").removeprefix("network.")


def _check_differences(name: str, tensor: Tensor, are_differences: bool) -> None:
    """Refuse differences taken for weights, and the other way round: the statistics of differences are zero."""
    shown = bool((tensor == 0).all())
    if shown != are_differences:
        holds = "differences" if shown else "weights"
        raise WeightsError(
            f"delta_weights is {str(are_differences).lower()}, but the file holds {holds}, as its {name} "
            f"{tensor.flatten().tolist()} shows. Set --delta_weights {str(shown).lower()}."
        )


def refuse_other_statistics(which: str, values: Tensor, segmenter: Segmenter) -> None:
    """Raise WeightsError where pixels were normalised otherwise than the segmenter's encoder does.

    Args:
        which: ``mean`` or ``std``.
        values: per channel, of pixels in [0, 1]; of any shape.
        segmenter: what the weights are for.
    """
    ours = getattr(segmenter.encoder, which).flatten()
    theirs = values.flatten().to(ours)
    if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=1e-3):
        raise WeightsError(
            f"the file was trained on pixels with {which} {theirs.tolist()}, but here it is {ours.tolist()}; its "
            "predictions would be wrong. Set encoder.statistics to the file's: imagenet, or [[mean of red, green, blue], "
            "[standard deviation of each]]."
        )


def _decoder(state: dict[str, Tensor], segmenter: Segmenter) -> dict[str, Tensor]:
    if isinstance(segmenter.decoder, EoMTDecoder):
        return eomt_tensors(state)
    if isinstance(segmenter.decoder, Mask2FormerDecoder):
        return mask2former_tensors(state)
    if isinstance(segmenter.decoder, LinearDecoder) and set(state) == {"head.weight", "head.bias"}:
        return {f"classifier.{n.removeprefix('head.')}": t for n, t in state.items()}
    raise WeightsError(
        f"the file holds a decoder with {', '.join(sorted({n.split('.')[0] for n in state}))}, which is not the "
        "recipe's decoder; set decoder.name to the decoder it was trained with."
    )


def _is_table(name: str) -> bool:
    """Tell whether ``name`` is a rotary table, made anew for each size, or the token of masked pre-training."""
    return name.startswith("rope_embeddings.") or name == "mask_token"


def _transformers_name(name: str) -> str:
    """Return transformers' own name where EoMT's wrapper of its DINOv3 gave another."""
    if name.startswith("blocks."):
        return name.replace("blocks.", "layer.", 1)
    return name.replace("patch_embed.", "embeddings.", 1)
