"""A scene -> the files it becomes in the layout of a data set."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vfmseg.data.scene_style import BICYCLE, CAR, CLASSES, PERSON, SCENES
from vfmseg.data.scenes import Scene
from vfmseg.types import IGNORE_INDEX

GTA_PARTS: Final = 10
"""Archives that the images of GTA V, and its labels, come in."""

_JPEG_OPTIONS: Final = [
    cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]  # fmt: skip


class Shot(NamedTuple):
    """A scene with its place in the set."""

    split: str
    number: int
    total: int
    """Scenes of the split."""
    domain: str
    scene: Scene


class SceneFile(NamedTuple):
    """A file to write: the archive it belongs to, its path inside, its bytes."""

    archive: str
    path: str
    data: bytes


def describe_scenes() -> str:
    """Return the YAML text that names the classes of scenes in the layout ``folder``."""
    names = ", ".join(f"{i}: {name}" for i, name in enumerate(SCENES.names))
    colours = ", ".join(f"{i}: {list(colour)}" for i, colour in enumerate(SCENES.colours))
    things = ", ".join(name for name, _, is_thing in CLASSES if is_thing)
    return f"names: {{{names}}}\ncolours: {{{colours}}}\nthings: [{things}]\nignore_index: {IGNORE_INDEX}\n"


def _folder_files(shot: Shot) -> Iterator[SceneFile]:
    name, scene = f"{shot.domain}_{shot.number:05d}", shot.scene
    yield SceneFile("", f"images/{shot.split}/{name}.jpg", _encode(scene.image, ".jpg"))
    yield SceneFile("", f"masks/{shot.split}/{name}.png", _encode_palette(scene.class_map, _SCENES_PALETTE))


def instances_of_folder(shot: Shot) -> SceneFile:
    """Return the instances of a scene, a 16-bit PNG, for the layout ``folder``."""
    path = f"instances/{shot.split}/{shot.domain}_{shot.number:05d}.png"
    return SceneFile("", path, _encode(shot.scene.instance_map, ".png"))


def _cityscapes_files(shot: Shot) -> Iterator[SceneFile]:
    city = shot.domain.replace("-", "")
    stem = f"{shot.split}/{city}/{city}_{shot.number:06d}_000019"
    ids = _CITYSCAPES_IDS[shot.scene.class_map]
    instances = np.where(
        shot.scene.instance_map, ids.astype(np.uint16) * 1000 + shot.scene.instance_map - 1, ids
    )
    images, labels = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
    yield SceneFile(images, f"leftImg8bit/{stem}_leftImg8bit.png", _encode(shot.scene.image, ".png"))
    yield SceneFile(labels, f"gtFine/{stem}_gtFine_labelIds.png", _encode(ids, ".png"))
    yield SceneFile(
        labels, f"gtFine/{stem}_gtFine_instanceIds.png", _encode(instances.astype(np.uint16), ".png")
    )


def _ade20k_files(shot: Shot) -> Iterator[SceneFile]:
    archive, root = "ADEChallengeData2016.zip", "ADEChallengeData2016"
    folder = {"train": "training", "val": "validation"}[shot.split]
    name = f"ADE_{shot.split}_{shot.number + 1:08d}"
    yield SceneFile(archive, f"{root}/images/{folder}/{name}.jpg", _encode(shot.scene.image, ".jpg"))
    labels = _encode(_ADE20K_IDS[shot.scene.class_map], ".png")
    yield SceneFile(archive, f"{root}/annotations/{folder}/{name}.png", labels)


def _pascal_voc_files(shot: Shot) -> Iterator[SceneFile]:
    stem = _voc_stem(shot.split, shot.number)
    labels = _encode_palette(_PASCAL_VOC_IDS[shot.scene.class_map], _voc_palette())
    yield SceneFile(_VOC_ARCHIVE, f"{_VOC_ROOT}/JPEGImages/{stem}.jpg", _encode(shot.scene.image, ".jpg"))
    yield SceneFile(_VOC_ARCHIVE, f"{_VOC_ROOT}/SegmentationClass/{stem}.png", labels)


def _gta5_files(shot: Shot) -> Iterator[SceneFile]:
    if shot.split == "val":  # GTA V is validated on Cityscapes
        yield from _cityscapes_files(shot)
        return
    part, name = 1 + shot.number * GTA_PARTS // shot.total, f"{shot.number + 1:05d}.png"
    labels = _encode_palette(_CITYSCAPES_IDS[shot.scene.class_map], _gta_palette())
    yield SceneFile(f"{part:02d}_images.zip", f"images/{name}", _encode(shot.scene.image, ".png"))
    yield SceneFile(f"{part:02d}_labels.zip", f"labels/{name}", labels)


LAYOUTS: Final[dict[str, Callable[[Shot], Iterator[SceneFile]]]] = {
    "folder": _folder_files,
    "cityscapes": _cityscapes_files,
    "ade20k": _ade20k_files,
    "pascal_voc": _pascal_voc_files,
    "gta5": _gta5_files,
}
"""Name of a data set -> the files that one scene becomes there."""

_VOC_ARCHIVE: Final = "VOCtrainval_11-May-2012.zip"
_VOC_ROOT: Final = "VOCdevkit/VOC2012"


def _voc_stem(split: str, number: int) -> str:
    return f"{2007 if split == 'train' else 2008}_{number + 1:06d}"


def list_of_voc(split: str, count: int) -> SceneFile:
    """Return the file that lists the scenes of a split in the layout ``pascal_voc``."""
    lines = "".join(f"{_voc_stem(split, number)}\n" for number in range(count))
    return SceneFile(_VOC_ARCHIVE, f"{_VOC_ROOT}/ImageSets/Segmentation/{split}.txt", lines.encode())


def _table(values: Sequence[int], void: int) -> NDArray[np.uint8]:
    table = np.full(256, void, np.uint8)
    table[: len(values)] = values
    return table


_CITYSCAPES_IDS: Final = _table((7, 8, 11, 17, 20, 21, 22, 23, 24, 26, 33), void=1)
"""Class id of a scene -> label id of Cityscapes; 1 is the camera's own car."""
_ADE20K_IDS: Final = _table((7, 12, 2, 94, 44, 5, 10, 3, 13, 21, 128), void=0)
_PASCAL_VOC_IDS: Final = _table([0] * len(CLASSES), void=IGNORE_INDEX)
_PASCAL_VOC_IDS[[PERSON, CAR, BICYCLE]] = 15, 7, 2
_SCENES_PALETTE = [channel for colour in SCENES.colours for channel in colour]
_SCENES_PALETTE += [0] * (3 * 256 - len(_SCENES_PALETTE))  # Pillow cuts indices beyond a short palette


def _voc_palette() -> list[int]:
    """Return the palette VOC files carry: index bits 0, 1, 2 are the highest of red, green, blue ..."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.int64)
    for bit in range(9):
        palette[:, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return [int(value) for value in palette.ravel()]


def _gta_palette() -> list[int]:
    """Return the colours of the classes at the label ids of Cityscapes."""
    palette = np.zeros((256, 3), np.int64)
    palette[_CITYSCAPES_IDS[: len(CLASSES)]] = SCENES.colours
    return [int(value) for value in palette.ravel()]


def _encode(pixels: NDArray[np.uint8] | NDArray[np.uint16], ending: str) -> bytes:
    stored = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return bytes(cv2.imencode(ending, stored, _JPEG_OPTIONS if ending == ".jpg" else [])[1])


def _encode_palette(ids: NDArray[np.uint8], palette: Sequence[int]) -> bytes:
    image = Image.fromarray(ids)
    image.putpalette(list(palette))
    file = io.BytesIO()
    image.save(file, format="png")
    return file.getvalue()
