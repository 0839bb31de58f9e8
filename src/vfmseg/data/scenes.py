"""A seed, a domain and a size -> a street scene made by code: picture, classes and instances.

The scenes stand in for photographs where there are none: tests, the demo, a first look at domain shift.
They have things and stuff, perspective, occlusion, shadows, wear and sensor noise; colours of different
classes overlap, so that neither a mean colour nor the place in the picture gives the class away. The domains
``day``, ``dusk`` and ``fog`` show one kind of town in different light (the same streets for the same seed);
``new-style`` shows another town, through another camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vfmseg.data.scene_buildings import plan_buildings
from vfmseg.data.scene_canvas import SUBPIXELS, Camera, Canvas, disc
from vfmseg.data.scene_figures import plan_hedge, plan_person, plan_tree
from vfmseg.data.scene_furniture import plan_lamp_post, plan_sign
from vfmseg.data.scene_ground import Street, draw_street, paint_backdrop, paint_ground, paint_sky
from vfmseg.data.scene_style import (
    BICYCLE, BUILDING, CAR, CLASSES, DOMAINS, PERSON, POLE, ROAD, SCENES, SIDEWALK, SIGN, SKY, TERRAIN,
    VEGETATION,
)  # fmt: skip
from vfmseg.data.scene_vehicles import plan_bicycle, plan_car
from vfmseg.data.scene_view import Item, View
from vfmseg.errors import DataError, nearest
from vfmseg.types import IGNORE_INDEX, Size

__all__ = ["DOMAINS", "MIN_SIDE", "SCENES", "Scene", "render_scene"]

MIN_SIDE: Final = 64
"""Pixels; below, poles and people would be thinner than a pixel."""

_ROUGHNESS: Final = {
    ROAD: 0.055, SIDEWALK: 0.05, BUILDING: 0.05, POLE: 0.03, SIGN: 0.02, VEGETATION: 0.13, TERRAIN: 0.11,
    SKY: 0.008, PERSON: 0.05, CAR: 0.02, BICYCLE: 0.03,
}  # fmt: skip
"""How much the brightness of a material varies from point to point."""


@dataclass(frozen=True)
class Scene:
    """One generated scene."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    class_map: NDArray[np.uint8]
    """(H, W) uint8 ids of ``SCENES``; ``IGNORE_INDEX`` on the camera's own car and on frame borders."""
    instance_map: NDArray[np.uint16]
    """(H, W) uint16: 0 where there is no thing, else 1.. per scene."""


def render_scene(seed: int, domain: str, size: Size) -> Scene:
    """Render one scene; the same arguments give the same scene.

    Args:
        seed: 0 or more. The same seed gives the same street in ``day``, ``dusk`` and ``fog``.
        domain: one of ``DOMAINS``.
        size: (height, width), each at least ``MIN_SIDE`` pixels.

    Raises:
        DataError: unknown domain, or a side that is too short.
    """
    check_domain(domain)
    check_size(size)
    town, weather = DOMAINS[domain]
    rng = np.random.Generator(np.random.PCG64([seed, 0]))
    light_rng = np.random.Generator(np.random.PCG64([seed, 1]))
    canvas = Canvas(size)
    camera = Camera(
        focal=float(rng.uniform(*town.focal)) * SUBPIXELS * float(np.sqrt(size[0] * size[1])),
        centre=SUBPIXELS * size[1] * float(rng.uniform(0.36, 0.64)),
        horizon=SUBPIXELS * size[0] * float(rng.uniform(*town.horizon)),
        height_m=float(rng.uniform(*town.camera_height_m)),
        bend=float(rng.uniform(-0.0022, 0.0022)),
    )
    view = View(canvas, camera, town, weather, rng, light_rng, sun_side=1 if rng.random() < 0.5 else -1)
    street = draw_street(rng)
    items = [*plan_buildings(view, street, -1), *plan_buildings(view, street, 1)]
    items += _plan_sidewalks(view, street) + _plan_traffic(view, street)
    paint_sky(view)
    paint_backdrop(view)
    paint_ground(view, street)
    _paint_shadows(view, items)
    for item in sorted(items, key=lambda item: -item.depth_m):
        item.paint(view)
    _paint_own_car(view)
    return _develop(view, size)


def check_domain(domain: str) -> None:
    """Raise if there is no such domain.

    Raises:
        DataError: with all names and the nearest.
    """
    if domain not in DOMAINS:
        raise DataError(
            f"There is no scene domain {domain!r}. Known: {', '.join(DOMAINS)}.{nearest(domain, DOMAINS)}"
        )


def check_size(size: Size) -> None:
    """Raise if scenes cannot be rendered at this (height, width).

    Raises:
        DataError: a side is too short.
    """
    if min(size) < MIN_SIDE:
        raise DataError(
            f"Scenes of {size[0]} x {size[1]} (height x width) are too small: each side needs at least "
            f"{MIN_SIDE} pixels."
        )


def _plan_sidewalks(view: View, street: Street) -> list[Item]:
    """Place trees, hedges, lamps, signs, people and parked bicycles on both sides of the road."""
    rng, items = view.rng, []
    for side in (-1, 1):
        curb, width = street.curb(side), street.sidewalk(side)
        if rng.random() < 0.55:
            step, start = rng.uniform(6, 14), rng.uniform(3, 14)
            for z in np.arange(start, 75, step):
                if rng.random() < 0.85 and not _in_crossing(street, z):
                    items.append(plan_tree(view, side * (curb + 0.5 + rng.uniform(0, 0.3)), float(z)))
        if street.verge(side):
            for _ in range(int(rng.integers(0, 4))):
                x = curb + width + rng.uniform(0.4, 1.0) * street.verge(side)
                items.append(plan_tree(view, side * x, float(rng.uniform(6, 50))))
            if rng.random() < 0.4:
                start = float(rng.uniform(3, 20))
                if not (_in_crossing(street, start) or _in_crossing(street, start + 6)):
                    items.append(plan_hedge(view, side * (curb + width + 0.6), start, float(rng.uniform(4, 6))))
        for z in np.arange(rng.uniform(4, 22), 70, rng.uniform(14, 26)):
            if not _in_crossing(street, z):
                items.append(plan_lamp_post(view, side * (curb + 0.35), float(z), side))
        for _ in range(int(rng.integers(0, 4))):
            items.append(plan_sign(view, side * (curb + rng.uniform(0.4, 0.8)), float(rng.uniform(4.5, 26))))
        for _ in range(int(rng.integers(0, 5))):
            place = side * (curb + rng.uniform(0.4, max(0.5, width - 0.3)))
            items.append(plan_person(view, place, float(rng.uniform(4.0, 32))))
        if rng.random() < 0.5:
            x, z = side * (curb + width - 0.4), float(rng.uniform(4, 16))
            for number in range(int(rng.integers(1, 4))):
                heading = float(rng.normal(np.pi / 2, 0.4))
                items.append(plan_bicycle(view, x, z + number * 0.8, heading, ridden=False))
    return items


def _plan_traffic(view: View, street: Street) -> list[Item]:
    """Place cars that are parked, that drive along or across, cyclists and people who cross the road."""
    rng, items = view.rng, []
    for side in (-1, 1):
        wide_enough = street.curb(side) > 3.6 if side < 0 else street.curb(side) > 3.4
        if wide_enough and rng.random() < 0.8:
            x, z = side * (street.curb(side) - 1.05), rng.uniform(3.5, 9)
            while z < 60:
                if rng.random() < 0.7 and not _in_crossing(street, z):
                    heading = float(rng.normal(0, 0.03)) + (np.pi if side < 0 and rng.random() < 0.85 else 0.0)
                    items.append(plan_car(view, x, float(z), heading))
                z += rng.uniform(5.4, 7.5)
    oncoming = max(street.left_curb + 3.0, street.left_curb * 0.55)
    for z in np.arange(rng.uniform(7, 26), 80, rng.uniform(9, 26)):
        if rng.random() < 0.7:
            items.append(plan_car(view, float(rng.normal(0, 0.25)), float(z) + 3, float(rng.normal(0, 0.03))))
    for z in np.arange(rng.uniform(6, 26), 80, rng.uniform(10, 26)):
        if street.left_curb < -4.6 and rng.random() < 0.7:
            items.append(plan_car(view, oncoming, float(z), float(rng.normal(np.pi, 0.03))))
    if street.crossing and rng.random() < 0.6:
        z = street.crossing[0] + 0.5 * (street.crossing[1] - street.crossing[0])
        heading = np.pi / 2 if rng.random() < 0.5 else -np.pi / 2
        items.append(plan_car(view, float(rng.uniform(-8, 8)), float(z), float(heading + rng.normal(0, 0.1))))
    for _ in range(int(rng.integers(0, 3))):
        x = float(rng.uniform(street.left_curb + 0.8, street.right_curb - 0.5))
        heading = float(rng.choice([0.0, np.pi, np.pi / 2]) + rng.normal(0, 0.25))
        items.append(plan_bicycle(view, x, float(rng.uniform(4.5, 18)), heading, ridden=True))
    if rng.random() < 0.4:
        z = street.crossing[0] - 2 if street.crossing else float(rng.uniform(6, 16))
        for _ in range(int(rng.integers(1, 4))):
            x = float(rng.uniform(street.left_curb, street.right_curb))
            items.append(plan_person(view, x, float(z + rng.uniform(-1, 1))))
    return items


def _in_crossing(street: Street, forward_m: float) -> bool:
    return street.crossing is not None and street.crossing[0] - 1 < forward_m < street.crossing[1] + 1


def _paint_shadows(view: View, items: list[Item]) -> None:
    """Darken the ground where something stands between it and the sun."""
    corners = [view.camera.project(item.shadow) for item in items if item.shadow is not None]
    if corners and view.weather.shadow < 1:
        mask = view.canvas.mask(corners)
        mask[: int(view.camera.horizon) + 1] = 0
        darker = cv2.convertScaleAbs(view.canvas.colour, alpha=view.weather.shadow)
        cv2.copyTo(darker, mask, view.canvas.colour)


def _paint_own_car(view: View) -> None:
    """Paint the bonnet of the camera's own car into some pictures; its pixels have no class."""
    height, width = view.canvas.segments.shape
    if view.chance(0.3):
        rise, lean = view.uniform((0.04, 0.12)) * height, view.uniform((-0.1, 0.1)) * width
        bonnet = disc((width / 2 + lean, height + 2), (width * 0.62, rise), 40)
        view.canvas.fill(bonnet, np.full(3, 46.0) + view.rng.normal(0, 12), IGNORE_INDEX, 1.0)
        shine = disc((width / 2 + lean, height + 4), (width * 0.4, rise * 0.7), 30)
        view.canvas.tint(shine[None], np.full(3, 78.0))


def _develop(view: View, size: Size) -> Scene:
    """Turn the finer raster into the picture a camera would take, and into the label maps."""
    canvas, weather, rng = view.canvas, view.weather, view.light_rng
    middle = slice(SUBPIXELS // 2, None, SUBPIXELS)
    segments, depth = canvas.segments[middle, middle], canvas.depth[middle, middle]
    classes, instances = _label_maps(segments, canvas.instance_classes)
    light = cv2.resize(canvas.colour, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    light *= _roughness(view, classes, depth, size)[..., None]
    light *= np.array(weather.light[int(rng.integers(len(weather.light)))], np.float32)
    light *= np.float32(rng.uniform(*weather.exposure))
    haze = np.array(weather.haze[int(rng.integers(len(weather.haze)))], np.float32)
    clear = np.exp(depth * np.float32(-rng.uniform(*weather.haze_per_m)))
    clear[classes == SKY] = 1.0 if weather.haze_per_m[1] < 0.01 else 0.15
    light = haze + (light - haze) * clear[..., None]
    if weather.lamps:
        bright = np.maximum(light - 200, 0) * (2.0 * weather.lamps)
        light += cv2.GaussianBlur(bright, (0, 0), max(1.0, size[0] / 48))
    rows, columns = (np.linspace(-1, 1, length, dtype=np.float32) for length in size)
    light *= 1 - np.float32(rng.uniform(0.05, 0.22)) * (rows[:, None, None] ** 2 + columns[None, :, None] ** 2) / 2
    light += rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(*weather.noise))
    image = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    if rng.random() < 0.12:  # a border without picture, as undistortion leaves it
        edge = max(1, size[0] // 64)
        for border in (np.s_[:edge], np.s_[-edge:], np.s_[:, :edge], np.s_[:, -edge:]):
            image[border], classes[border], instances[border] = 0, IGNORE_INDEX, 0
    return Scene(image, classes, instances)


def _label_maps(
    segments: NDArray[np.uint16], instance_classes: list[int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Turn segment numbers into classes and into instances numbered 1.. in the order of their first pixels."""
    class_of = np.arange(IGNORE_INDEX + 1 + len(instance_classes), dtype=np.uint16)
    class_of[IGNORE_INDEX + 1 :] = instance_classes
    number_of = np.zeros(len(class_of), np.uint16)
    seen, first = np.unique(segments, return_index=True)
    things = seen[np.argsort(first)]
    things = things[things > IGNORE_INDEX]
    number_of[things] = np.arange(1, len(things) + 1)
    return class_of[segments].astype(np.uint8), number_of[segments]


def _roughness(
    view: View, classes: NDArray[np.uint8], depth: NDArray[np.float32], size: Size
) -> NDArray[np.float32]:
    """Return (H, W) factors: grain of the materials, coarser where they are near."""
    rng, height, width = view.light_rng, *size
    grain = rng.standard_normal(size, np.float32)
    patches = cv2.resize(
        rng.standard_normal((height // 5, width // 5), np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    amplitude = np.zeros(256, np.float32)
    amplitude[list(_ROUGHNESS)] = list(_ROUGHNESS.values())
    near = 1 / (1 + depth * np.float32(0.02))
    return np.asarray(1 + amplitude[classes] * (0.8 * grain * near + 0.7 * patches), np.float32)
