"""What a recipe may say of its data: where it lies, how much of it is used, what is mixed with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from vfmseg.runs.values import NonNegativeInt, PositiveFloat, PositiveInt, Share, SizeSetting

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
_LEAST_SHARE: Final = 1e-3
"""Of all weights; the order of a mixture is made in blocks of a thousand images."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class ScenesRecipe:
    """What to generate where `data.name` is `scenes`."""

    image_size: SizeSetting = (96, 160)
    """(height, width) of a generated picture."""
    train: PositiveInt = 200
    """Pictures to train on."""
    val: PositiveInt = 40
    """Pictures held out."""
    domains: list[Literal["day", "dusk", "fog", "new-style"]] = field(default_factory=lambda: ["day"])
    """Light and look of both splits; several are taken in turn."""
    seed: NonNegativeInt = 0
    """Other seeds give other streets."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class SourceRecipe:
    """One of several data sets to train on."""

    name: str
    """`vfmseg list datasets`."""
    path: str = ""
    """Where it lies; empty: where `data.path` says."""
    split: str = "train"
    """What is used of it."""
    weight: PositiveFloat | None = None
    """How often its images are shown beside those of the other sources."""
    fraction: Share = 1.0
    """Share of its images that is used."""


@checked(frozen=True, kw_only=True, config=_STRICT)
class DataRecipe:
    """Where the images are and how they are read."""

    name: str = "scenes"
    """`vfmseg list datasets`; `folder` for your own images."""
    path: str = ""
    """Folder with the original archives; of your own, a folder or zip of images with masks, instance numbers or COCO
    JSON, or a data.yaml; `scenes` needs none."""
    scenes: ScenesRecipe = field(default_factory=ScenesRecipe)
    """Generated scenes, where `name` is `scenes`."""
    fraction: Share = 1.0
    """Share of the training images that is used, such as `1/16`. `training_images.txt` in the run folder lists them."""
    fraction_seed: NonNegativeInt = 0
    """Which images a `fraction` takes; the same ones whatever `seed` is."""
    sources: list[SourceRecipe] = field(default_factory=list)
    """What to train on in place of the training split of `name`, which is still validated on: a list of `{name, path,
    split, weight, fraction}`, all but the name optional. With weights (`2` and `1`: two images in three are of the first)
    in all sources or in none: then every image is shown as often as any other."""
    batch_size: PositiveInt = 1
    """Images a device sees at once; the effective batch is reached by accumulation."""
    num_workers: NonNegativeInt = 4
    """Processes that read and augment; the result does not depend on it."""
    allow_unpaired: bool = False
    """Leave out images without a label, counted and listed, instead of stopping."""
    allow_missing: bool = False
    """Of downloads in parts (GTA V), use those that are there instead of stopping."""
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """For a `folder` without a validation split: this share of the images; the same ones whatever `seed` is."""
    test_size: tuple[PositiveInt, PositiveInt] | None = None
    """[height, width] into which validation images are scaled (bilinear, keeping their shape, in either orientation)
    before windows are cut, as published for some data: Rein takes [512, 1024] for Cityscapes with crops of 512, [720,
    1280] for BDD100K. Labels keep their size, and predictions are scored at it. null: scaled to cover what the encoder
    sees."""
    test_halved: bool = False
    """Validation images and labels are halved before all else, as Rein does with Mapillary; the scores are then of
    smaller labels, and say so."""
    skip_bad: bool = False
    """Leave out files that cannot be read, counted and listed, instead of stopping."""
    skip_constant_labels: bool = False
    """Leave out images whose label has one value only and, of panoptic and instance data, those without a segment, as the
    published code does (decodes every label once)."""


def data_contradictions(data: DataRecipe, *, needs_data: bool) -> list[str]:
    """Return what is wrong across the fields of a recipe's data, one sentence each."""
    found: list[str] = []
    if needs_data and data.name != "scenes" and not data.path:
        found.append(
            f"data.path is missing: say where {data.name} lies (--data.path DIR); "
            f"`vfmseg list datasets` shows which files are expected"
        )
    if data.sources and data.fraction != 1:
        found.append(
            "data.fraction is of the training split of data.name, which data.sources replaces; give the sources a "
            "fraction of their own"
        )
    found += [
        f"data.sources.{number}.path is missing: say where {source.name} lies, or give data.path"
        for number, source in enumerate(data.sources)
        if needs_data and source.name != "scenes" and not source.path and not data.path
    ]
    return found + _weight_contradictions([source.weight for source in data.sources])


def _weight_contradictions(weights: Sequence[float | None]) -> list[str]:
    given = [weight for weight in weights if weight is not None]
    if not given:
        return []
    if len(given) < len(weights):
        without = ", ".join(str(i) for i, weight in enumerate(weights) if weight is None)
        return [f"data.sources has weights, but not in number {without}; give all of them one, or none"]
    return [
        f"data.sources.{number}.weight {weight:g} is less than a thousandth of all weights; leave the source out, or "
        "give it more"
        for number, weight in enumerate(given)
        if weight < _LEAST_SHARE * sum(given)
    ]
