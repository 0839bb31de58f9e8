"""A seed, a domain and a size -> a street scene made by code: picture, classes and instances.

The scenes stand in for photographs where there are none: tests, the demo, a first look at domain shift.
They have things and stuff, perspective, occlusion, shadows, wear and sensor noise; colours of different
classes overlap, so that neither a mean colour nor the place in the picture gives the class away. The domains
``day``, ``dusk`` and ``fog`` show one kind of town in different light (the same streets for the same seed);
``new-style`` shows another town, through another camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vfmseg.data.scene_buildings import plan_buildings
from vfmseg.data.scene_canvas import SUBPIXELS, Camera, Canvas, Rasters, disc, draw_mask
from vfmseg.data.scene_ground import (
    END_M,
    draw_street,
    paint_backdrop,
    paint_ground,
    paint_sky,
    smooth_noise,
)
from vfmseg.data.scene_layout import plan_sidewalks, plan_traffic
from vfmseg.data.scene_style import DOMAINS, ROUGHNESS, SCENES, SKY
from vfmseg.data.scene_view import Item, View, pick
from vfmseg.errors import DataError, nearest
from vfmseg.types import IGNORE_INDEX, Size

__all__ = ["DOMAINS", "FEWEST_PIXELS", "MIN_SIDE", "SCENES", "Scene", "render_scene"]

MIN_SIDE: Final = 64
"""Pixels; below, poles and people would be thinner than a pixel."""

FEWEST_PIXELS: Final = 24
"""Visible pixels of a thing that has a number of its own."""

_FRAMED: Final = 0.12
"""Share of pictures with a border without content, as undistortion leaves it."""

_ROUGHNESS: Final = np.zeros(256, np.float32)
_ROUGHNESS[: len(ROUGHNESS)] = ROUGHNESS


@dataclass(frozen=True)
class Scene:
    """One generated scene."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    class_map: NDArray[np.uint8]
    """(H, W) uint8 ids of ``SCENES``; ``IGNORE_INDEX`` on the camera's own car and on frame borders."""
    instance_map: NDArray[np.uint16]
    """(H, W) uint16: 1.. per scene; 0 on stuff, and on things of fewer than ``FEWEST_PIXELS``, which are a group that
    nobody could tell apart, as annotators leave it."""


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
    height, width = size[0] * SUBPIXELS, size[1] * SUBPIXELS
    rng = np.random.Generator(np.random.PCG64([seed, 0]))
    camera = Camera(
        focal=float(rng.uniform(*town.focal) * np.sqrt(height * width)),
        centre=width * float(rng.uniform(0.36, 0.64)),
        horizon=height * float(rng.uniform(*town.horizon)),
        height_m=float(rng.uniform(*town.camera_height_m)),
        bend=float(rng.uniform(-0.0022, 0.0022)),
    )
    light_rng = np.random.Generator(np.random.PCG64([seed, 1]))
    view = View(Canvas(), camera, town, weather, rng, light_rng, sun_side=1 if rng.random() < 0.5 else -1)
    street = draw_street(view)
    items = [*plan_buildings(view, street, -1), *plan_buildings(view, street, 1)]
    items += [*plan_sidewalks(view, street), *plan_traffic(view, street)]
    sky = paint_sky(view, size)
    paint_backdrop(view, width)
    paint_ground(view, street)
    last_of_ground = view.canvas.num_pieces
    for item in sorted(items, key=lambda item: -item.depth_m):
        item.paint(view)
    _paint_own_car(view, (height, width))
    rasters = view.canvas.draw(camera, sky, SKY)
    _darken_shadows(view, rasters, items, last_of_ground)
    return _develop(view, rasters, size)


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


def _paint_own_car(view: View, size: Size) -> None:
    """Paint the bonnet of the camera's own car into some pictures; its pixels have no class."""
    height, width = size
    if view.chance(0.3):
        rise, middle = view.uniform(0.04, 0.12) * height, width * view.uniform(0.4, 0.6)
        colour = np.full(3, view.uniform(30, 64))
        bonnet = disc((middle, height + 2), (width * 0.62, rise), 40)
        view.canvas.fill(view.camera.unproject(bonnet, 1.0), colour, IGNORE_INDEX, 1.0)
        shine = disc((middle, height + 4), (width * 0.4, rise * 0.7), 30)
        view.canvas.tint([view.camera.unproject(shine, 1.0)], colour * 1.6)


def _darken_shadows(view: View, rasters: Rasters, items: Sequence[Item], last_of_ground: int) -> None:
    """Darken the ground where something stands between it and the sun."""
    shadows = [item.shadow for item in items if item.shadow is not None]
    if shadows and view.weather.shadow < 1:
        mask = draw_mask(view.camera, shadows, rasters.outlines.shape)
        mask &= (rasters.outlines <= last_of_ground).view(np.uint8)
        cv2.copyTo(cv2.convertScaleAbs(rasters.colour, alpha=view.weather.shadow), mask, rasters.colour)


def _develop(view: View, rasters: Rasters, size: Size) -> Scene:
    """Turn the finer rasters into the picture a camera would take, and into the label maps."""
    weather, rng, camera = view.weather, view.light_rng, view.camera
    class_of = np.arange(IGNORE_INDEX + 1 + len(view.canvas.instance_classes), dtype=np.uint16)
    class_of[IGNORE_INDEX + 1 :] = view.canvas.instance_classes
    classes = class_of[rasters.segments].astype(np.uint8)
    rows_below = np.maximum(np.arange(size[0]) * SUBPIXELS + SUBPIXELS // 2 - camera.horizon, 1e-3)
    ground_depth = np.minimum(camera.focal * camera.height_m / rows_below, END_M).astype(np.float32)[:, None]
    depth = np.where(rasters.depth == 0, ground_depth, rasters.depth)
    light = cv2.resize(rasters.colour, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    # what is as bright as only lamps are drawn shines by itself, however dark the rest is exposed
    shining = np.clip((light.max(axis=2, keepdims=True) - 238) / 17, 0, 1) * light * np.float32(weather.lamps)
    exposure = np.array(pick(rng, weather.light), np.float32) * np.float32(rng.uniform(*weather.exposure))
    light *= _roughness(view, classes, depth)[..., None] * exposure
    haze = np.array(pick(rng, weather.haze), np.float32)
    clear = np.exp(depth * np.float32(-rng.uniform(*weather.haze_per_m)))
    clear[classes == SKY] = weather.sky_clearness
    light = haze + (light - haze) * clear[..., None]
    if weather.lamps:
        bloom = cv2.GaussianBlur(shining, (0, 0), max(1.0, size[0] / 40))
        light += 0.35 * shining + 0.7 * bloom
    rows, columns = (np.linspace(-1, 1, length, dtype=np.float32) for length in size)
    from_centre = rows[:, None] ** 2 + columns[None, :] ** 2
    light *= (1 - np.float32(rng.uniform(0.02, 0.11)) * from_centre)[..., None]
    light += rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(*weather.noise))
    image = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    if view.chance(_FRAMED):
        edge = max(1, size[0] // 64)
        for border in (np.s_[:edge], np.s_[-edge:], np.s_[:, :edge], np.s_[:, -edge:]):
            image[border], classes[border], rasters.segments[border] = 0, IGNORE_INDEX, IGNORE_INDEX
    return Scene(image, classes, _number_things(rasters.segments))


def _number_things(segments: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the instances, numbered in the order of their first pixels."""
    seen, first, place, counts = np.unique(
        segments, return_index=True, return_inverse=True, return_counts=True
    )
    told_apart = np.flatnonzero((seen > IGNORE_INDEX) & (counts >= FEWEST_PIXELS))
    numbers = np.zeros(len(seen), np.uint16)
    numbers[told_apart[np.argsort(first[told_apart])]] = np.arange(1, len(told_apart) + 1)
    return numbers[place].reshape(segments.shape)


def _roughness(view: View, classes: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (H, W) factors: patches of all materials, and their grain where they are near."""
    height, width = classes.shape
    grain = view.light_rng.standard_normal(classes.shape, np.float32) / (1 + depth * np.float32(0.02))
    patches = smooth_noise(view.light_rng, (height, width), (width // 5, height // 5))
    return np.asarray(1 + _ROUGHNESS[classes] * (0.8 * grain + 0.7 * patches), np.float32)
