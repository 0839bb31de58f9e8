"""ADE20K's two label images, classes for stuff and instances for things -> segments."""

from __future__ import annotations

from functools import cache

import numpy as np

from vfmseg.data.segment_maps import FromTwoMaps, InstancePixels
from vfmseg.data.segments import LabelFiles, find_codes, paint_segments
from vfmseg.data.spec import CLASSES_FOLDER, LabelMap
from vfmseg.data.yaml_text import load_yaml
from vfmseg.errors import LabelError
from vfmseg.types import Targets

_THING = 1 << 16
"""Codes of stuff are class ids; those of things have this bit, red times 256 and green."""


class StuffAndThingsImages(FromTwoMaps):
    """Stuff as the semantic label says, things as the instance label says; where both speak, the thing is right.

    Pixels of a thing class without an instance have no segment. There are no crowds.
    """

    def __init__(self, label_map: LabelMap, classes: str, instances: InstancePixels) -> None:
        super().__init__(label_map, instances)
        self._classes = classes

    def targets(self, row: int, files: LabelFiles) -> Targets:
        """Return stuff in ascending order of the classes, then things in ascending order of their colours.

        Raises:
            LabelError: sizes differ, or an instance has no class.
        """
        ids, instances, title = self.read(row, files)
        if instances.ndim != 3:
            raise LabelError(
                f"{title} is grey; an instance label has the class in red and the number in green."
            )
        red, green = instances[..., 0].astype(np.uint32), instances[..., 1]
        values, places = find_codes(np.where(green > 0, _THING | red << 8 | green, ids), title)
        class_of = np.full(256, -1, np.int64)
        for instance_id, class_id in _instance_classes(self._classes).items():
            class_of[instance_id] = class_id
        is_thing = np.array([*self.label_space.is_thing, *[True] * (256 - self.label_space.num_classes)])
        is_instance = values >= _THING
        # a thing class without an instance, and what has no class, belong to no segment
        stuff = np.where(is_thing[values & 255], 255, values)
        classes = np.where(is_instance, class_of[values >> 8 & 255], stuff)
        if (classes < 0).any():
            code = int(values[classes < 0][0])
            raise LabelError(
                f"{title} has the instance {code & 255} with red {code >> 8 & 255}, which is no class: red is 1 to "
                f"{max(_instance_classes(self._classes))}. {self.label_map.remedy}"
            )
        return paint_segments(places, classes, np.zeros(len(classes), np.bool_))


@cache
def _instance_classes(classes: str) -> dict[int, int]:
    """Return red value -> class id."""
    path = CLASSES_FOLDER / f"{classes}.yaml"
    rows = load_yaml(path.read_text(encoding="utf-8"), str(path))["classes"]
    return {row["instance_id"]: row["train_id"] for row in rows if row["instance_id"] is not None}
