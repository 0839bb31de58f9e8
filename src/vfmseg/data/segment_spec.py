"""Where the segments of a data set lie, as constants: for each task and split one of a few kinds of source."""

from __future__ import annotations

from dataclasses import dataclass

from vfmseg.data.spec import FileSet, SplitSpec


@dataclass(frozen=True)
class Place:
    """A folder inside an archive, or below ``path`` where ``archive`` is empty."""

    archive: str
    """File below ``path``; a zip inside a zip is written as a path. Empty: not packed."""
    folder: str
    """Folder inside, without a slash at the end; for a single file its path."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """One kind of file and the places where it may lie, the first one found is taken."""

    places: tuple[Place, ...]
    suffix: str = ""

    @property
    def download(self) -> str:
        """The file that people fetch; empty where it is made, not fetched."""
        archive = self.places[0].archive
        return f"{archive.partition('.zip')[0]}.zip" if archive else ""


@dataclass(frozen=True, kw_only=True)
class JsonSegments:
    """COCO panoptic: a PNG of segment ids for each image, and a JSON that says what each id is."""

    images: Files
    labels: Files
    json: Files
    classes: str
    """Class file in ``data/classes``; its ids are the category ids of the JSON."""
    matches_by_id: bool = False
    """Image files are named after ``image_id``, not after ``file_name``."""
    is_made: bool = False
    """People make the JSON themselves, with the publisher's tools."""

    @property
    def downloads(self) -> tuple[str, ...]:
        """Files that people fetch."""
        if self.is_made:
            return ()
        return tuple(dict.fromkeys(f.download for f in (self.images, self.labels, self.json) if f.download))


@dataclass(frozen=True, kw_only=True)
class JsonShapes:
    """COCO instance: a JSON with polygons and run lengths."""

    images: Files
    json: Files
    classes: str

    @property
    def downloads(self) -> tuple[str, ...]:
        """Files that people fetch."""
        return tuple(dict.fromkeys(f.download for f in (self.images, self.json) if f.download))


@dataclass(frozen=True, kw_only=True)
class InstanceIds:
    """Cityscapes: label images with 1000 x label id + number."""

    split: SplitSpec
    """Images and instance ids; ``classes`` names the label ids."""

    @property
    def downloads(self) -> tuple[str, ...]:
        """Files that people fetch, beyond those of the task semantic: none."""
        return ()


@dataclass(frozen=True, kw_only=True)
class StuffAndThings:
    """ADE20K: label images of classes for stuff, and label images of instances for things."""

    semantic: SplitSpec
    instances: FileSet
    homepage: str
    """Where the instance labels are to be had: not where the others are."""

    @property
    def downloads(self) -> tuple[str, ...]:
        """Files that people fetch, beyond those of the task semantic."""
        return tuple(part[0] for part in self.instances.archives)


SegmentSpec = JsonSegments | JsonShapes | InstanceIds | StuffAndThings
