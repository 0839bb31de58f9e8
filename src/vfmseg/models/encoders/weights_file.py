"""A file of weights in, what it holds out: safetensors, or a pickle as torch writes it, of which no code is run."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vfmseg.errors import WeightsError
from vfmseg.types import Size

_DAMAGED = (
    SafetensorError,
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    AssertionError,
    struct.error,
)
"""What safetensors and torch are seen to raise for files with bytes changed or cut off."""


def is_pickle(path: Path) -> bool:
    """Tell by the first bytes: a zip as torch writes it, or a bare pickle; safetensors have a brace after a length.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as opened:
        start = opened.read(9)
    bare = len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5
    return (bare or start.startswith(b"PK")) and start[8:] != b"{"


def read_file(path: Path) -> Any:
    """Return the content of a file of weights, tensors on the CPU.

    Raises:
        WeightsError: it is damaged or of another kind, or would run code.
    """
    try:
        if is_pickle(path):
            with path.open("rb") as opened:  # given a path, torch goes by its ending
                return torch.load(opened, map_location="cpu", weights_only=True)
        with safe_open(path, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    except pickle.UnpicklingError as error:
        text = str(error).lower()
        if "unsupported global" not in text and "unrecognized" not in text:
            raise _damaged(path, error) from error
        raise WeightsError(
            f"{path} is a pickle that would run code when opened, which vfmseg refuses. If you trust its "
            'source, convert it once: python -c "import torch; from safetensors.torch import save_file; '
            f"d = torch.load('{path}', map_location='cpu', weights_only=False); "
            "d = d.get('model', d.get('state_dict', d)); "
            "save_file({k: v.contiguous() for k, v in d.items() if torch.is_tensor(v)}, "
            f"'{path.with_suffix('.safetensors')}')\" and give the .safetensors file"
        ) from error
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def image_size_of(path: Path) -> Size | None:
    """Return the (height, width) for which the encoder in a checkpoint of vfmseg was built; None for other files."""
    if not path.is_file() or is_pickle(path):
        return None
    try:
        with safe_open(path, "pt") as opened:
            size = json.loads((opened.metadata() or {})["vfmseg"])["recipe"]["encoder"]["image_size"]
            return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))
    except (*_DAMAGED, TypeError):  # whoever reads the weights says what is wrong with the file
        return None


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return WeightsError(
        f"{path} cannot be read as weights: damaged, cut short or of another kind ({reason}). Fetch it again; "
        "safetensors and PyTorch's files of tensors (.pth, .bin, .ckpt) are read."
    )
