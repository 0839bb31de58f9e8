"""A segment spec and the folder with the downloads -> where the images, label images and JSON of a split lie.

Every download may still be the archive, or be unpacked, or be unpacked in part: each kind of file has a list
of places, and the first one found is taken.
"""

from __future__ import annotations

from pathlib import Path

from vfmseg.data.archives import open_source
from vfmseg.data.json_plan import JsonPlan
from vfmseg.data.named_files import Part
from vfmseg.data.segment_spec import Files, JsonSegments, JsonShapes
from vfmseg.data.source import Source, summarise_entries
from vfmseg.data.spec import DatasetSpec
from vfmseg.errors import ArchiveError


def plan_json(spec: DatasetSpec, way: JsonSegments | JsonShapes, path: str | Path, split: str) -> JsonPlan:
    """Find the files of one split.

    Raises:
        ArchiveError: some are missing; all of them are named, with where to get them.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ArchiveError(
            f"{root} does not exist. It should hold {', '.join(way.downloads)}. Get the files from {spec.homepage}"
        )
    sources = _Sources(root)
    labels = way.labels if isinstance(way, JsonSegments) else None
    kinds = [kind for kind in (way.images, labels, way.json) if kind is not None]
    missing = [kind for kind in kinds if sources.find(kind) is None]
    if missing:
        raise _missing(spec, split, root, missing)
    return JsonPlan(
        title=f"{spec.title} {split}",
        images=sources.part(way.images),
        labels=None if labels is None else sources.part(labels),
        json=sources.part(way.json),
        sources=tuple(sources.opened.values()),
        image_name=f"{{}}{way.images.suffix}" if isinstance(way, JsonSegments) and way.matches_by_id else "",
    )


def is_there(way: JsonSegments | JsonShapes, path: str | Path) -> bool:
    """Tell whether the JSON and the label images lie below a path."""
    sources = _Sources(Path(path).expanduser())
    kinds = (way.json, way.labels) if isinstance(way, JsonSegments) else (way.json,)
    return all(sources.find(kind) is not None for kind in kinds)


class _Sources:
    """What is read from below a folder, each archive opened once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.opened: dict[str, Source] = {}
        """Path -> source, in the order of first use."""
        self._known: dict[str, list[str]] = {}

    def find(self, files: Files) -> Part | None:
        """Return where files lie, as a part whose source is not opened yet (-1)."""
        for place in files.places:
            if self._holds(place.archive, place.folder, is_json=not files.suffix):
                return Part(-1, place.folder, files.suffix)
        return None

    def part(self, files: Files) -> Part:
        """Return where files lie, their source opened."""
        for place in files.places:
            if self._holds(place.archive, place.folder, is_json=not files.suffix):
                source = self._open(place.archive)
                return Part(source, place.folder, files.suffix)
        raise AssertionError("find() comes first")

    def _holds(self, archive: str, folder: str, *, is_json: bool) -> bool:
        if not archive:
            return (self._root / folder).is_file() if is_json else (self._root / folder).is_dir()
        outer, is_nested, inner = archive.partition(".zip/")
        if is_nested:
            return (self._root / f"{outer}.zip").is_file() and inner in self._names(f"{outer}.zip")
        return (self._root / archive).is_file() and (not is_json or folder in self._names(archive))

    def _names(self, archive: str) -> list[str]:
        if archive not in self._known:
            self._known[archive] = open_source(self._root / archive).list_members().names
        return self._known[archive]

    def _open(self, archive: str) -> int:
        if archive not in self.opened:
            self.opened[archive] = open_source(self._root / archive)
        return list(self.opened).index(archive)


def _missing(spec: DatasetSpec, split: str, root: Path, missing: list[Files]) -> ArchiveError:
    names = []
    for files in missing:
        unpacked = [place.folder for place in files.places if not place.archive]
        is_other = files.download and (root / files.download).is_file()
        fault = f"which is there but lacks {files.places[0].folder}" if is_other else "or unpacked"
        names.append(f"{files.download or 'no download'} ({fault}: {' or '.join(dict.fromkeys(unpacked))})")
    return ArchiveError(
        f"{spec.title} {split}: missing in {root}: {', '.join(dict.fromkeys(names))}. In {root.name or root} there "
        f"is: {summarise_entries(root)}. Get them from {spec.homepage}, or point the path to the folder that holds them."
    )
