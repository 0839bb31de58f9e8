"""A panoptic map in, what people ask of it out: segments with class and score, a class map, COCO panoptic files."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from vfmseg.inference.coco import categories, image_record
from vfmseg.inference.output_files import Spool, place, write_spooled
from vfmseg.inference.result import ImageEntry, Listing, Segmentation
from vfmseg.types import IGNORE_INDEX, LabelSpace, PanopticMap
from vfmseg.visualize.overlays import overlay
from vfmseg.visualize.palette import save_id_png, save_picture

_MASK, _PANOPTIC, _JSON = "masks/{}.png", "panoptic/{}.png", "panoptic/{}.json"


@dataclass(frozen=True)
class Segment:
    """One object, or all of one stuff class, in an image."""

    id: int
    """Its number in ``PanopticSegmentation.segments``; in files it is one more, as 0 is no segment there."""
    class_id: int
    name: str
    """Of the class."""
    score: float
    """Probability of the class in [0, 1]."""
    area: int
    """Pixels."""
    bbox: tuple[int, int, int, int]
    """Left, top, width, height in pixels."""
    isthing: bool
    """An object of a countable class; else stuff."""


class PanopticListing(Listing):
    """``panoptic.json``, which panopticapi and every reader of COCO panoptic files understands."""

    names: ClassVar[tuple[str, ...]] = ("panoptic.json",)

    def __init__(self, folder: Path, label_space: LabelSpace) -> None:
        super().__init__(folder, label_space)
        self._images, self._annotations = Spool(folder), Spool(folder)

    def add(self, entry: ImageEntry, found: PanopticSegmentation) -> None:
        """Add the segments of an image."""
        self._images.append(image_record(entry, found.size))
        self._annotations.append(found.annotation(entry))

    def finish(self) -> None:
        """Replace the file."""
        write_spooled(
            self.folder / self.names[0], _content(self._images, self._annotations, self.label_space)
        )

    def close(self) -> None:
        """Drop what is not finished."""
        self._images.close()
        self._annotations.close()


@dataclass(frozen=True, eq=False, kw_only=True)
class PanopticSegmentation(Segmentation):
    """The segments of one image: each pixel is in one at most."""

    segments: NDArray[np.int32]
    """(H, W) segment numbers ``0..S-1``; -1 = no segment."""
    segments_info: tuple[Segment, ...]
    """S entries; ``segments_info[segments[y, x]]`` is what a pixel belongs to, unless that is -1."""

    maps: ClassVar[tuple[str, ...]] = (_PANOPTIC, _MASK)
    listing: ClassVar[type[Listing]] = PanopticListing

    @classmethod
    def of(
        cls, image: NDArray[np.uint8], found: PanopticMap, label_space: LabelSpace
    ) -> PanopticSegmentation:
        """Return a panoptic map as arrays, with areas and boxes."""
        segments = found.segments.cpu().numpy()
        classes, scores = found.segment_classes.tolist(), found.segment_scores.tolist()
        areas = np.bincount(segments.ravel() + 1, minlength=len(classes) + 1)[1:].tolist()
        boxes = [_bbox(part) for part in ndimage.find_objects(segments + 1, max_label=len(classes))]
        info = [
            Segment(i, c, label_space.names[c], scores[i], areas[i], boxes[i], label_space.is_thing[c])
            for i, c in enumerate(classes)
        ]
        return cls(image=image, label_space=label_space, segments=segments, segments_info=tuple(info))

    @functools.cached_property
    def semantic(self) -> NDArray[np.uint8] | NDArray[np.int16]:
        """(H, W) class ids ``0..K-1`` of the segments; 255 where there is none."""
        kind = np.uint8 if self.label_space.num_classes <= IGNORE_INDEX else np.int16
        table = np.array([*(segment.class_id for segment in self.segments_info), IGNORE_INDEX], kind)
        classes: NDArray[np.uint8] = table[self.segments]  # -1 reads the last entry
        return classes

    def plot(self, *, alpha: float = 0.5) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) with the segments, their borders and their names laid over it.

        Args:
            alpha: weight of the class colours in [0, 1].
        """
        mixed = overlay(self.image, self.semantic, self.label_space, alpha=alpha, segments=self.segments)
        names = [segment.name for segment in self.segments_info]
        return self._named(mixed, self.segments, names)

    def annotation(self, entry: ImageEntry) -> dict[str, Any]:
        """Return the segments as an item of ``annotations`` in COCO's panoptic format."""
        segments = [
            {
                "id": segment.id + 1,
                "category_id": self.label_space.category_ids[segment.class_id],
                "iscrowd": 0,
                "bbox": list(segment.bbox),
                "area": segment.area,
                "score": segment.score,
            }
            for segment in self.segments_info
            if segment.area
        ]
        return {"image_id": entry.image_id, "file_name": f"{entry.stem}.png", "segments_info": segments}

    def _save_maps(self, folder: Path, stem: str) -> dict[str, str]:
        """Write ``panoptic/STEM.png`` (segment ids as colours) and ``masks/STEM.png`` (class ids with palette)."""
        written = {"panoptic": _PANOPTIC.format(stem), "mask": _MASK.format(stem)}
        picture = Image.fromarray(ids_as_colours(self.segments + 1))
        save_picture(place(folder, written["panoptic"]), picture, "PNG")
        save_id_png(place(folder, written["mask"]), self.semantic, self.label_space)
        return written

    def _save_json(self, folder: Path, stem: str) -> dict[str, str]:
        """Write ``panoptic/STEM.json``: as ``panoptic.json`` of a folder, for one image."""
        name = _JSON.format(stem)
        entry = ImageEntry(1, stem, stem)
        images, annotations = [image_record(entry, self.size)], [self.annotation(entry)]
        write_spooled(place(folder, name), _content(images, annotations, self.label_space))
        return {"json": name}


def ids_as_colours(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return ids (H, W) in 0..2^24-1 as (H, W, 3): id = R + 256 G + 65536 B, as COCO's panoptic PNGs have it."""
    octets = np.ascontiguousarray(ids, "<i4").view(np.uint8)
    return np.ascontiguousarray(octets.reshape(*ids.shape, 4)[..., :3])


def _content(images: Any, annotations: Any, label_space: LabelSpace) -> dict[str, Any]:
    return {"images": images, "annotations": annotations, "categories": categories(label_space)}


def _bbox(part: tuple[slice, slice] | None) -> tuple[int, int, int, int]:
    if part is None:
        return (0, 0, 0, 0)
    rows, columns = part
    return (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
