"""What every prediction gives back, whatever the task: the image, names, a picture and files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vfmseg.inference.output_files import place, writing_into
from vfmseg.types import LabelSpace
from vfmseg.visualize.overlays import name_segments
from vfmseg.visualize.palette import save_picture

OVERLAY = "overlays/{}.jpg"


@dataclass(frozen=True)
class ImageEntry:
    """What an image is called in the JSON of a folder of predictions."""

    image_id: int | str
    file_name: str
    """Of the image, below the folder it was found in."""
    stem: str
    """Name of its predictions: ``file_name`` without suffix."""


class Listing:
    """The JSON of a folder of predictions, which grows on disk as they come; this one says nothing.

    Until :meth:`finish`, what the folder held before stays.

    Args:
        folder: where it is written; there.
        label_space: the classes.
    """

    names: ClassVar[tuple[str, ...]] = ()
    """Files it writes into the folder."""

    def __init__(self, folder: Path, label_space: LabelSpace) -> None:
        self.folder, self.label_space = folder, label_space

    def add(self, entry: ImageEntry, found: Any) -> None:
        """Add what was found in an image."""

    def finish(self) -> None:
        """Put the files in their places."""

    def close(self) -> None:
        """Drop what is not finished."""

    def __enter__(self) -> Listing:
        """Return itself; closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation(ABC):
    """What was found in one image."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as predicted: upright where the file's EXIF says so."""
    label_space: LabelSpace
    """The classes."""

    maps: ClassVar[tuple[str, ...]]
    """Files that are written for every image, ``{}`` for its stem."""
    listing: ClassVar[type[Listing]] = Listing
    """The JSON of a folder of such predictions."""

    @classmethod
    @abstractmethod
    def of(cls, image: NDArray[np.uint8], found: Any, label_space: LabelSpace) -> Segmentation:
        """Return what a task predicted, off the GPU."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.label_space.names

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return (self.image.shape[0], self.image.shape[1])

    @abstractmethod
    def plot(self, *, alpha: float = 0.5) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) with what was found laid over it.

        Args:
            alpha: weight of the class colours in [0, 1].
        """

    def save(self, folder: str | Path, stem: str, *, with_overlay: bool = True) -> dict[str, str]:
        """Write maps, the overlay ``overlays/STEM.jpg`` and, where the task has one, a JSON of this image.

        Args:
            folder: made where it is missing.
            stem: may hold subfolders.
            with_overlay: also write the overlay.

        Returns:
            Kind of file to its path relative to ``folder``.

        Raises:
            ResourceError: a file cannot be written.
        """
        written = self.save_pictures(folder, stem, with_overlay=with_overlay)
        with writing_into(Path(folder)):
            return {**written, **self._save_json(Path(folder), stem)}

    def save_pictures(self, folder: str | Path, stem: str, *, with_overlay: bool = True) -> dict[str, str]:
        """As :meth:`save`, without JSON: for folders, whose JSON speaks of all their images."""
        folder = Path(folder)
        with writing_into(folder):
            written = self._save_maps(folder, stem)
            if with_overlay:
                written["overlay"] = OVERLAY.format(stem)
                picture = Image.fromarray(self.plot())
                save_picture(place(folder, written["overlay"]), picture, "JPEG", quality=92)
        return written

    def _named(
        self, picture: NDArray[np.uint8], segments: NDArray[np.integer], names: Sequence[str]
    ) -> NDArray[np.uint8]:
        """Return the picture with the names of segments that are not smaller than their letters."""
        height, width = self.size
        # Legible in small pictures, and in large ones that are seen as a whole.
        font_size = max(9, round(min(height, width) / 40))
        least = max(0.002, (1.5 * font_size) ** 2 / (height * width))
        return name_segments(picture, segments, names, min_share=least, font_size=font_size)

    def _save_maps(self, folder: Path, stem: str) -> dict[str, str]:
        """Write the task's maps; kind of file to its path."""
        return {}

    def _save_json(self, folder: Path, stem: str) -> dict[str, str]:
        """Write the task's JSON of this image; kind of file to its path."""
        return {}
