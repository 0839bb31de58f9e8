"""The checkpoint of a tuned model in, an ordinary one out: what was added is folded into the encoder's weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from vfmseg.errors import CheckpointError, RecipeError
from vfmseg.models.checkpoint import MODEL_FILE, find_model_file, read_header, save_model
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.basic import FullTuning
from vfmseg.models.tuning.catalog import build_tuning
from vfmseg.runs.assemble import Say
from vfmseg.runs.fit import say_on_stderr
from vfmseg.runs.folder import make_writable
from vfmseg.runs.restore import model_recipe, restore
from vfmseg.runs.start_weights import is_published
from vfmseg.runs.validate import refuse_run_folder

_TOLERANCE = 1e-3
"""Of the largest feature: sums in another order differ, but not that much."""


@dataclass(frozen=True)
class MergedCheckpoint:
    """What a merge has written."""

    folder: Path
    """Checkpoint folder."""
    method: str
    """The tuning that was folded in."""
    difference: float
    """Largest difference of the encoder's features for one image of noise, as a share of the largest."""


def merge_checkpoint(
    checkpoint: str | Path, out: str | Path, *, overwrite: bool = False, say: Say = say_on_stderr
) -> MergedCheckpoint:
    """Write a checkpoint whose encoder needs no tuning any more, and holds all its weights.

    Args:
        checkpoint: a run folder (its best checkpoint), a checkpoint folder or a model file.
        out: checkpoint folder to write; made where it is missing.
        overwrite: replace a checkpoint that is there.
        say: where messages go.

    Raises:
        RecipeError: the tuning adds what is no change of weights, or there is a checkpoint or a run at ``out``.
        CheckpointError: no checkpoint of vfmseg, or merging changed the encoder's features.
        ResourceError: ``out`` cannot be written.
    """
    folder = Path(out)
    file = find_model_file(checkpoint)
    if is_published(file):
        raise CheckpointError(
            f"{file} is not of vfmseg; merge takes a checkpoint of a run. Fine-tune from it: vfmseg fit --init_from FILE."
        )
    header = read_header(file)
    recipe = model_recipe(header, file)
    method = recipe.tuning.method
    options = {key: value for key, value in dataclasses.asdict(recipe.tuning).items() if key != "method"}
    tuning = build_tuning(method, options)
    if not tuning.can_merge:
        tuning.refuse_merge()
    refuse_run_folder(folder)
    if (folder / MODEL_FILE).exists() and not overwrite:
        raise RecipeError(
            f"{folder} already holds a checkpoint. Replace it with --overwrite, or write elsewhere with --out."
        )
    make_writable(folder)
    segmenter = restore(file)
    difference = merge_into_encoder(segmenter)
    if not difference <= _TOLERANCE:
        raise CheckpointError(
            f"{file}: merged, the encoder's features differ by {difference:.1e} of the largest (allowed: {_TOLERANCE}), "
            "so nothing was written. Its weights are damaged: try another checkpoint of the run."
        )
    merged = {**header.recipe, "tuning": {"method": FullTuning.name}}
    save_model(folder, segmenter, dataclasses.replace(header, recipe=merged, encoder_hash=None))
    say(
        f"merge: tuning {method} of {file} folded into the encoder's weights; its features of an image of noise differ "
        f"by {difference:.1e} of the largest"
    )
    return MergedCheckpoint(folder, method, difference)


@torch.no_grad()
def merge_into_encoder(segmenter: Segmenter) -> float:
    """Fold the segmenter's tuning into its encoder, in place.

    Returns:
        Largest difference of the encoder's features for one image of noise before and after, as a share of the largest.

    Raises:
        RecipeError: the tuning adds what is no change of weights.
    """
    encoder = segmenter.eval().encoder
    size = segmenter.image_size
    noise = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(0))
    pixels = encoder.normalise(noise.to(torch.uint8))
    before = encoder.forward_grid(pixels)
    segmenter.tuning.merge(encoder)
    segmenter.tuning = FullTuning()
    after = encoder.forward_grid(pixels)
    return float((after - before).abs().max() / before.abs().max())
