"""What data a recipe names, tiny and in the original archives: its own set, what that is validated on, its sources."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from support.archives import (
    write_ade20k,
    write_ade20k_instances,
    write_cityscapes,
    write_coco,
    write_folder,
    write_gta5,
    write_pascal_voc,
)
from support.driving import write_acdc, write_bdd100k, write_mapillary, write_synthia, write_urbansyn
from vfmseg.runs.recipe import Recipe

ROOT = Path(__file__).parents[2]
WRITERS: dict[str, Callable[[Path], object]] = {
    "ade20k": lambda folder: write_ade20k_instances(write_ade20k(folder)),
    "pascal_voc": write_pascal_voc,
    "cityscapes": write_cityscapes,
    "gta5": write_gta5,
    "bdd100k": write_bdd100k,
    "mapillary": write_mapillary,
    "acdc": write_acdc,
    "synthia": write_synthia,
    "urbansyn": write_urbansyn,
    "folder": write_folder,
    "coco_panoptic": write_coco,
    "coco_instance": lambda folder: write_coco(folder, kind="instances"),
    "camvid": lambda folder: write_camvid(folder),
}
_VALIDATED_ON_CITYSCAPES = {"gta5", "synthia", "urbansyn"}


def write_camvid(folder: Path) -> Path:
    """CamVid: one zip, and what ships to read it."""
    paths = {
        "image_name": "camvid/images/{split}/{stem}.png",
        "label_name": "camvid/labels/{split}/{stem}.png",
    }
    write_folder(folder / "unpacked", values=(3, 0, 11, 8), names=None, **paths)
    shutil.make_archive(str(folder / "camvid"), "zip", folder / "unpacked")
    shutil.rmtree(folder / "unpacked")
    shutil.copy(ROOT / "configs" / "data" / "camvid.yaml", folder)
    return folder


class EverySet:
    """Writes the data of recipes below ``root``, each once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_for(self, recipe: Recipe) -> Path:
        """Return the ``data.path`` at which all data of ``recipe`` lies, its sources' too."""
        data, names = recipe.data, {source.name for source in recipe.data.sources}
        file = ""
        if data.name == "folder" and data.path.endswith("camvid.yaml"):
            names, file = {"camvid"}, "camvid.yaml"
        else:
            names.add(f"coco_{recipe.task}" if data.name == "coco" else data.name)
        if names & _VALIDATED_ON_CITYSCAPES:
            names.add("cityscapes")
        folder = self.root / "-".join(sorted(names))
        if not folder.exists():
            folder.mkdir()
            for name in sorted(names):
                WRITERS[name](folder)
        return folder / file
