"""A semantic map in, what people ask of it out: classes, confidence and shares, at the image's own size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vfmseg.inference.output_files import place
from vfmseg.inference.result import Segmentation
from vfmseg.types import LabelSpace, SemanticMap
from vfmseg.visualize.overlays import confidence_image, overlay
from vfmseg.visualize.palette import save_id_png, save_picture

_MASK, _CONFIDENCE = "masks/{}.png", "confidence/{}.png"


@dataclass(frozen=True, eq=False, kw_only=True)
class SemanticSegmentation(Segmentation):
    """The classes of one image's pixels."""

    semantic: NDArray[np.uint8] | NDArray[np.int16]
    """(H, W) class ids ``0..K-1``."""
    confidence: NDArray[np.float16] | None
    """(H, W) probability of the chosen class in [0, 1]; None where it was not asked for."""

    maps: ClassVar[tuple[str, ...]] = (_MASK,)

    @classmethod
    def of(
        cls, image: NDArray[np.uint8], found: SemanticMap, label_space: LabelSpace
    ) -> SemanticSegmentation:
        """Return a semantic map as arrays."""
        certain = None if found.confidence is None else found.confidence.cpu().numpy()
        classes = found.classes.cpu().numpy()
        return cls(image=image, label_space=label_space, semantic=classes, confidence=certain)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the image's pixels per class that occurs, largest first."""
        counts = np.bincount(self.semantic.ravel(), minlength=self.label_space.num_classes)
        order = np.argsort(-counts, kind="stable")
        return {self.names[i]: float(counts[i] / self.semantic.size) for i in order if counts[i]}

    def plot(self, *, alpha: float = 0.5) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) with the classes laid over it.

        Args:
            alpha: weight of the class colours in [0, 1].
        """
        return overlay(self.image, self.semantic, self.label_space, alpha=alpha)

    def _save_maps(self, folder: Path, stem: str) -> dict[str, str]:
        """Write ``masks/STEM.png`` (ids with palette) and ``confidence/STEM.png``."""
        written = {"mask": _MASK.format(stem)}
        save_id_png(place(folder, written["mask"]), self.semantic, self.label_space)
        if self.confidence is not None:
            written["confidence"] = _CONFIDENCE.format(stem)
            grey = Image.fromarray(confidence_image(self.confidence))
            save_picture(place(folder, written["confidence"]), grey, "PNG")
        return written
