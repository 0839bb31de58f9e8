"""A segmenter and its classes in, something that takes any image and gives back its segmentation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vfmseg.errors import ImageError, RecipeError, ResourceError
from vfmseg.inference.image_files import read_image
from vfmseg.inference.instance import InstanceSegmentation
from vfmseg.inference.panoptic import PanopticSegmentation
from vfmseg.inference.result import Segmentation
from vfmseg.inference.semantic import SemanticSegmentation
from vfmseg.models.segmenter import Segmenter
from vfmseg.tasks.base import Task
from vfmseg.tasks.instance import InstanceTask
from vfmseg.tasks.panoptic import PanopticTask
from vfmseg.tasks.semantic import SemanticTask, predict_tiles, predict_windows
from vfmseg.transforms.averaged_views import AveragedViews, refuse_other_tasks
from vfmseg.transforms.sliding_window import View
from vfmseg.types import LabelSpace, Output, SemanticMap

Tiling = Literal["auto", "always", "never"]
"""``always``: overlapping tiles at full resolution; ``never``: scaled to the model's view as validation does;
``auto``: tiles where the image is larger than the view both ways."""

AnyImage = str | Path | Image.Image | NDArray[np.uint8] | torch.Tensor

_RESULTS: dict[type[Task], type[Segmentation]] = {
    SemanticTask: SemanticSegmentation,
    PanopticTask: PanopticSegmentation,
    InstanceTask: InstanceSegmentation,
}


class Predictor:
    """A trained model that predicts images of any size.

    Args:
        segmenter: with its weights.
        label_space: its classes.
        task: what it was trained for.
        device: such as ``cpu`` or ``cuda:1``; by default a GPU where there is one.

    Raises:
        ResourceError: the device is not there.
    """

    def __init__(
        self, segmenter: Segmenter, label_space: LabelSpace, task: Task, *, device: str | None = None
    ) -> None:
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.device = torch.device(chosen)
            self.segmenter = segmenter.to(self.device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ResourceError(
                f"The device {chosen!r} cannot be used ({error}). Use --device cpu."
            ) from None
        self.label_space = label_space
        self.task = task

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.label_space.names

    @property
    def result_type(self) -> type[Segmentation]:
        """What :meth:`predict` returns."""
        return _RESULTS[type(self.task)]

    def predict(
        self,
        image: AnyImage,
        *,
        confidence: bool | None = None,
        tiling: Tiling = "auto",
        overlap: float = 0.25,
        augment: AveragedViews | None = None,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: a path, a PIL image, (H, W, 3) or (H, W) uint8 array, or (3, H, W) uint8 tensor; RGB.
            confidence: of a semantic model: also give the probability of the chosen class per pixel, as is done
                unless it is False. Segments and instances have scores instead.
            tiling: of a semantic model: how an image larger than its view is cut, see :data:`Tiling`. The others
                see each image whole, scaled into their view: tiles would cut objects.
            overlap: share of a tile's shorter side that neighbouring tiles have in common, in [0, 1).
            augment: of a semantic model: test-time augmentation, the variants of the image whose class scores are
                averaged; confidence is then float32.

        Returns:
            A ``SemanticSegmentation``, ``PanopticSegmentation`` or ``InstanceSegmentation``, by the model's task.

        Raises:
            ImageError: the file cannot be decoded, or the array is no image.
            RecipeError: an option is none of what is allowed, or not for a model of this task.
        """
        self.check_options(confidence=confidence, tiling=tiling, augment=augment)
        pixels = as_array(image)
        tensor = torch.from_numpy(np.array(pixels.transpose(2, 0, 1)))  # (3, H, W)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            if isinstance(self.task, SemanticTask):
                view = dataclasses.replace(self.task.view, augment=augment)
                semantic = self._semantic(tensor, view, confidence is not False, tiling, overlap)
                return SemanticSegmentation.of(pixels, semantic, self.label_space)
            (found,) = self.task.predict(self._segment, [tensor], self.segmenter.image_size, self.label_space)
        return self.result_type.of(pixels, found, self.label_space)

    def check_options(
        self,
        *,
        confidence: bool | None = None,
        tiling: Tiling = "auto",
        min_score: float | None = None,
        augment: AveragedViews | None = None,
    ) -> None:
        """Refuse what makes no sense for this model.

        Raises:
            RecipeError: says what, why and what to leave out.
        """
        if tiling not in get_args(Tiling):
            raise RecipeError(f"tiling is {tiling!r}; allowed: {', '.join(get_args(Tiling))}.")
        task = self.task.name
        if tiling == "always" and not isinstance(self.task, SemanticTask):
            height, width = self.segmenter.image_size
            raise RecipeError(
                f"tiling 'always' would cut objects: a model of task {task} sees each image whole, scaled into its view "
                f"of {height} x {width}. Leave out --tiling."
            )
        if confidence is not None and not isinstance(self.task, SemanticTask):
            raise RecipeError(
                f"A model of task {task} has no confidence maps, its segments have scores. Leave out --no_confidence "
                "(in Python: confidence)."
            )
        if augment is not None:
            refuse_other_tasks(task)
        if min_score is None:
            return
        if not isinstance(self.task, InstanceTask):
            raise RecipeError(
                f"min_score says which instances are drawn, but a model of task {task} finds none. Leave out --min_score."
            )
        if not 0 <= min_score <= 1:
            raise RecipeError(f"min_score is {min_score}; allowed: 0 (draw all instances) to 1.")

    def _semantic(
        self, image: torch.Tensor, view: View, confidence: bool, tiling: Tiling, overlap: float
    ) -> SemanticMap:
        crop = self.segmenter.image_size
        large = image.shape[-2] > crop[0] and image.shape[-1] > crop[1]
        if tiling == "always" or (tiling == "auto" and large):
            pixels = int(overlap * min(crop))
            return predict_tiles(
                self._segment, image, crop, overlap=pixels, confidence=confidence, augment=view.augment
            )
        (found,) = predict_windows(
            self._segment, [image.to(self.device)], crop, confidence=confidence, view=view
        )
        return found

    def _segment(self, crops: torch.Tensor) -> Output:
        output: Output = self.segmenter(crops.to(self.device))
        return output


def as_array(image: AnyImage) -> NDArray[np.uint8]:
    """Return any image as (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it is none.
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        from PIL import ImageOps

        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            raise ImageError(
                f"A PIL image of mode {image.mode!r} holds more than 8 bits, whose range is unknown. Convert it to 8 "
                "bits (L or RGB), or give the path of its file."
            )
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if isinstance(image, torch.Tensor):
        if image.ndim != 3 or image.dtype != torch.uint8:
            raise _no_image(tuple(image.shape), image.dtype)
        array = image.permute(1, 2, 0).cpu().numpy()
    else:
        array = np.asarray(image)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise _no_image(array.shape, array.dtype)
    return array


def _no_image(shape: tuple[int, ...], kind: object) -> ImageError:
    return ImageError(
        f"An image must be (H, W, 3) uint8 RGB (as a tensor: (3, H, W)), but this is {shape} {kind}. "
        "Scale floats in [0, 1] by 255 and convert them; drop an alpha channel."
    )
