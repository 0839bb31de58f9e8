"""A model and image files in, a folder of masks, overlays and confidence maps out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from vfmseg.errors import ImageError, RecipeError
from vfmseg.inference.image_files import ImageFile, read_image
from vfmseg.inference.predictor import Predictor, Tiling
from vfmseg.models.checkpoint import writing


@dataclass
class PredictedFiles:
    """What a prediction of many files has done."""

    folder: Path
    written: list[dict[str, object]] = field(default_factory=list)
    """One record per image: image, width, height, and the files written for it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Image to what was wrong with it."""


def predict_files(
    predictor: Predictor,
    files: Sequence[ImageFile],
    out: str | Path,
    *,
    confidence: bool = True,
    with_overlay: bool = True,
    tiling: Tiling = "auto",
    overwrite: bool = False,
    progress: bool = False,
) -> PredictedFiles:
    """Predict ``files`` into ``out``: ``masks/``, ``overlays/``, ``confidence/`` and ``predictions.json``.

    An image that cannot be read does not end the work: it is listed with the reason.

    Args:
        predictor: the model.
        files: see ``find_images``.
        out: made where it is missing.
        confidence: also write confidence maps.
        with_overlay: also write overlays.
        tiling: how images larger than the model's view are cut; see ``Predictor.predict``.
        overwrite: replace predictions that are there.
        progress: show a bar.

    Raises:
        RecipeError: a prediction is there already and ``overwrite`` was not asked for; nothing is written then.
        ResourceError: the disk is full.
    """
    folder = Path(out)
    there = [one for one in files if (folder / "masks" / f"{one.stem}.png").exists()]
    if there and not overwrite:
        raise RecipeError(
            f"{folder}/masks already holds {len(there)} of the {len(files)} predictions ({there[0].stem}.png …). "
            "Replace them with --overwrite, or write elsewhere with --out."
        )
    done = PredictedFiles(folder)
    for one in tqdm(files, unit="image", disable=not progress):
        try:
            image = read_image(one.path)
        except ImageError as error:
            done.failed[str(one.path)] = str(error)
            continue
        found = predictor.predict(image, confidence=confidence, tiling=tiling)
        written = found.save(folder, one.stem, with_overlay=with_overlay)
        height, width = found.semantic.shape
        done.written.append({"image": str(one.path), "width": width, "height": height, **written})
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "classes": predictor.label_space.as_dict(),
            "predictions": done.written,
            "failed": done.failed,
        }
        (folder / "predictions.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return done
