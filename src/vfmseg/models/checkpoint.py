"""A segmenter and what is known of it in, one safetensors file out; and back.

The file alone suffices to predict: its header carries the resolved recipe, the classes and the
normalisation statistics beside the weights.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vfmseg.errors import CheckpointError, WeightsError
from vfmseg.models.writing import whole_file, writing
from vfmseg.types import LabelSpace

MODEL_FILE = "model.safetensors"
"""Name of the file inside a checkpoint folder."""
_KEY = "vfmseg"


@dataclass(frozen=True)
class CheckpointHeader:
    """What a model file says of itself beside its weights."""

    recipe: dict[str, Any]
    """The resolved recipe as nested plain values."""
    label_space: LabelSpace
    mean: tuple[float, ...]
    """Per channel, of pixels in [0, 1]; a record for other programs, the encoder holds its own."""
    std: tuple[float, ...]
    step: int
    """Optimiser steps done."""
    metrics: dict[str, float | None] = field(default_factory=dict)
    """Of the validation that belongs to these weights; empty where there was none."""
    encoder_hash: str | None = None
    """Of the encoder's weights that the file leaves out, as they did not learn; None where it holds all."""

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "format": 1,
            "recipe": self.recipe,
            "classes": self.label_space.as_dict(),
            "mean": list(self.mean),
            "std": list(self.std),
            "step": self.step,
            "metrics": self.metrics,
            "encoder_hash": self.encoder_hash,
        }


def save_model(
    folder: Path, module: nn.Module, header: CheckpointHeader, *, left_out: Collection[str] = ()
) -> None:
    """Write ``model.safetensors`` and a readable copy of its header, ``checkpoint.json``, into ``folder``.

    Each file appears whole or not at all; what stood there before stays until then.

    Args:
        folder: made where it is not there.
        module: whose state is written.
        header: what is said of it.
        left_out: names of its state that are not written: those that ``header.encoder_hash`` is of.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    tensors = {
        key: value.detach().cpu().contiguous()
        for key, value in module.state_dict().items()
        if key not in left_out
    }
    described = header.as_dict()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / MODEL_FILE) as partial:
        save_file(tensors, partial, metadata={_KEY: json.dumps(described)})
    with whole_file(folder / "checkpoint.json") as partial:
        partial.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def find_model_file(path: str | Path) -> Path:
    """Return the model file that ``path`` means: the file, a checkpoint folder, or a run folder (its best).

    Raises:
        CheckpointError: there is none; says what was looked for.
    """
    path = Path(path)
    if path.is_file():
        return path
    tried = [
        path / MODEL_FILE,
        path / "checkpoints" / "best" / MODEL_FILE,
        path / "checkpoints" / "last" / MODEL_FILE,
    ]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    if not path.exists():
        raise CheckpointError(
            f"There is no checkpoint at {path}. Give a run folder, or one of its checkpoints, such as "
            "runs/NAME/checkpoints/best."
        )
    raise CheckpointError(
        f"{path} holds no model: looked for {', '.join(str(t.relative_to(path)) for t in tried)}. "
        "Has the run reached its first checkpoint?"
    )


def read_header(path: str | Path) -> CheckpointHeader:
    """Return what a checkpoint says of itself, without reading its weights.

    Raises:
        CheckpointError: no model there, a damaged file, or a safetensors file of another program.
    """
    file = find_model_file(path)
    try:
        with safe_open(file, "pt") as opened:
            raw = (opened.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from None
    if raw is None:
        raise CheckpointError(
            f"{file} was not written by vfmseg: its header has no recipe and no classes. To start from its weights "
            "use encoder.weights; to predict, give a checkpoint of a vfmseg run."
        )
    try:
        known = json.loads(raw)
        return CheckpointHeader(
            recipe=dict(known["recipe"]),
            label_space=LabelSpace.from_dict(known["classes"]),
            mean=tuple(map(float, known["mean"])),
            std=tuple(map(float, known["std"])),
            step=int(known["step"]),
            metrics=dict(known["metrics"]),
            encoder_hash=known.get("encoder_hash"),  # files of before it was there are whole
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # AttributeError: a list for a mapping
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"cannot be understood: {error}"
        raise _damaged(file, f"its header {reason}") from None


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, on the CPU.

    Raises:
        CheckpointError: no model there, or a damaged file.
    """
    file = find_model_file(path)
    try:
        with safe_open(file, "pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"{file} is no whole model file: damaged, cut short or of another kind ({reason}). Copy or fetch it again, or "
        "give another checkpoint: a run has two, checkpoints/best and checkpoints/last."
    )


def load_into(module: nn.Module, tensors: dict[str, Tensor], *, source: str | Path) -> None:
    """Load ``tensors`` into ``module``; every name and shape must fit.

    Raises:
        WeightsError: with the names that are missing, left over, or of another shape.
    """
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    extra = sorted(set(tensors) - set(wanted))
    shapes = sorted(
        f"{key}: file {tuple(tensors[key].shape)}, model {tuple(wanted[key].shape)}"
        for key in set(wanted) & set(tensors)
        if wanted[key].shape != tensors[key].shape
    )
    if missing or extra or shapes:
        raise WeightsError(
            f"The weights in {source} do not fit the model.\n"
            f"  missing in the file ({len(missing)}): {_some(missing)}\n"
            f"  not in the model ({len(extra)}): {_some(extra)}\n"
            f"  of another shape ({len(shapes)}): {_some(shapes)}\n"
            "The recipe (encoder, decoder, image and patch size) must be the one they were saved with."
        )
    with torch.no_grad():
        module.load_state_dict(tensors)


def _some(names: list[str], limit: int = 8) -> str:
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
