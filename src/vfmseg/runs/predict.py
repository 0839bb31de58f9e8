"""A checkpoint or model and image files in, a folder of their predictions out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vfmseg.errors import ImageError, RecipeError
from vfmseg.inference.coco import image_ids as numbers_of
from vfmseg.inference.coco import image_ids_of
from vfmseg.inference.image_files import ImageFile, find_images, read_image
from vfmseg.inference.instance import InstanceSegmentation
from vfmseg.inference.output_files import Spool, write_spooled, writing_into
from vfmseg.inference.predictor import Predictor, Tiling
from vfmseg.inference.result import ImageEntry
from vfmseg.runs.folder import make_writable
from vfmseg.runs.load import load
from vfmseg.runs.recipe import Recipe
from vfmseg.transforms.averaged_views import AveragedViews


@dataclass
class PredictedFiles:
    """What a prediction of many files has done."""

    folder: Path
    num_written: int = 0
    """Images predicted; ``predictions.json`` lists them."""
    failed: dict[str, str] = field(default_factory=dict)
    """Image to what was wrong with it."""


def predict(
    checkpoint: str | Path | Predictor,
    inputs: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    device: str | None = None,
    confidence: bool | None = None,
    with_overlay: bool = True,
    tiling: Tiling = "auto",
    min_score: float | None = None,
    image_ids: str | Path | None = None,
    augment: AveragedViews | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> PredictedFiles:
    """Predict images and folders with a checkpoint, as ``vfmseg predict`` does.

    Args:
        checkpoint: what :func:`vfmseg.load` takes, or the model that it gave.
        inputs: an image, a folder (searched to the bottom), or several of them.
        out: made where it is missing.
        recipe: see :func:`vfmseg.load`.
        device: see :func:`vfmseg.load`.
        confidence: see :func:`predict_files`, as for all that follow.
        with_overlay: also write overlays.
        tiling: how images larger than the model's view are cut.
        min_score: score from which on overlays show instances.
        image_ids: COCO JSON that says which id each image has.
        augment: test-time augmentation.
        overwrite: replace predictions that are there.
        progress: show a bar.

    Raises:
        RecipeError: also where a recipe or device is given for a model that is loaded already.
        VfmsegError: as :func:`vfmseg.load` and :func:`predict_files`.
    """
    given = [inputs] if isinstance(inputs, str | Path) else inputs
    files = find_images(given, out=out)
    if isinstance(checkpoint, Predictor):
        if recipe is not None or device is not None:
            raise RecipeError(
                "recipe and device are for loading a checkpoint, but this model is loaded: leave them out."
            )
        model = checkpoint
    else:
        model = load(checkpoint, recipe, device=device)
    return predict_files(
        model,
        files,
        out,
        confidence=confidence,
        with_overlay=with_overlay,
        tiling=tiling,
        min_score=min_score,
        image_ids=image_ids,
        augment=augment,
        overwrite=overwrite,
        progress=progress,
    )


def predict_files(
    predictor: Predictor,
    files: Sequence[str | Path | ImageFile],
    out: str | Path,
    *,
    confidence: bool | None = None,
    with_overlay: bool = True,
    tiling: Tiling = "auto",
    min_score: float | None = None,
    image_ids: str | Path | None = None,
    augment: AveragedViews | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> PredictedFiles:
    """Predict ``files`` into ``out``: pictures, the task's JSON, and ``predictions.json``, which lists them.

    JSON files appear at the end; work that is killed before leaves those that were there. An image that cannot
    be read does not end the work: it is listed with the reason.

    Args:
        predictor: the model.
        files: images and folders, searched to the bottom; or what ``find_images`` made of them.
        out: made where it is missing.
        confidence: False: write no confidence maps; of semantic models.
        with_overlay: also write overlays.
        tiling: how images larger than the model's view are cut; see ``Predictor.predict``.
        min_score: score from which on overlays show instances, by default 0.5; files hold all. Of instance models.
        image_ids: COCO JSON of these images, whose ids theirs are then, so that evaluators find them; by default the
            numbers they are named by, else 1, 2, 3 ... Of panoptic and instance models.
        augment: test-time augmentation: the variants of each image whose class scores are averaged. Of semantic models.
        overwrite: replace predictions that are there.
        progress: show a bar.

    Raises:
        DataError: an input is missing, a folder holds no image, two images would share a prediction's name, or
            ``image_ids`` does not know one.
        RecipeError: an option that is not for this model, or a prediction is there already and ``overwrite`` was
            not asked for; nothing is written then.
        ResourceError: the disk is full or ``out`` cannot be written.
    """
    predictor.check_options(confidence=confidence, tiling=tiling, min_score=min_score, augment=augment)
    folder = Path(out)
    chosen = [one for one in files if isinstance(one, ImageFile)]
    paths = [one for one in files if not isinstance(one, ImageFile)]
    if paths:
        chosen += find_images(paths, out=folder)
    kind = predictor.result_type
    if image_ids is not None and not kind.listing.names:
        raise RecipeError(
            f"image_ids says what JSON files call an image, but a model of task {predictor.task.name} writes none. "
            "Leave out --image_ids."
        )
    stems = [one.stem for one in chosen]
    numbers = numbers_of(stems) if image_ids is None else image_ids_of(image_ids, chosen)
    if not overwrite:
        _refuse_to_replace(folder, chosen, kind.maps, kind.listing.names)
    make_writable(folder)
    done = PredictedFiles(folder)
    with (
        writing_into(folder),
        Spool(folder) as manifest,
        kind.listing(folder, predictor.label_space) as listing,
    ):
        for one, number in zip(tqdm(chosen, unit="image", disable=not progress), numbers, strict=True):
            try:
                image = read_image(one.path)
            except ImageError as error:
                done.failed[str(one.path)] = str(error)
                continue
            found = predictor.predict(image, confidence=confidence, tiling=tiling, augment=augment)
            if min_score is not None and isinstance(found, InstanceSegmentation):
                found = dataclasses.replace(found, min_score=min_score)
            written = found.save_pictures(folder, one.stem, with_overlay=with_overlay)
            listing.add(ImageEntry(number, f"{one.stem}{one.path.suffix}", one.stem), found)
            height, width = found.size
            manifest.append({"image": str(one.path), "width": width, "height": height, **written})
            done.num_written += 1
        listing.finish()
        content = {
            "classes": predictor.label_space.as_dict(),
            **({} if augment is None else {"augment": augment.text}),
            "predictions": manifest,
            "failed": done.failed,
        }
        write_spooled(folder / "predictions.json", content)
    return done


def _refuse_to_replace(
    folder: Path, files: Sequence[ImageFile], maps: Sequence[str], listings: Sequence[str]
) -> None:
    way_out = "Replace them with --overwrite, or write elsewhere with --out."
    for pattern in maps:
        there = [one.stem for one in files if (folder / pattern.format(one.stem)).exists()]
        if there:
            raise RecipeError(
                f"{folder} already holds {len(there)} of the {len(files)} predictions "
                f"({pattern.format(there[0])} …). {way_out}"
            )
    for name in listings:
        if (folder / name).exists():
            raise RecipeError(f"{folder} already holds {name}, of other predictions. {way_out}")
