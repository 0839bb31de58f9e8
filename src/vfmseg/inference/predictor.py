"""A segmenter and its classes in, something that takes any image and gives back its segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vfmseg.errors import ImageError, ResourceError
from vfmseg.inference.image_files import read_image
from vfmseg.inference.result import Segmentation
from vfmseg.models.segmenter import Segmenter
from vfmseg.tasks.semantic import predict_tiles, predict_windows
from vfmseg.types import LabelSpace, Output

Tiling = Literal["auto", "always", "never"]
"""``always``: overlapping tiles at full resolution; ``never``: scaled to the model's view as validation does;
``auto``: tiles where the image is larger than the view both ways."""

AnyImage = str | Path | Image.Image | NDArray[np.uint8] | torch.Tensor


class Predictor:
    """A trained model that predicts images of any size.

    Args:
        segmenter: with its weights.
        label_space: its classes.
        device: such as ``cpu`` or ``cuda:1``; by default a GPU where there is one.

    Raises:
        ResourceError: the device is not there.
    """

    def __init__(self, segmenter: Segmenter, label_space: LabelSpace, *, device: str | None = None) -> None:
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.device = torch.device(chosen)
            self.segmenter = segmenter.to(self.device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ResourceError(
                f"The device {chosen!r} cannot be used ({error}). Use --device cpu."
            ) from None
        self.label_space = label_space

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.label_space.names

    def predict(
        self,
        image: AnyImage,
        *,
        confidence: bool = True,
        tiling: Tiling = "auto",
        overlap: float = 0.25,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: a path, a PIL image, (H, W, 3) or (H, W) uint8 array, or (3, H, W) uint8 tensor; RGB.
            confidence: also give the probability of the chosen class per pixel.
            tiling: how an image larger than the model's view is cut; see :data:`Tiling`.
            overlap: share of a tile's shorter side that neighbouring tiles have in common, in [0, 1).

        Raises:
            ImageError: the file cannot be decoded, or the array is no image.
        """
        pixels = as_array(image)
        tensor = torch.from_numpy(np.array(pixels.transpose(2, 0, 1)))  # (3, H, W)
        crop = self.segmenter.image_size
        large = pixels.shape[0] > crop[0] and pixels.shape[1] > crop[1]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            if tiling == "always" or (tiling == "auto" and large):
                found = predict_tiles(
                    self._segment, tensor, crop, overlap=int(overlap * min(crop)), confidence=confidence
                )
            else:
                (found,) = predict_windows(
                    self._segment, [tensor.to(self.device)], crop, confidence=confidence
                )
        certain = None if found.confidence is None else found.confidence.cpu().numpy()
        return Segmentation(pixels, found.classes.cpu().numpy(), certain, self.label_space)

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

        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    array = image.permute(1, 2, 0).cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ImageError(
            f"An image must be (H, W, 3) uint8 RGB (as a tensor: (3, H, W)), but this is {array.shape} {array.dtype}. "
            "Scale floats in [0, 1] by 255 and convert them; drop an alpha channel."
        )
    return array
