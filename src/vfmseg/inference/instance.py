"""Scored masks in, what people ask of them out: instances that unpack one by one, COCO result files."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vfmseg.inference.coco import categories, image_record
from vfmseg.inference.output_files import Spool, place, write_spooled
from vfmseg.inference.result import OVERLAY, ImageEntry, Listing, Segmentation
from vfmseg.postprocess.rle import encode_instances
from vfmseg.tasks.paint import paint_instances
from vfmseg.types import Instances, LabelSpace, Size
from vfmseg.visualize.overlays import overlay

_JSON = "instances/{}.json"


@dataclass(frozen=True, eq=False)
class Instance:
    """One object of an image."""

    score: float
    """In [0, 1]."""
    class_id: int
    name: str
    """Of the class."""
    size: Size
    """(height, width) of the image."""
    packed: NDArray[np.uint8] = field(repr=False)
    """(H, ceil(W / 8)): the mask at one bit a pixel, as ``numpy.packbits`` has it."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool; unpacked each time it is asked for, and not kept."""
        return np.unpackbits(self.packed, axis=1, count=self.size[1]).view(np.bool_)

    @functools.cached_property
    def area(self) -> int:
        """Pixels."""
        return int(np.unpackbits(self.packed).sum())  # what is behind the last column is 0

    @functools.cached_property
    def bbox(self) -> tuple[int, int, int, int]:
        """Left, top, width, height in pixels; all 0 where the mask is empty."""
        rows = np.flatnonzero(self.packed.any(1))
        columns = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(self.packed, axis=0)))
        if not len(rows):
            return (0, 0, 0, 0)
        left, top = int(columns[0]), int(rows[0])
        return (left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)


class InstanceListing(Listing):
    """``instances.json`` in COCO's result format, and ``images.json``, which says what its numbers mean.

    ``COCO("images.json").loadRes("instances.json")`` of pycocotools reads the two.
    """

    names: ClassVar[tuple[str, ...]] = ("instances.json", "images.json")

    def __init__(self, folder: Path, label_space: LabelSpace) -> None:
        super().__init__(folder, label_space)
        self._results, self._images = Spool(folder), Spool(folder)

    def add(self, entry: ImageEntry, found: InstanceSegmentation) -> None:
        """Add all instances of an image."""
        self._images.append(image_record(entry, found.size))
        for result in found.results(entry):
            self._results.append(result)

    def finish(self) -> None:
        """Replace the files."""
        results, images = (self.folder / name for name in self.names)
        write_spooled(results, self._results)
        write_spooled(
            images, {"images": self._images, "annotations": [], "categories": categories(self.label_space)}
        )

    def close(self) -> None:
        """Drop what is not finished."""
        self._results.close()
        self._images.close()


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceSegmentation(Segmentation):
    """The objects of one image; they may overlap."""

    found: Instances
    """All of them, best score first, at one bit a pixel."""
    min_score: float = 0.5
    """Score from which on instances are drawn; there are always as many as the model may find, most of them bad."""

    maps: ClassVar[tuple[str, ...]] = (OVERLAY,)
    listing: ClassVar[type[Listing]] = InstanceListing

    @classmethod
    def of(cls, image: NDArray[np.uint8], found: Instances, label_space: LabelSpace) -> InstanceSegmentation:
        """Return instances off the GPU."""
        masks, classes, scores = found.packed_masks.cpu(), found.classes.cpu(), found.scores.cpu()
        return cls(image=image, label_space=label_space, found=Instances(masks, classes, scores, found.size))

    @functools.cached_property
    def instances(self) -> list[Instance]:
        """All instances, best score first; their masks are unpacked when they are asked for."""
        packed = self.found.packed_masks.numpy()
        classes, scores = self.found.classes.tolist(), self.found.scores.tolist()
        return [
            Instance(score, number, self.names[number], self.found.size, mask)
            for score, number, mask in zip(scores, classes, packed, strict=True)
        ]

    def plot(self, *, alpha: float = 0.5, min_score: float | None = None) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) with instances, their borders, names and scores laid over it, the best on top.

        Args:
            alpha: weight of the class colours in [0, 1].
            min_score: score from which on instances are drawn; by default the result's own, 0.5.
        """
        least = self.min_score if min_score is None else min_score
        painted = paint_instances(self.found, self.label_space, min_score=least)
        mixed = overlay(self.image, painted.classes, self.label_space, alpha=alpha, segments=painted.segments)
        assert painted.segments is not None
        return self._named(mixed, painted.segments, painted.names)

    def results(self, entry: ImageEntry) -> Iterator[dict[str, Any]]:
        """Yield all instances in COCO's result format, best score first."""
        for instance, mask in zip(self.instances, encode_instances(self.found), strict=True):
            yield {
                "image_id": entry.image_id,
                "category_id": self.label_space.category_ids[instance.class_id],
                "score": instance.score,
                "segmentation": mask,
                "bbox": list(instance.bbox),
            }

    def _save_json(self, folder: Path, stem: str) -> dict[str, str]:
        """Write ``instances/STEM.json``: a COCO data set of this one image whose annotations have scores."""
        name = _JSON.format(stem)
        entry = ImageEntry(1, stem, stem)
        annotations = [
            {"id": number, **result, "area": instance.area, "iscrowd": 0}
            for number, (result, instance) in enumerate(
                zip(self.results(entry), self.instances, strict=True), 1
            )
        ]
        content = {
            "images": [image_record(entry, self.size)],
            "annotations": annotations,
            "categories": categories(self.label_space),
        }
        write_spooled(place(folder, name), content)
        return {"json": name}
