"""What transformers saved of an EoMT, weights with JSON files beside them, in; tensors and what is known of them out.

Weights alone do not tell how many heads and query blocks a model has, nor how its pixels were normalised:
``config.json`` and ``preprocessor_config.json`` do, and contradicting them would give wrong predictions in silence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vfmseg.errors import WeightsError
from vfmseg.interop.transformers_eomt import sizes_of
from vfmseg.interop.tue_mps import refuse_other_statistics
from vfmseg.models.checkpoint import read_tensors
from vfmseg.models.segmenter import Segmenter

_OF_EOMT = {"query.weight", "class_predictor.weight", "mask_head.fc1.weight", "embeddings.cls_token"}
_KEY_OF = {
    "num_queries": "decoder.num_queries",
    "num_blocks": "decoder.num_blocks",
    "patch_size": "encoder.patch_size",
}
"""Settings of ``config.json`` that are keys of a recipe; the others follow from the encoder's name."""

_NO_MATTER = {"layer_norm_eps"}
"""Settings that publishers of one model state differently, without a difference that can be seen."""


@dataclass(frozen=True)
class TransformersFile:
    """A saved EoMT."""

    state: dict[str, Tensor]
    """Under transformers' names."""
    settings: dict[str, Any]
    """Of ``config.json``, with transformers' defaults for what it leaves out; empty where there is none."""
    names: tuple[str, ...]
    """Of the classes; empty where ``config.json`` has none but made-up ones."""
    statistics: dict[str, tuple[float, ...]]
    """``mean`` and ``std`` of ``preprocessor_config.json``, per channel of pixels in [0, 1]; empty where it has none."""


def is_transformers_eomt(file: Path) -> bool:
    """Tell an EoMT saved by transformers from other safetensors, and from whatever else a file may be."""
    try:
        with safe_open(file, "pt") as opened:
            return set(opened.keys()) >= _OF_EOMT
    except (OSError, SafetensorError):
        return False  # whoever reads it will say what is wrong


def read_transformers(file: Path) -> TransformersFile:
    """Read a saved EoMT with what lies beside it.

    Args:
        file: ``model.safetensors``.

    Raises:
        CheckpointError: the weights are damaged.
        WeightsError: a JSON beside them is damaged.
    """
    settings, names = _settings(file.with_name("config.json"))
    return TransformersFile(
        read_tensors(file), settings, names, _statistics(file.with_name("preprocessor_config.json"))
    )


def refuse_other_model(found: TransformersFile, segmenter: Segmenter, file: Path) -> None:
    """Raise WeightsError where the file was saved of another model than ``segmenter``, all differences at once."""
    for which, values in found.statistics.items():
        refuse_other_statistics(which, torch.tensor(values), segmenter)
    differing = [
        f"  {key} is {found.settings[key]}, the recipe's model has {value} ({_KEY_OF.get(key, 'encoder.name')})"
        for key, value in sizes_of(segmenter).items()
        if key not in _NO_MATTER and key in found.settings and found.settings[key] != value
    ]
    if differing:
        raise WeightsError(
            f"{file} is of another model, says the config.json beside it:\n"
            + "\n".join(differing)
            + "\nGive the recipe it was trained by, or change these keys."
        )


def first_other_name(theirs: Sequence[str], ours: Sequence[str]) -> int | None:
    """Return the first class that the two call differently; only the first of several synonyms counts, not its case."""
    for place, (one, other) in enumerate(zip(theirs, ours, strict=True)):
        if _plain(one) != _plain(other):
            return place
    return None


def _plain(name: str) -> str:
    return name.partition(",")[0].strip().casefold()


def _settings(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    if not path.is_file():
        return {}, ()
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig  # seconds to import, and a file may come without its config.json

    # what is wrong in a JSON shows as any of these where transformers takes it apart
    try:
        settings = AutoConfig.from_pretrained(path.parent, local_files_only=True).to_dict()
        patch = settings["patch_size"]
        settings["patch_size"] = patch if isinstance(patch, int) else patch[0]
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        StrictDataclassError,
    ) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise WeightsError(
            f"{path} cannot be read as transformers' configuration of an EoMT ({reason}). Fetch it again, or move it "
            "away to do without it."
        ) from None
    named = settings.pop("id2label", {})
    names = tuple(str(named[number]) for number in sorted(named))
    if all(name == f"LABEL_{number}" for number, name in enumerate(names)):
        names = ()
    return settings, names


def _statistics(path: Path) -> dict[str, tuple[float, ...]]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            which: tuple(float(v) for v in content[f"image_{which}"])
            for which in ("mean", "std")
            if content.get(f"image_{which}")
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} cannot be read as transformers' settings of an image processor ({error}). Fetch it again, or move "
            "it away."
        ) from None
