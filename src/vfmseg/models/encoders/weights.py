"""A file of weights in, a filled vision transformer and a report of what was used out.

Nothing is loaded in part: a file that does not fit is refused with what is missing, what is unknown and what
has another shape. Files are safetensors, or pickles that run no code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from vfmseg.errors import WeightsError
from vfmseg.models.encoders.names import State
from vfmseg.models.encoders.native import PlainViT
from vfmseg.models.encoders.weights_file import read_file
from vfmseg.models.encoders.weights_report import WeightsReport, collapse, few
from vfmseg.types import Size

_CONTAINERS = ("model_ema", "state_dict", "model", "teacher", "module")
_PATCH_EMBEDDINGS = (
    "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embeddings.weight",
    "vision_embed.proj.weight",
)
"""How the publishers call the one layer that every vision transformer has; shows the prefix of all names."""

_NOT_FOR_SEGMENTATION = re.compile(
    r"(head|head_dist|fc|fc_norm|attn_pool|neck|decoder|decoder_\w+|pre_logits|lm_head|classifier)\b.*"
    r"|local_cls_norm\..*|mask_token"
    r"|rope(_embed|_embeddings)?\.(?!freqs$).*"  # rotary tables are made for the size; freqs are learned
)


def read_weights(path: Path) -> tuple[State, WeightsReport]:
    """Read the state dict in ``path``, and cut the prefix that its names share.

    Args:
        path: ``.safetensors``, a pickle (``.pth``, ``.pt``, ``.bin`` …), or a folder of transformers.

    Raises:
        WeightsError: no such file; it is damaged, would run code, or holds no vision transformer, or two.
    """
    raw = _open(path)
    keys: list[str] = []
    while not any(isinstance(value, Tensor) for value in raw.values()):
        key = next((k for k in _CONTAINERS if isinstance(raw.get(k), Mapping)), None)
        if key is None:
            raise WeightsError(f"{path} holds no weights; it holds {few(str(k) for k in raw)}")
        keys.append(key)
        raw = raw[key]
    tensors = {str(k): v for k, v in raw.items() if isinstance(v, Tensor)}
    prefix = _prefix(path, tensors)
    inside = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    outside = tuple(name for name in tensors if not name.startswith(prefix))
    return inside, WeightsReport(str(path), ".".join(keys), prefix, outside)


def own_size(state: State, vit: PlainViT, made_for: Size | None = None) -> dict[str, int | Size]:
    """Return the ``img_size`` and ``patch_size`` at which ``state`` (timm names) was made.

    Args:
        state: weights under timm names.
        vit: the architecture; gives the grid where the weights have no table of positions.
        made_for: (height, width) that the file says its images have; None where it says nothing.

    Raises:
        WeightsError: patches are not square, or positions and nothing says what they are of.
    """
    kernel = state["patch_embed.proj.weight"]
    if kernel.ndim != 4 or kernel.shape[2] != kernel.shape[3]:
        raise WeightsError(
            f"the file's patch embedding is {tuple(kernel.shape)}; expected (C, 3, patch, patch)"
        )
    patch, table = kernel.shape[2], state.get("pos_embed")
    if table is None or vit.pos_embed is None:
        side = vit.patch_embed.grid_size[0]
    elif isinstance(vit, VisionTransformerSAM):
        side = table.shape[1]
    else:
        num_patches = table.shape[1] - (0 if vit.no_embed_class else vit.num_prefix_tokens)
        side = isqrt(max(num_patches, 0))
        if made_for is not None and made_for[0] // patch * (made_for[1] // patch) == num_patches:
            return {"img_size": made_for, "patch_size": patch}
        if side * side != num_patches:
            raise WeightsError(
                f"the file has positions for {num_patches} patches, which is no square grid; "
                "give the weights at the size at which they were published"
            )
    return {"img_size": side * patch, "patch_size": patch}


def fill(vit: PlainViT, state: State, report: WeightsReport, name: str) -> WeightsReport:
    """Load ``state`` (timm names) into ``vit`` in place, all of it or nothing.

    Args:
        vit: without head, at the size of ``state``.
        state: weights under timm names.
        report: of the file, so far.
        name: what the user calls the encoder; for the message.

    Returns:
        The report, with the names that segmentation does not use.

    Raises:
        WeightsError: something is missing, unknown, or of another shape; names all three.
    """
    wanted = vit.state_dict()
    not_used = tuple(n for n in state if n not in wanted and _is_not_used(n, vit))
    given = {n: t for n, t in state.items() if n not in not_used}
    missing = [n for n in wanted if n not in given]
    unknown = [n for n in given if n not in wanted]
    shapes = [
        f"{n} is {tuple(given[n].shape)} in the file, {tuple(t.shape)} in the encoder"
        for n, t in wanted.items()
        if n in given and given[n].shape != t.shape
    ]
    if missing or unknown or shapes:
        raise WeightsError(
            f"{report.source} does not fit encoder.name {name!r}:\n"
            f"  missing in the file ({len(missing)}): {collapse(missing)}\n"
            f"  unknown to the encoder ({len(unknown)}): {collapse(unknown)}\n"
            f"  of another shape ({len(shapes)}): {few(shapes)}\n"
            "Give the file of this encoder, or set encoder.name (and encoder.sub_norm) to what the file "
            "holds; `vfmseg list encoders` shows widths and depths"
        )
    vit.load_state_dict(given)
    return WeightsReport(report.source, report.container, report.prefix, report.not_used + not_used)


def _is_not_used(name: str, vit: PlainViT) -> bool:
    if name.startswith("norm.") and not isinstance(vit, VisionTransformerSAM):
        return isinstance(vit.norm, nn.Identity)  # published features of this family have no final norm
    return _NOT_FOR_SEGMENTATION.fullmatch(name) is not None


def _open(path: Path) -> Mapping[Any, Any]:
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise WeightsError(
            f"encoder.weights {path}: no such file. Give the path of a .safetensors or .pth file, "
            "or `pretrained` or `random`"
        )
    content = read_file(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict")
    return content


def _open_folder(folder: Path) -> Mapping[Any, Any]:
    """Read the safetensors of a folder in the layout of transformers, one file or several."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        if not (folder / "model.safetensors").is_file():
            raise WeightsError(f"{folder} holds no model.safetensors; give the file itself")
        return _open(folder / "model.safetensors")
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise WeightsError(
            f"{index} cannot be read as a list of weights ({error!r}). Fetch it again"
        ) from None
    return {name: tensor for file in files for name, tensor in _open(folder / file).items()}


def _prefix(path: Path, tensors: State) -> str:
    found = {
        name[: -len(last)]
        for name in tensors
        for last in _PATCH_EMBEDDINGS
        if name == last or name.endswith(f".{last}")
    }
    if not found:
        raise WeightsError(
            f"{path} holds no vision transformer whose names vfmseg knows (timm, Meta's DINOv2, DINOv3 and "
            "SAM, transformers' DINOv2 and DINOv3, BEiT-3): no patch embedding among "
            f"{collapse(list(tensors))}"
        )
    if len(found) > 1:
        raise WeightsError(
            f"{path} holds {len(found)} vision transformers, under {few(sorted(found))}; "
            "save the one you want to a file of its own"
        )
    return found.pop()
