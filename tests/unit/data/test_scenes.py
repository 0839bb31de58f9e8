"""Generated scenes: reproducible, consistent, varied, and not solvable by colour or place alone."""

from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
import pytest

from vfmseg.data.scene_canvas import FAR_M, SUBPIXELS, Camera, Canvas
from vfmseg.data.scenes import DOMAINS, FEWEST_PIXELS, SCENES, Scene, render_scene
from vfmseg.errors import DataError
from vfmseg.types import IGNORE_INDEX

SIZE = (72, 104)


@pytest.fixture(scope="module")
def day() -> list[Scene]:
    return [render_scene(seed, "day", SIZE) for seed in range(60)]


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("size", [(64, 64), (67, 131), (128, 65)])
def test_render_scene__size_and_types(domain: str, size: tuple[int, int]) -> None:
    scene = render_scene(3, domain, size)
    assert scene.image.shape == (*size, 3)
    assert scene.class_map.shape == scene.instance_map.shape == size
    assert (scene.image.dtype, scene.class_map.dtype, scene.instance_map.dtype) == (
        np.uint8,
        np.uint8,
        np.uint16,
    )
    assert set(np.unique(scene.class_map)) <= {*range(SCENES.num_classes), IGNORE_INDEX}


def test_render_scene__is_reproducible_in_another_process() -> None:
    program = (
        "import zlib; from vfmseg.data.scenes import render_scene\n"
        "s = render_scene(11, 'dusk', (72, 104))\n"
        "print(zlib.crc32(s.image), zlib.crc32(s.class_map), zlib.crc32(s.instance_map))"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    here = render_scene(11, "dusk", SIZE)
    maps = (here.image, here.class_map, here.instance_map)
    assert there.split() == [str(zlib.crc32(values)) for values in maps]


def test_render_scene__costs_no_torch() -> None:
    program = "import sys, vfmseg.data.scenes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_render_scene__seeds_differ(day: list[Scene]) -> None:
    assert len({zlib.crc32(scene.class_map) for scene in day}) == len(day)


@pytest.mark.parametrize("domain", ["dusk", "fog"])
def test_render_scene__light_does_not_move_anything(domain: str, day: list[Scene]) -> None:
    for seed in range(8):
        other = render_scene(seed, domain, SIZE)
        np.testing.assert_array_equal(other.class_map, day[seed].class_map)
        np.testing.assert_array_equal(other.instance_map, day[seed].instance_map)
        assert np.abs(other.image.astype(int) - day[seed].image).mean() > 8


def test_render_scene__domains_differ_as_named(day: list[Scene]) -> None:
    dusk = [render_scene(seed, "dusk", SIZE).image for seed in range(20)]
    fog = [render_scene(seed, "fog", SIZE).image for seed in range(20)]
    bright = [scene.image for scene in day[:20]]
    assert np.mean(dusk) < 0.75 * np.mean(bright)
    far = slice(8, SIZE[0] // 2)  # fog hides what is far away
    assert np.mean([image[far].std() for image in fog]) < 0.7 * np.mean(
        [image[far].std() for image in bright]
    )
    town = render_scene(5, "new-style", SIZE)
    assert (town.class_map != day[5].class_map).mean() > 0.1


def test_render_scene__things_and_only_things_are_instances(day: list[Scene]) -> None:
    is_thing = np.zeros(256, bool)
    is_thing[: SCENES.num_classes] = SCENES.is_thing
    for scene in day:
        assert is_thing[scene.class_map[scene.instance_map > 0]].all()
        count = int(scene.instance_map.max())
        assert set(np.unique(scene.instance_map)) | {0} == set(range(count + 1))
        for number in range(1, count + 1):
            assert len(np.unique(scene.class_map[scene.instance_map == number])) == 1


def test_render_scene__things_too_small_to_tell_apart_are_a_group(day: list[Scene]) -> None:
    groups = 0
    for scene in day:
        assert (np.bincount(scene.instance_map.ravel())[1:] >= FEWEST_PIXELS).all()
        things = np.isin(scene.class_map, np.flatnonzero(SCENES.is_thing))
        groups += int((things & (scene.instance_map == 0)).any())
    assert groups > len(day) // 2


def test_render_scene__shows_every_class_and_void(day: list[Scene]) -> None:
    counts = np.bincount(np.concatenate([scene.class_map.ravel() for scene in day]), minlength=256)
    shares = counts / counts.sum()
    assert (shares[: SCENES.num_classes] > 0.002).all()
    assert shares.max() < 0.5
    with_void = [scene for scene in day if (scene.class_map == IGNORE_INDEX).any()]
    assert 0.15 < len(with_void) / len(day) < 0.75


def test_render_scene__neither_colour_nor_place_gives_the_class_away(day: list[Scene]) -> None:
    train, val = day[:45], day[45:]
    images, labels = (np.stack([getattr(s, key) for s in train]) for key in ("image", "class_map"))
    val_images, truth = (np.stack([getattr(s, key) for s in val]) for key in ("image", "class_map"))
    colour, val_colour = ((x >> 4).astype(int) @ np.array([256, 16, 1]) for x in (images, val_images))
    place = np.broadcast_to(np.arange(SIZE[0] * SIZE[1]).reshape(SIZE), labels.shape)
    val_place = place[: len(val)]
    assert _mean_iou(_most_frequent(colour, labels)[val_colour], truth) < 0.4
    assert _mean_iou(_most_frequent(place, labels)[val_place], truth) < 0.35


def _most_frequent(key: np.ndarray, labels: np.ndarray) -> np.ndarray:
    counts = np.zeros((max(4096, int(key.max()) + 1), SCENES.num_classes))
    known = labels != IGNORE_INDEX
    np.add.at(counts, (key[known], labels[known]), 1)
    return counts.argmax(1)


def _mean_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    known = truth != IGNORE_INDEX
    ious = []
    for k in range(SCENES.num_classes):
        union = ((predicted == k) | (truth == k)) & known
        ious.append(((predicted == k) & (truth == k) & known).sum() / max(1, union.sum()))
    return float(np.mean(ious))


def test_render_scene__unknown_domain() -> None:
    with pytest.raises(
        DataError, match=r"no scene domain 'fogg'. Known: day, dusk, fog, new-style. Did you mean fog"
    ):
        render_scene(0, "fogg", SIZE)


def test_render_scene__too_small() -> None:
    with pytest.raises(DataError, match=r"Scenes of 96 x 32 .* each side needs at least 64 pixels"):
        render_scene(0, "day", (96, 32))


def test_canvas__labels_are_those_at_pixel_centres_and_edges_are_smooth() -> None:
    camera = Camera(focal=100.0, centre=30.0, horizon=30.0, height_m=1.0, bend=0.0)
    canvas = Canvas()
    # columns 9.0 to 22.9 and rows 6.0 to 30.0 of the finer raster
    rectangle = camera.unproject([(9.0, 6.0), (22.9, 6.0), (22.9, 30.0), (9.0, 30.0)], 5.0)
    canvas.fill(rectangle, np.array((200.0, 0, 0)), 4, 5.0)
    background = np.zeros((60, 60, 3), np.uint8)
    rasters = canvas.draw(camera, background, 7)
    expected = np.full((20, 20), 7)
    expected[2:10, 3:8] = 4  # pixel 7 has its centre at 22.5, pixel 8 at 25.5
    expected[10, 3:8] = rasters.segments[10, 3]  # its centre row lies on the edge
    np.testing.assert_array_equal(rasters.segments, expected)
    assert set(np.unique(rasters.depth)) == {5.0, FAR_M}
    per_pixel = rasters.colour[..., 0].reshape(20, SUBPIXELS, 20, SUBPIXELS).mean((1, 3))
    assert 0 < per_pixel[5, 7] <= 200
    assert per_pixel[5, 5] == 200
    assert per_pixel[5, 9] == 0


def test_canvas__details_change_no_label() -> None:
    camera = Camera(focal=100.0, centre=30.0, horizon=30.0, height_m=1.0, bend=0.0)
    canvas = Canvas()
    everything = camera.unproject([(-9, -9), (99, -9), (99, 99), (-9, 99)], 5.0)
    canvas.fill(everything, np.array((10.0, 10, 10)), 2, 5.0)
    canvas.tint([camera.unproject([(12, 12), (40, 12), (40, 40), (12, 40)], 3.0)], np.array((250.0, 0, 0)))
    rasters = canvas.draw(camera, np.zeros((60, 60, 3), np.uint8), 7)
    assert (rasters.segments == 2).all()
    assert (rasters.depth == 5.0).all()
    assert tuple(rasters.colour[30, 30]) == (250, 0, 0)


@pytest.mark.parametrize("bend", [0.0, 0.002])
def test_camera__unproject_undoes_project(bend: float) -> None:
    camera = Camera(focal=321.0, centre=240.0, horizon=150.0, height_m=1.5, bend=bend)
    pixels = np.array([(0.0, 0.0), (480, 10), (12, 299), (240, 150)])
    np.testing.assert_allclose(camera.project(camera.unproject(pixels, 17.0)), pixels, atol=1e-9)
