"""Scenes on disk are read back by the ordinary readers, in every layout."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vfmseg.data.dataset import open_dataset
from vfmseg.data.scene_files import LAYOUTS
from vfmseg.data.scene_writer import SceneSettings, ensure_scenes, write_scenes
from vfmseg.data.scenes import SCENES, render_scene
from vfmseg.errors import DataError, ResourceError
from vfmseg.types import IGNORE_INDEX

SIZE = (64, 80)
NAMES_ELSEWHERE = {
    "cityscapes": {},
    "gta5": {},
    "ade20k": {
        "road": "road, route", "sidewalk": "sidewalk, pavement", "traffic sign": "signboard, sign",
        "vegetation": "tree", "terrain": "grass",
    },
    "pascal_voc": {
        name: name if name in ("person", "car", "bicycle") else "background" for name in SCENES.names
    },
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_write_scenes__reads_back(layout: str, packed: bool, tmp_path: Path) -> None:
    train = 11 if layout == "gta5" else 3
    path = tmp_path / ("scenes.zip" if layout == "folder" and packed else "scenes")
    write_scenes(path, train=train, val=2, size=SIZE, layout=layout, packed=packed)
    for split, count, first in (("train", train, 0), ("val", 2, 500_000)):
        dataset = open_dataset(layout, path, split)
        assert len(dataset) == count
        for i in range(count):
            scene = render_scene(first + i, "day", SIZE)
            sample = dataset[i]
            np.testing.assert_array_equal(
                sample.targets.id_map, _expected(layout, dataset.label_space.names, scene)
            )
            difference = np.abs(sample.image.permute(1, 2, 0).numpy().astype(int) - scene.image)
            assert difference.mean() < 4  # lossy where the real data set is


def _expected(layout: str, names: tuple[str, ...], scene: object) -> np.ndarray:
    class_map = scene.class_map  # type: ignore[attr-defined]
    if layout == "folder":
        assert names == SCENES.names
        return class_map
    elsewhere = NAMES_ELSEWHERE[layout]
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[: SCENES.num_classes] = [names.index(elsewhere.get(name, name)) for name in SCENES.names]
    return table[class_map]


def test_write_scenes__same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_scenes(tmp_path / name, train=2, val=1, size=SIZE, packed=True, domains=("fog", "dusk"))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert "images/train/dusk_00001.jpg" in archive.namelist()


def test_write_scenes__instances(tmp_path: Path) -> None:
    write_scenes(tmp_path / "s", train=1, val=0, size=SIZE, instances=True)
    stored = np.asarray(Image.open(tmp_path / "s/instances/train/day_00000.png"))
    np.testing.assert_array_equal(stored, render_scene(0, "day", SIZE).instance_map)


def test_write_scenes__instances_of_cityscapes(tmp_path: Path) -> None:
    write_scenes(tmp_path / "s", train=1, val=0, size=SIZE, layout="cityscapes", domains=("new-style",))
    name = "gtFine/train/newstyle/newstyle_000000_000019_gtFine_"
    instances = np.asarray(Image.open(tmp_path / "s" / f"{name}instanceIds.png")).astype(int)
    labels = np.asarray(Image.open(tmp_path / "s" / f"{name}labelIds.png")).astype(int)
    scene = render_scene(0, "new-style", SIZE)
    np.testing.assert_array_equal(instances >= 1000, scene.instance_map > 0)
    np.testing.assert_array_equal(np.where(instances >= 1000, instances // 1000, instances), labels)
    assert len(np.unique(instances[instances >= 1000])) == scene.instance_map.max()


def test_write_scenes__masks_carry_their_colours(tmp_path: Path) -> None:
    write_scenes(tmp_path / "s", train=1, val=0, size=SIZE)
    with Image.open(tmp_path / "s/masks/train/day_00000.png") as mask:
        assert mask.mode == "P"
        assert tuple(mask.convert("RGB").getpixel((40, 60))) == SCENES.colours[0]
    write_scenes(tmp_path / "v", train=1, val=0, size=SIZE, layout="pascal_voc")
    with Image.open(tmp_path / "v/VOCdevkit/VOC2012/SegmentationClass/2007_000001.png") as mask:
        palette = mask.getpalette()
    assert palette is not None
    assert palette[7 * 3 : 8 * 3] == [128, 128, 128]
    assert palette[255 * 3 :] == [224, 224, 192]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"layout": "cityscape"},
            "layout 'cityscape'. Layouts: folder, cityscapes, .* Did you mean cityscapes",
        ),
        ({"train": -1}, "-1 scenes for train cannot be made; 0 to 500000 can"),
        ({"train": 0, "val": 0}, "0 scenes for train and 0 for val leave nothing to write"),
        ({"domains": ()}, "at least one domain"),
        ({"seed": -3}, "seed of the scenes is -3; it should be an integer from 0 up"),
        ({"size": (64, 32)}, "each side needs at least 64 pixels"),
        ({"layout": "gta5", "packed": True}, "10 archives, which 1 scenes to train on cannot fill"),
    ],
)
def test_write_scenes__refuses(wrong: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write_scenes(tmp_path / "s", **{"train": 1, "val": 1, "size": SIZE, **wrong})  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def test_write_scenes__path_is_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"is there already. Give a new path for the scenes, or remove it"):
        write_scenes(tmp_path, train=1, val=0, size=SIZE)


def test_ensure_scenes__renders_once_per_settings(tmp_path: Path) -> None:
    settings = SceneSettings(train=2, val=1, size=SIZE)
    path = ensure_scenes(settings, tmp_path)
    written = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert ensure_scenes(settings, tmp_path) == path
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == written
    other = ensure_scenes(SceneSettings(train=2, val=1, size=SIZE, seed=1), tmp_path)
    assert other != path
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, other.name])
    dataset = open_dataset("folder", path, "train")
    assert "Not used" not in dataset.sentence
    assert len(dataset) == 2


def test_ensure_scenes__goes_to_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFMSEG_CACHE", str(tmp_path / "cache"))
    path = ensure_scenes(SceneSettings(train=1, val=0, size=SIZE))
    assert path.parent == tmp_path / "cache" / "scenes"


def test_ensure_scenes__interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seed: int, domain: str, size: tuple[int, int]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vfmseg.data.scene_writer.render_scene", fail)
    with pytest.raises(KeyboardInterrupt):
        ensure_scenes(SceneSettings(train=1, val=0, size=SIZE), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ensure_scenes__folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ResourceError, match=r"cannot be kept in .*file: .* Set VFMSEG_CACHE to a folder with room"
    ):
        ensure_scenes(SceneSettings(train=1, val=0, size=SIZE), tmp_path / "file")
