"""The name of a vision foundation model in, an Encoder at the image and patch size wanted out.

Whatever the source of the weights, the path is the same: the architecture at its own size, the weights into
it, then :meth:`Encoder.adapt` to the size wanted. What can be refused is refused before a download.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import timm
from timm.models.vision_transformer_sam import VisionTransformerSAM

from vfmseg.errors import RecipeError, nearest
from vfmseg.models.encoders import native
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.encoders.catalog import lookup
from vfmseg.models.encoders.hub import hub_errors
from vfmseg.models.encoders.huggingface import read_blueprint, weights_of
from vfmseg.models.encoders.names import to_timm_names
from vfmseg.models.encoders.resample import Positions, patch_grid, window_size
from vfmseg.models.encoders.sam import SamEncoder
from vfmseg.models.encoders.vit import VitEncoder
from vfmseg.models.encoders.weights import fill, own_size, read_weights
from vfmseg.models.encoders.weights_file import image_size_of
from vfmseg.models.encoders.weights_report import WeightsReport
from vfmseg.types import Size

Statistics = str | tuple[Sequence[float], Sequence[float]]
"""What pixels in [0, 1] are normalised by: a word, or their mean and standard deviation."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class _Plan:
    """What the name of an encoder stands for."""

    name: str
    """As the user wrote it."""
    timm_name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    huggingface: str = ""
    """Hub id or folder where transformers' weights are; empty where timm has them."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the timm constructor."""


def build_encoder(
    name: str,
    image_size: int | Size,
    patch_size: int | None = None,
    *,
    weights: str | Path = "pretrained",
    sub_norm: bool = False,
    overrides: Mapping[str, Any] | None = None,
    positions: str = "crop",
    published_rel_pos: bool = True,
    rope_rescale: float | None = None,
    statistics: Statistics = "own",
) -> Encoder:
    """Build the encoder ``name`` for images of ``image_size`` pixels.

    Args:
        name: a short name (``vfmseg list encoders``), a plain ViT of timm by its timm name, with or without
            ``.tag``, or a DINOv2 or DINOv3 of the Hugging Face hub by its id or as a folder.
        image_size: pixels, (height, width) or one number for both; a multiple of the patch size.
        patch_size: pixels a side; None keeps the encoder's own.
        weights: ``pretrained`` (from the hub or its cache), ``random``, or the path of a file.
        sub_norm: add BEiT-3's LayerNorms to a plain ViT, as the benchmark does.
        overrides: other sizes of the architecture (:data:`native.OVERRIDES`), for tiny encoders.
        positions: absolute positions of a non-square image: ``crop`` as the benchmark does, or ``stretch``.
        published_rel_pos: SAM only, see :class:`SamEncoder`.
        rope_rescale: DINOv3 only, see :class:`VitEncoder`.
        statistics: what pixels are normalised by: ``own``, ``imagenet``, or (mean, standard deviation) of red, green and
            blue in [0, 1].

    Returns:
        The encoder in evaluation mode; ``weights_report`` says where its weights came from, what in the file
        is not used, and what was resampled.

    Raises:
        RecipeError: unknown name, no plain ViT, or sizes and settings that do not go together.
        WeightsError: the file cannot be read, or does not fit.
        HubError: the weights cannot be had from the hub.
    """
    overrides = dict(overrides or {})
    _check_settings(weights, overrides, sub_norm, positions)
    plan = _plan(name, overrides)
    outline = native.outline(plan.timm_name, plan.arguments)
    heads = native.remove_heads(outline)
    if sub_norm:
        native.add_sub_norms(outline)
    size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    patch = outline.patch_embed.patch_size[0] if patch_size is None else patch_size
    _check_size(outline, size, patch)

    if weights == "random":
        vit = _finished(native.create(plan.timm_name, plan.arguments, outline), sub_norm)
        report = WeightsReport("random")
    elif weights == "pretrained" and not plan.huggingface:
        vit, report = _from_timm(plan, outline, heads)
    else:
        path = weights_of(plan.huggingface) if weights == "pretrained" else Path(weights)
        vit, report = _from_file(plan, path, outline, sub_norm)

    mean, std = _statistics(plan, statistics)
    shared: dict[str, Any] = {"mean": mean, "std": std, "positions": positions}
    encoder: Encoder
    if isinstance(vit, VisionTransformerSAM):
        encoder = SamEncoder(vit, **shared, published_rel_pos=published_rel_pos)
    else:
        encoder = VitEncoder(vit, **shared, rope_rescale=rope_rescale)
    encoder.weights_report = report
    encoder.adapt(size, patch)
    return encoder.eval()


def _statistics(plan: _Plan, asked: Statistics) -> tuple[Sequence[float], Sequence[float]]:
    if asked == "own":
        return plan.mean, plan.std
    if asked == "imagenet":
        return IMAGENET_MEAN, IMAGENET_STD
    if isinstance(asked, str) or len(asked) != 2 or any(len(values) != 3 for values in asked):
        raise RecipeError(
            f"encoder.statistics {asked!r} is unknown; it is own, imagenet, or [[mean of red, green, blue], [standard "
            "deviation of each]] of pixels in [0, 1]"
        )
    return asked


def _check_settings(
    weights: str | Path, overrides: Mapping[str, Any], sub_norm: bool, positions: str
) -> None:
    if positions not in get_args(Positions):
        raise RecipeError(
            f"encoder.positions {positions!r} is unknown; it is one of {', '.join(get_args(Positions))}"
        )
    for key in overrides:
        if key not in native.OVERRIDES:
            raise RecipeError(
                f"encoder.overrides has no {key!r}.{nearest(key, native.OVERRIDES)} "
                f"Possible: {', '.join(native.OVERRIDES)}"
            )
    if weights == "pretrained" and overrides:
        raise RecipeError(
            "encoder.overrides changes the encoder's shape, so pretrained weights cannot fit; "
            "set encoder.weights to random or to a local file"
        )
    if weights == "pretrained" and sub_norm:
        raise RecipeError(
            "encoder.sub_norm adds LayerNorms for which timm has no weights; give the BEiT-3 file with "
            "encoder.weights=PATH, or take encoder.name beit3-b with encoder.sub_norm false"
        )


def _plan(name: str, overrides: Mapping[str, Any]) -> _Plan:
    info = lookup(name)
    if info is None and ("/" in name or (Path(name) / "config.json").is_file()):
        if not name.startswith("timm/"):
            blueprint = read_blueprint(name)
            arguments = {**blueprint.arguments, **overrides}
            return _Plan(name, blueprint.timm_name, blueprint.mean, blueprint.std, name, arguments)
        info = lookup(name.removeprefix("timm/"))
    timm_name = info.timm_name if info else name.removeprefix("timm/")
    native.check_timm_name(timm_name)
    config = timm.models.get_pretrained_cfg(timm_name)
    huggingface = info.hub_id if info and info.is_huggingface else ""
    return _Plan(name, timm_name, config.mean, config.std, huggingface, overrides)


def _check_size(outline: native.PlainViT, image_size: Size, patch_size: int) -> None:
    grid = patch_grid(image_size, patch_size)
    if isinstance(outline, VisionTransformerSAM):
        for block in outline.blocks:
            window_size(block.window_size, max(outline.patch_embed.grid_size), grid, patch_size)


def _finished(vit: native.PlainViT, sub_norm: bool) -> native.PlainViT:
    native.remove_heads(vit)
    if sub_norm:
        native.add_sub_norms(vit)
    return vit


def _from_timm(
    plan: _Plan, outline: native.PlainViT, heads: tuple[str, ...]
) -> tuple[native.PlainViT, WeightsReport]:
    config = timm.models.get_pretrained_cfg(plan.timm_name)
    if not config.has_weights:
        raise RecipeError(
            f"encoder.name {plan.name!r}: timm has the architecture but no weights of it; "
            "set encoder.weights to random or to a local file"
        )
    source = config.hf_hub_id or config.url
    with hub_errors(source):
        vit = native.create(plan.timm_name, plan.arguments, outline, pretrained=True)
    return _finished(vit, False), WeightsReport(source, not_used=heads)


def _from_file(
    plan: _Plan, path: Path, outline: native.PlainViT, sub_norm: bool
) -> tuple[native.PlainViT, WeightsReport]:
    raw, report = read_weights(path)
    state, left_out = to_timm_names(raw, outline)
    arguments = {**plan.arguments, **own_size(state, outline, image_size_of(path))}
    vit = _finished(native.create(plan.timm_name, arguments, outline), sub_norm)
    report = WeightsReport(report.source, report.container, report.prefix, report.not_used + left_out)
    return vit, fill(vit, state, report, plan.name)
