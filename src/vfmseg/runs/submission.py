"""A checkpoint and the images of a test set in, the folder that the benchmark's server asks for out, whole or refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vfmseg.errors import DataError, ImageError, RecipeError
from vfmseg.inference.image_files import find_images, read_image
from vfmseg.inference.output_files import writing_into
from vfmseg.inference.predictor import Predictor, Tiling
from vfmseg.inference.semantic import SemanticSegmentation
from vfmseg.inference.submission import Entry, codes_of, find_submission, plan_entries, save_entry
from vfmseg.runs.folder import make_writable
from vfmseg.runs.load import load
from vfmseg.runs.predict import PredictedFiles
from vfmseg.runs.recipe import Recipe
from vfmseg.transforms.averaged_views import AveragedViews

_SHOWN = 5


def predict_submission(
    checkpoint: str | Path | Predictor,
    inputs: str | Path | Sequence[str | Path],
    *,
    submission: str,
    out: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    device: str | None = None,
    tiling: Tiling = "never",
    augment: AveragedViews | None = None,
    zipped: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> PredictedFiles:
    """Predict a test set, whose labels are not public, in the files that its server asks for.

    The set is looked at before a model is loaded, and the files afterwards.

    Args:
        checkpoint: of a semantic model; what :func:`vfmseg.load` takes, or the model that it gave.
        inputs: folders (searched to the bottom) and images.
        submission: ``cityscapes``, ``acdc`` or ``bravo``, see :mod:`vfmseg.inference.submission`.
        out: made where it is missing; holds nothing else.
        recipe: see :func:`vfmseg.load`.
        device: see :func:`vfmseg.load`.
        tiling: how images larger than the model's view are cut; by default as validation does.
        augment: test-time augmentation.
        zipped: also write ``OUT.zip``.
        overwrite: replace a submission that is in ``out``.
        progress: show a bar.

    Raises:
        DataError: the test set is not there as a whole, a prediction is missing at the end, or the model has classes that
            the server does not know.
        RecipeError: no such submission, one that is not zipped, files in ``out`` or a zip of earlier ones, or a model of
            another task.
        VfmsegError: as :func:`vfmseg.load`.
    """
    asked = find_submission(submission)
    if zipped and not asked.zips:
        raise RecipeError(f"{asked.title} takes no zip. {asked.then}. Leave out --zip.")
    folder = Path(out)
    given = [inputs] if isinstance(inputs, str | Path) else inputs
    entries = plan_entries(asked, find_images(given))
    archive = folder.with_name(f"{folder.name}.zip")
    _refuse_to_mix(folder, entries, archive, zipped=zipped, overwrite=overwrite)
    model = checkpoint if isinstance(checkpoint, Predictor) else load(checkpoint, recipe, device=device)
    if not issubclass(model.result_type, SemanticSegmentation):
        raise RecipeError(
            f"{asked.title} is scored per pixel, but this is a model of task {model.task.name}. Give a semantic one."
        )
    model.check_options(tiling=tiling, augment=augment)
    codes = codes_of(asked, model.label_space)
    with_confidence = bool(asked.confidence)
    if with_confidence and augment is None:
        augment = (
            AveragedViews()
        )  # one view, whose confidences are float32: float16 has too few levels near 1

    make_writable(folder)
    for entry in entries:  # so that none of another model stays where an image fails
        for name in filter(None, (entry.prediction, entry.confidence)):
            (folder / name).unlink(missing_ok=True)
    done = PredictedFiles(folder)
    with writing_into(folder):
        for entry in tqdm(entries, unit="image", disable=not progress):
            try:
                image = read_image(entry.image.path)
            except ImageError as error:
                done.failed[str(entry.image.path)] = str(error)
                continue
            found = model.predict(image, confidence=with_confidence, tiling=tiling, augment=augment)
            assert isinstance(found, SemanticSegmentation)
            save_entry(folder, entry, found.semantic, codes, found.confidence)
            done.num_written += 1
    _refuse_incomplete(folder, done)
    if zipped:
        partial = folder.with_name(f"{folder.name}.partial.zip")
        try:
            with writing_into(archive.parent):
                shutil.make_archive(str(partial.with_suffix("")), "zip", folder)
                partial.replace(archive)
        finally:
            partial.unlink(missing_ok=True)
    return done


def _refuse_to_mix(
    folder: Path, entries: Sequence[Entry], archive: Path, *, zipped: bool, overwrite: bool
) -> None:
    own = {name for entry in entries for name in (entry.prediction, entry.confidence)}
    there = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    if other := [name for name in there if name not in own]:
        raise RecipeError(
            f"{folder} holds {len(other)} other files ({other[0]} ...), and a submission must hold nothing else. Choose "
            "another --out."
        )
    if there and not overwrite:
        raise RecipeError(
            f"{folder} already holds {len(there)} of the files ({there[0]} ...). Replace them with --overwrite, or write "
            "elsewhere with --out."
        )
    if there and archive.exists() and not zipped:
        raise RecipeError(
            f"{archive} would go on holding the earlier predictions. Replace it, too (--zip), or choose another --out."
        )
    if zipped and archive.exists() and not overwrite:
        raise RecipeError(
            f"{archive} is there already. Replace it with --overwrite, or choose another --out."
        )


def _refuse_incomplete(folder: Path, done: PredictedFiles) -> None:
    if not done.failed:
        return
    shown = "\n  ".join(list(done.failed.values())[:_SHOWN])
    more = f"\n  and {len(done.failed) - _SHOWN} more" if len(done.failed) > _SHOWN else ""
    raise DataError(
        f"{folder} is incomplete, so the server would refuse it: {len(done.failed)} images could not be predicted:\n"
        f"  {shown}{more}\nFetch them again, and predict with --overwrite."
    )
