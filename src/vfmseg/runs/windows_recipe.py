"""What a recipe may say of how evaluation looks at images: windows, and the published resizes of a data set."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from vfmseg.runs.data_recipe import DataRecipe
from vfmseg.runs.values import PositiveInt

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@checked(frozen=True, kw_only=True, config=_STRICT)
class WindowsRecipe:
    """How a semantic model looks at images that are not of its own size."""

    stride: PositiveInt | None = None
    """Pixels from one window to the next in `validate`, and in `predict --tiling never`, as in mmsegmentation (Rein: 341
    with crops of 512, 683 with 1024); null: the fewest windows, spread evenly, as the benchmark does."""


def windows_contradictions(
    windows: WindowsRecipe, data: DataRecipe, task: str, image_size: tuple[int, int]
) -> list[str]:
    """Return what is wrong between windows, data, task and the encoder's (height, width), one sentence each."""
    asked = {
        "windows.stride": windows.stride is not None,
        "data.test_size": data.test_size is not None,
        "data.test_halved": data.test_halved,
    }
    given = [key for key, is_given in asked.items() if is_given]
    found = []
    if given and task != "semantic":
        found.append(f"{', '.join(given)}: for task semantic only; a {task} model sees each image whole")
    if windows.stride is not None and windows.stride > min(image_size):
        found.append(
            f"windows.stride {windows.stride} is more than the encoder sees ({min(image_size)} pixels), which leaves "
            "gaps; published: 341 with crops of 512, 683 with 1024"
        )
    if data.test_size is not None and windows.stride is None:
        found.append(
            "data.test_size scales images to a size of their own, which needs windows.stride; give it (341 with crops of "
            "512), or leave data.test_size out"
        )
    return found


def said_of_view(windows: WindowsRecipe, data: DataRecipe) -> list[str]:
    """Return what to tell of a validation that does not see images as the default does; empty where it does."""
    found = []
    if data.test_halved:
        found.append(
            "images and labels are halved first (data.test_halved): scores are of labels at half their size"
        )
    if data.test_size is not None:
        height, width = data.test_size
        labels = "halved labels keep that size" if data.test_halved else "labels keep their own size"
        found.append(
            f"images are scaled to fit {height} x {width} (data.test_size), in either orientation; {labels}, at which "
            "predictions are scored"
        )
    if windows.stride is not None:
        found.append(f"windows at a stride of {windows.stride} pixels (windows.stride)")
    return found


def view_row(windows: WindowsRecipe, data: DataRecipe) -> dict[str, Any]:
    """Return the same as fields of a flat row; empty where images are seen as the default does."""
    found: dict[str, Any] = {}
    if windows.stride is not None:
        found["window_stride"] = windows.stride
    if data.test_size is not None:
        found["test_size"] = f"{data.test_size[0]}x{data.test_size[1]}"
    if data.test_halved:
        found["test_halved"] = True
    return found
