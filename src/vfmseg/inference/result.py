"""What a prediction gives back: maps at the image's own size, pictures of them, files of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vfmseg.errors import ResourceError
from vfmseg.types import LabelSpace
from vfmseg.visualize.overlays import confidence_image, overlay
from vfmseg.visualize.palette import save_id_png


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The classes of one image's pixels."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as predicted: upright where the file's EXIF says so."""
    semantic: NDArray[np.uint8]
    """(H, W) class ids ``0..K-1``."""
    confidence: NDArray[np.float16] | None
    """(H, W) probability of the chosen class in [0, 1]; None where it was not asked for."""
    label_space: LabelSpace
    """The classes."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; ``names[semantic[y, x]]`` is the class of a pixel."""
        return self.label_space.names

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

    def save(self, folder: str | Path, stem: str, *, with_overlay: bool = True) -> dict[str, str]:
        """Write ``masks/STEM.png`` (ids with palette), ``overlays/STEM.jpg`` and ``confidence/STEM.png``.

        Args:
            folder: made where it is missing.
            stem: may hold subfolders.
            with_overlay: also write the overlay.

        Returns:
            Kind of file to its path relative to ``folder``.

        Raises:
            ResourceError: a file cannot be written.
        """
        folder = Path(folder)
        written = {"mask": f"masks/{stem}.png"}
        try:
            for kind in ("masks", "overlays", "confidence"):
                if kind == "masks" or (kind == "overlays" and with_overlay) or self._has(kind):
                    (folder / kind / stem).parent.mkdir(parents=True, exist_ok=True)
            save_id_png(folder / written["mask"], self.semantic, self.label_space)
            if with_overlay:
                written["overlay"] = f"overlays/{stem}.jpg"
                Image.fromarray(self.plot()).save(folder / written["overlay"], quality=92)
            if self.confidence is not None:
                written["confidence"] = f"confidence/{stem}.png"
                Image.fromarray(confidence_image(self.confidence)).save(folder / written["confidence"])
        except OSError as error:
            raise ResourceError(f"{folder} could not be written: {error}. Choose another --out.") from error
        return written

    def _has(self, kind: str) -> bool:
        return kind == "confidence" and self.confidence is not None
