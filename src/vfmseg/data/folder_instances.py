"""The plan of a folder data set -> the plan of its instance numbers, which lie beside the masks.

``masks/train/x.png`` holds the classes and ``instances/train/x.png`` the numbers: one name of a folder is
different, all else is equal. Generated scenes are written this way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vfmseg.data.folder_plan import FolderPlan
from vfmseg.data.pairing import Pairs, Ref, Unpaired
from vfmseg.data.sets.folder import INSTANCE_FOLDER, LABEL_WORDS
from vfmseg.data.source import Listing, Source
from vfmseg.errors import DataError

_PARTS: Final = re.compile(r"[ _.\-]+")


@dataclass(frozen=True)
class FolderInstancesPlan:
    """Images as the folder's plan pairs them, each with its image of instance numbers."""

    masks: FolderPlan

    @property
    def title(self) -> str:
        """Source and split, for messages."""
        return self.masks.title

    @property
    def sources(self) -> tuple[Source]:
        """The one source."""
        return self.masks.sources

    @property
    def fingerprint(self) -> str:
        """Differs from the one of the masks."""
        return f"{INSTANCE_FOLDER} {self.masks.fingerprint}"

    def under(self, source: int) -> Sequence[str]:
        """Return the top: everything matters."""
        return self.masks.under(source)

    def pair(self, listings: Sequence[Listing]) -> Pairs:
        """Find the instance numbers of every image that has a mask.

        Raises:
            DataError: there are none; the message says where they are looked for.
        """
        pairs = self.masks.pair(listings)
        names = listings[0].names
        line_of = {name: line for line, name in enumerate(names)}
        images: list[Ref] = []
        numbers: list[Ref] = []
        unpaired: list[Unpaired] = []
        for image, mask in zip(pairs.images, pairs.labels, strict=True):
            wanted = list(_beside(names[mask.line]))
            line = next((line_of[name] for name in wanted if name in line_of), None)
            if line is None:
                where = wanted[0] if wanted else f"{INSTANCE_FOLDER}/"
                unpaired.append(Unpaired(names[image.line], f"has no instance numbers ({where})"))
            else:
                images.append(image)
                numbers.append(Ref(0, line))
        if not images:
            raise DataError(
                f"{self.title} has masks of classes but no instances. Put a PNG of instance numbers (0 none, then "
                f"1, 2 ...) for each mask into a folder {INSTANCE_FOLDER!r} beside the masks"
                f"{_example(unpaired)}, or give a folder with a COCO JSON. Scenes are written with them by "
                "write_scenes(..., instances=True)."
            )
        return Pairs(images, numbers, unpaired, pairs.sentence, pairs.lists)


def _beside(mask: str) -> Iterator[str]:
    """Yield where the instance numbers of a mask may lie: the deepest folder that says "mask" comes first."""
    *folders, file_name = mask.split("/")
    file_name = f"{file_name.rpartition('.')[0]}.png"
    for at in reversed(range(len(folders))):
        if set(_PARTS.split(folders[at].lower())) & LABEL_WORDS:
            yield "/".join((*folders[:at], INSTANCE_FOLDER, *folders[at + 1 :], file_name))


def _example(unpaired: Sequence[Unpaired]) -> str:
    return f": {unpaired[0].name} {unpaired[0].reason}" if unpaired else ""
