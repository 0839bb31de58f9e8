"""Checkpoints of the published Rein (w1oves/Rein) in, our segmenter's tensors out.

Their files hold ``backbone.reins.*`` and ``decode_head.*`` (mmdet's names), and no encoder: that is converted
beforehand, to patches of 16 pixels and the run's grid, both bicubically. Our own way of resampling patches differs, so
for equal numbers ``encoder.weights`` is their converted file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vfmseg.errors import WeightsError
from vfmseg.interop.tue_mps import Published, refuse_other_statistics
from vfmseg.models.decoders.full_mask2former import FullMask2FormerDecoder
from vfmseg.models.encoders.names import to_timm_names
from vfmseg.models.encoders.vit import VitEncoder
from vfmseg.models.encoders.weights_file import is_pickle, read_file
from vfmseg.models.encoders.weights_report import collapse
from vfmseg.models.segmenter import Segmenter

_REINS, _HEAD, _ENCODER = "backbone.reins.", "decode_head.", "backbone."
_STATISTICS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""What their programs subtract and divide by, whatever the encoder; theirs are 255 times as large."""

_PIXELS, _QUERIES = "decoder.neck", "decoder.transformer"
_NAMES = (
    (r"backbone\.reins\.learnable_tokens(_[ab])?", r"tuning.tokens\1"),
    (r"backbone\.reins\.mlp_token2feat\.(.+)", r"tuning.token_values.\1"),
    (r"backbone\.reins\.mlp_delta_f\.(.+)", r"tuning.shift.\1"),
    (r"backbone\.reins\.transform\.(.+)", r"tuning.token_queries.\1"),
    (r"backbone\.reins\.merge\.(.+)", r"tuning.merged_queries.\1"),
    (r"backbone\.reins\.scale", r"tuning.scale"),
    (r"pixel_decoder\.input_convs\.(\d)\.conv\.(.+)", rf"{_PIXELS}.input_projections.\1.0.\2"),
    (r"pixel_decoder\.input_convs\.(\d)\.gn\.(.+)", rf"{_PIXELS}.input_projections.\1.1.\2"),
    (r"pixel_decoder\.level_encoding\.weight", rf"{_PIXELS}.level_embedding"),
    (r"pixel_decoder\.encoder\.layers\.(\d+)\.self_attn\.(.+)", rf"{_PIXELS}.layers.\1.attention.\2"),
    (r"pixel_decoder\.encoder\.layers\.(\d+)\.ffn\.layers\.0\.0\.(.+)", rf"{_PIXELS}.layers.\1.feedforward.0.\2"),
    (r"pixel_decoder\.encoder\.layers\.(\d+)\.ffn\.layers\.1\.(.+)", rf"{_PIXELS}.layers.\1.feedforward.2.\2"),
    (r"pixel_decoder\.encoder\.layers\.(\d+)\.norms\.0\.(.+)", rf"{_PIXELS}.layers.\1.attention_norm.\2"),
    (r"pixel_decoder\.encoder\.layers\.(\d+)\.norms\.1\.(.+)", rf"{_PIXELS}.layers.\1.feedforward_norm.\2"),
    (r"pixel_decoder\.lateral_convs\.0\.conv\.(.+)", rf"{_PIXELS}.lateral.0.\1"),
    (r"pixel_decoder\.lateral_convs\.0\.gn\.(.+)", rf"{_PIXELS}.lateral.1.\1"),
    (r"pixel_decoder\.output_convs\.0\.conv\.(.+)", rf"{_PIXELS}.output.0.\1"),
    (r"pixel_decoder\.output_convs\.0\.gn\.(.+)", rf"{_PIXELS}.output.1.\1"),
    (r"pixel_decoder\.mask_feature\.(.+)", rf"{_PIXELS}.mask_features.\1"),
    (r"transformer_decoder\.layers\.(\d+)\.(cross|self)_attn\.attn\.out_proj\.(.+)",
     rf"{_QUERIES}.blocks.\1.\2_attention.output.\3"),
    (r"transformer_decoder\.layers\.(\d+)\.ffn\.layers\.0\.0\.(.+)", rf"{_QUERIES}.blocks.\1.feedforward.0.\2"),
    (r"transformer_decoder\.layers\.(\d+)\.ffn\.layers\.1\.(.+)", rf"{_QUERIES}.blocks.\1.feedforward.2.\2"),
    (r"transformer_decoder\.layers\.(\d+)\.norms\.0\.(.+)", rf"{_QUERIES}.blocks.\1.cross_norm.\2"),
    (r"transformer_decoder\.layers\.(\d+)\.norms\.1\.(.+)", rf"{_QUERIES}.blocks.\1.self_norm.\2"),
    (r"transformer_decoder\.layers\.(\d+)\.norms\.2\.(.+)", rf"{_QUERIES}.blocks.\1.feedforward_norm.\2"),
    (r"transformer_decoder\.post_norm\.(.+)", rf"{_QUERIES}.query_norm.\1"),
    (r"cls_embed\.(.+)", rf"{_QUERIES}.class_layer.\1"),
    (r"mask_embed\.(.+)", rf"{_QUERIES}.mask_embedding.\1"),
    (r"level_embed\.weight", rf"{_QUERIES}.level_embedding"),
    (r"query_feat\.weight", rf"{_QUERIES}.query_content"),
    (r"query_embed\.weight", rf"{_QUERIES}.query_position"),
    (r"querys2feat\.(.+)", r"decoder.query_from_link.\1"),
)  # fmt: skip
_PACKED = re.compile(r"transformer_decoder\.layers\.(\d+)\.(cross|self)_attn\.attn\.in_proj_(weight|bias)")


def our_names(name: str) -> tuple[str, ...]:
    """Return how a segmenter calls what a published checkpoint calls ``name``.

    Three names for a packed projection, whose rows are query, key and value in turn; none where it is unknown or of the
    encoder.
    """
    short = name.removeprefix(_HEAD)
    if packed := _PACKED.fullmatch(short):
        block = f"{_QUERIES}.blocks.{packed[1]}.{packed[2]}_attention"
        return tuple(f"{block}.{part}.{packed[3]}" for part in ("query", "key", "value"))
    for theirs, ours in _NAMES:
        if match := re.fullmatch(theirs, short):
            return (match.expand(ours),)
    return ()


def is_rein(file: Path) -> bool:
    """Tell a checkpoint of Rein's program, pickle or safetensors, by its names."""
    try:
        if is_pickle(file):
            names = list(_state(read_file(file)))
        else:
            with safe_open(file, "pt") as opened:
                names = list(opened.keys())
    except (OSError, SafetensorError, WeightsError):
        return False  # whoever reads it will say what is wrong
    return any(name.startswith(_HEAD) for name in names)


def read_rein(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a published checkpoint; a pickle runs no code.

    Raises:
        WeightsError: it is damaged or would run code.
    """
    return _state(read_file(file))


def from_rein(state: Mapping[str, Tensor], segmenter: Segmenter) -> Published:
    """Rename a published state dict to the names of ``segmenter``; shapes are checked where it is loaded.

    Without an encoder in the file, as published, the tensors are completed with those that the segmenter's has.

    Args:
        state: as :func:`read_rein` gives it.
        segmenter: of the same encoder, tuning and decoder.

    Raises:
        WeightsError: the segmenter has another decoder, or normalises pixels otherwise.
    """
    encoder = segmenter.encoder
    if not isinstance(segmenter.decoder, FullMask2FormerDecoder) or not isinstance(encoder, VitEncoder):
        raise WeightsError(
            "the file is a checkpoint of Rein, whose decoder is the full Mask2Former on the maps of four blocks of a "
            "plain vision transformer. Set decoder.name mask2former_full, decoder.adapter false and decoder.taps "
            "[7, 11, 15, 23]."
        )
    for which, values in _STATISTICS.items():
        refuse_other_statistics(which, torch.tensor(values), segmenter)
    own = segmenter.state_dict()
    tensors: dict[str, Tensor] = {}
    backbone: dict[str, Tensor] = {}
    not_used = []
    for name, tensor in state.items():
        if name.startswith(_ENCODER) and not name.startswith(_REINS):
            backbone[name.removeprefix(_ENCODER)] = tensor
            continue
        ours = our_names(name)
        # Their module has the link's maps even where the decoder is not linked.
        if not ours or (name.startswith(_REINS) and "queries" in ours[0] and ours[0] not in own):
            not_used.append(name)
            continue
        tensors.update(
            zip(ours, tensor.chunk(len(ours)), strict=True) if len(ours) > 1 else {ours[0]: tensor}
        )
    if backbone:
        renamed, left_out = to_timm_names(backbone, encoder.vit)
        known = {n: t for n, t in renamed.items() if n in encoder.vit.state_dict()}
        not_used += [*left_out, *(f"{_ENCODER}{n}" for n in renamed if n not in known)]
        tensors |= {f"encoder.vit.{n}": t for n, t in known.items()}
    else:
        tensors |= {n: t for n, t in own.items() if n.startswith("encoder.")}
    return Published(tensors, tuple(not_used))


def said_of_encoder(state: Mapping[str, Tensor], segmenter: Segmenter) -> str:
    """Return what to say of the encoder that a published file is put on; empty where the file holds it."""
    if any(name.startswith(_ENCODER) and not name.startswith(_REINS) for name in state):
        return ""
    report = segmenter.encoder.weights_report
    said = f", which holds no encoder: its weights are those of {report.source}"
    if not report.resampled:
        return said
    return (
        f"{said}, resampled our way ({collapse(report.resampled)}); the published scores are from bicubically resampled "
        "ones, so give Rein's converted file to encoder.weights"
    )


def _state(content: object) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        return {}
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
