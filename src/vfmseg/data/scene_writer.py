"""Generated scenes -> a data set on disk, in the layout of a real one, unpacked or as its archives."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from vfmseg.data.cache import cache_dir, digest
from vfmseg.data.scene_files import (
    GTA_PARTS,
    LAYOUTS,
    SceneFile,
    Shot,
    describe_scenes,
    instances_of_folder,
    list_of_voc,
)
from vfmseg.data.scenes import check_domain, check_size, render_scene
from vfmseg.errors import DataError, ResourceError, nearest
from vfmseg.types import Size

DEFAULT_SIZE: Final[Size] = (96, 160)
"""(height, width)"""

_VERSION: Final = 3
"""Part of the name of cached scenes; raised whenever the same settings give other files."""

_MOST_SCENES: Final = 500_000
"""Per split: the scenes of train and val are seeded from ranges of this length, so that none is in both."""

_AT_ONCE: Final = 128


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What decides on a set of scenes."""

    train: int = 400
    """Number of scenes to train on."""
    val: int = 50
    """Number of scenes to validate on; none of them is among the scenes to train on."""
    size: Size = DEFAULT_SIZE
    """(height, width) in pixels, each at least 64."""
    domains: tuple[str, ...] = ("day",)
    """Names of ``scenes.DOMAINS``, taken in turn."""
    seed: int = 0
    """Another seed gives other scenes."""


def write_scenes(
    path: str | Path,
    *,
    train: int,
    val: int,
    size: Size = DEFAULT_SIZE,
    domains: Sequence[str] = ("day",),
    seed: int = 0,
    layout: str = "folder",
    packed: bool = False,
    instances: bool = False,
) -> None:
    """Render scenes and write them as a data set, which ``open_dataset`` reads by the layout's name.

    Args:
        path: a new or empty folder; with ``packed`` and the layout ``folder`` a new zip file.
        train: number of scenes to train on.
        val: number of scenes to validate on, all different from those to train on.
        size: (height, width) in pixels, each at least 64.
        domains: names of ``scenes.DOMAINS``, taken in turn.
        seed: another seed gives other scenes.
        layout: one of ``LAYOUTS``.
        packed: write the archives people download instead of unpacked folders.
        instances: in the layout ``folder`` also write ``instances/``, 16-bit PNGs of ``Scene.instance_map``;
            Cityscapes always has them.

    Raises:
        DataError: an unknown layout or domain, sizes or numbers that make no sense, a path that is taken.
    """
    settings = SceneSettings(train=train, val=val, size=size, domains=tuple(domains), seed=seed)
    _check(settings)
    if layout not in LAYOUTS:
        raise DataError(
            f"Scenes cannot be written in the layout {layout!r}. Layouts: {', '.join(LAYOUTS)}."
            f"{nearest(layout, LAYOUTS)}"
        )
    if layout == "gta5" and packed and train < GTA_PARTS:
        raise DataError(f"GTA V comes in {GTA_PARTS} archives, which {train} scenes to train on cannot fill.")
    path = Path(path)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise DataError(f"{path} is there already. Give a new path for the scenes, or remove it.")
    shots = _render(settings)
    files = (file for shot in shots for file in LAYOUTS[layout](shot))
    if instances and layout == "folder":
        files = (file for shot in shots for file in (*LAYOUTS[layout](shot), instances_of_folder(shot)))
    extra = [SceneFile("", "data.yaml", describe_scenes().encode())] if layout == "folder" else []
    if layout == "pascal_voc":
        extra = [list_of_voc(split, number) for split, number in (("train", train), ("val", val)) if number]
    if packed:
        _write_archives(path, layout == "folder", chain(extra, files))
        return
    for file in chain(extra, files):
        target = path / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)


def ensure_scenes(settings: SceneSettings, root: str | Path | None = None) -> Path:
    """Return a folder with these scenes, in the layout ``folder``; they are rendered once and kept.

    Args:
        settings: which scenes.
        root: where such folders are kept; None for ``scenes`` in the cache folder.

    Raises:
        DataError: settings that make no sense.
        ResourceError: the folder cannot be written, or the disk is full.
    """
    _check(settings)
    root = cache_dir() / "scenes" if root is None else Path(root)
    target = root / f"scenes-{digest(f'{_VERSION} {settings}')}"
    if target.is_dir():
        return target
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=root, prefix=".scenes-"))
        try:
            write_scenes(temporary, **asdict(settings), instances=True)
            temporary.chmod(0o755)  # temporary folders are for their owner alone
            _move_into_place(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise ResourceError(
            f"The generated scenes cannot be kept in {root}: {error.strerror or error}. "
            "Set VFMSEG_CACHE to a folder with room."
        ) from error
    return target


def _check(settings: SceneSettings) -> None:
    for domain in settings.domains:
        check_domain(domain)
    check_size(settings.size)
    if not settings.domains:
        raise DataError("Scenes need at least one domain, such as `domains: [day]`.")
    for split, number in (("train", settings.train), ("val", settings.val)):
        if not 0 <= number <= _MOST_SCENES:
            raise DataError(f"{number} scenes for {split} cannot be made; 0 to {_MOST_SCENES} can.")
    if settings.train + settings.val == 0:
        raise DataError("0 scenes for train and 0 for val leave nothing to write.")
    if settings.seed < 0:
        raise DataError(f"The seed of the scenes is {settings.seed}; it should be an integer from 0 up.")


def _render(settings: SceneSettings) -> Iterator[Shot]:
    """Render all scenes, in order, in threads."""
    places = [("train", i, settings.train) for i in range(settings.train)]
    places += [("val", i, settings.val) for i in range(settings.val)]

    def shoot(place: tuple[str, int, int]) -> Shot:
        split, number, _ = place
        domain = settings.domains[number % len(settings.domains)]
        first = 2 * _MOST_SCENES * settings.seed + (_MOST_SCENES if split == "val" else 0)
        return Shot(*place, domain, render_scene(first + number, domain, settings.size))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(places), _AT_ONCE):  # a pool renders ahead: not more than fits memory
            yield from pool.map(shoot, places[start : start + _AT_ONCE])


def _write_archives(path: Path, is_one_file: bool, files: Iterable[SceneFile]) -> None:
    with ExitStack() as stack:
        archives: dict[str, zipfile.ZipFile] = {}
        for file in files:
            if file.archive not in archives:
                target = path if is_one_file else path / file.archive
                target.parent.mkdir(parents=True, exist_ok=True)
                archives[file.archive] = stack.enter_context(zipfile.ZipFile(target, "w"))
            # ZipInfo instead of a name: without the clock, the same scenes give the same bytes
            archives[file.archive].writestr(zipfile.ZipInfo(file.path), file.data)


def _move_into_place(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was faster, with the same files
            raise
