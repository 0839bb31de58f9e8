"""A checkpoint in, something that predicts out; nothing but the checkpoint is needed."""

from __future__ import annotations

from pathlib import Path

from vfmseg.inference.predictor import Predictor
from vfmseg.models.checkpoint import find_model_file, read_header
from vfmseg.runs.validate import restore


def load(checkpoint: str | Path, *, device: str | None = None) -> Predictor:
    """Load a trained model.

    Args:
        checkpoint: a run folder (its best checkpoint), a checkpoint folder or a model file.
        device: such as ``cpu`` or ``cuda:1``; by default a GPU where there is one.

    Raises:
        CheckpointError: no model there, or a damaged one.
        ResourceError: the device is not there.
    """
    file = find_model_file(checkpoint)
    return Predictor(restore(file), read_header(file).label_space, device=device)
