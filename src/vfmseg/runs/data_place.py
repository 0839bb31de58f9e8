"""What a recipe says of its data in, name and path of a data set on disk out; imports no torch."""

from __future__ import annotations

from pathlib import Path

from vfmseg.data.scene_writer import SceneSettings, ensure_scenes
from vfmseg.runs.data_recipe import DataRecipe
from vfmseg.runs.recipe import as_size


def data_place(data: DataRecipe) -> tuple[str, Path]:
    """Return name and path of the data; generated scenes are written first, if they are not there yet.

    Raises:
        DataError: scene settings that make no sense.
        ResourceError: the scenes cannot be written.
    """
    if data.name != "scenes":
        return data.name, Path(data.path)
    scenes = data.scenes
    settings = SceneSettings(
        train=scenes.train,
        val=scenes.val,
        size=as_size(scenes.image_size),
        domains=tuple(scenes.domains),
        seed=scenes.seed,
    )
    return "folder", ensure_scenes(settings, data.path or None)
