"""A place -> a person, or a tree: the living shapes of a scene."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from vfmseg.data.scene_canvas import Colour, disc, upright
from vfmseg.data.scene_style import PERSON, VEGETATION
from vfmseg.data.scene_view import Item, View

_SKIN: Final = ((224, 182, 152), (196, 146, 112), (140, 96, 70), (92, 62, 48), (236, 200, 176))
_HAIR: Final = ((40, 32, 28), (92, 66, 44), (176, 146, 96), (128, 124, 120), (24, 22, 24))
_CLOTHES: Final = (
    (38, 44, 62), (150, 36, 40), (196, 190, 180), (60, 84, 122), (84, 92, 74), (206, 160, 60), (28, 28, 30),
    (110, 70, 100), (96, 96, 100), (224, 224, 226), (150, 108, 76), (54, 120, 116),
)  # fmt: skip
_TRUNKS: Final = ((84, 66, 52), (104, 90, 76), (66, 56, 50))


def plan_person(view: View, right_m: float, forward_m: float) -> Item:
    """Draw somebody who walks or stands."""
    height = view.uniform((1.55, 1.92)) if view.chance(0.85) else view.uniform((1.0, 1.4))

    def paint(view: View) -> None:
        paint_person(view, right_m, forward_m, height, view.canvas.new_instance(PERSON))

    shadow = np.array([(right_m - 0.2, 0, forward_m), (right_m + 0.2, 0, forward_m),
                       (right_m + 0.2 - view.sun_side * 0.9, 0, forward_m + 0.5),
                       (right_m - 0.2 - view.sun_side * 0.9, 0, forward_m + 0.5)])  # fmt: skip
    return Item(forward_m, paint, shadow)


def paint_person(
    view: View, right_m: float, forward_m: float, height_m: float, segment: int, lift_m: float = 0.0, *, seated: bool = False
) -> None:
    """Paint a person who faces or turns from the camera.

    Args:
        view: the scene.
        right_m: of the middle.
        forward_m: distance.
        height_m: when standing.
        segment: number of the instance.
        lift_m: of the feet above the ground.
        seated: on a saddle, knees apart, instead of striding.
    """
    rng = view.rng
    coat, trousers = view.colour(_CLOTHES), view.colour(_CLOTHES)
    skin, hair = view.colour(_SKIN), view.colour(_HAIR)
    stride = 0.05 if seated else float(rng.uniform(0.02, 0.14))
    broad = float(rng.uniform(0.95, 1.25))
    light = view.wall_light(0)
    hip, shoulder = 0.5, 0.83

    def paint(flat: list[tuple[float, float]], colour: Colour) -> None:
        corners = np.array(flat) * (height_m * broad, height_m) + (0, lift_m)
        view.fill(upright(corners, right_m, forward_m), np.minimum(colour * light, 255), segment)

    for sign in (-1, 1):
        foot = sign * stride
        knee = sign * (0.085 if seated else 0.045 + stride / 2)
        paint([(sign * 0.005, hip), (sign * 0.1, hip), (knee + 0.04, 0.27), (foot + 0.035, 0.02), (foot + 0.04, 0.0),
               (foot - 0.04, 0.0), (foot - 0.03, 0.04), (knee - 0.04, 0.27)], trousers * (0.9 + 0.1 * sign))  # fmt: skip
    if rng.random() < 0.3:  # a long coat or a skirt
        paint([(-0.1, hip + 0.08), (0.1, hip + 0.08), (0.13, 0.3), (-0.13, 0.3)], coat * 0.9)
    swing = float(rng.uniform(0.02, 0.08))
    for sign in (-1, 1):
        paint([(sign * 0.1, shoulder - 0.01), (sign * 0.15, shoulder - 0.05), (sign * (0.15 + swing), 0.5),
               (sign * (0.11 + swing), 0.48)], coat * (0.88 + 0.06 * sign))  # fmt: skip
    paint([(-0.1, hip - 0.03), (0.1, hip - 0.03), (0.125, shoulder - 0.03), (0.07, shoulder + 0.02),
           (-0.07, shoulder + 0.02), (-0.125, shoulder - 0.03)], coat)  # fmt: skip
    if rng.random() < 0.35:  # a bag
        bag = view.colour(_CLOTHES)
        side = 0.13 if rng.random() < 0.5 else -0.13
        paint([(side - 0.05, 0.62), (side + 0.05, 0.62), (side + 0.055, 0.45), (side - 0.055, 0.45)], bag)
    faces_us = rng.random() < 0.5
    head, crown = disc((0, 0.93), (0.052, 0.068), 10), disc((0, 0.955), (0.055, 0.05), 10)
    paint([tuple(corner) for corner in head.tolist()], skin if faces_us else hair)
    if faces_us:
        paint([(x, max(y, 0.95)) for x, y in crown.tolist()], hair)


def plan_tree(view: View, right_m: float, forward_m: float) -> Item:
    """Draw a tree: a trunk with a crown of leaves, or a conifer."""
    is_conifer = view.chance(view.town.conifers)
    height = view.uniform((4.5, 9.0))
    radius = height * view.uniform((0.14, 0.2) if is_conifer else (0.24, 0.36))
    shift = -view.sun_side * radius
    shadow = disc((right_m + shift, forward_m), (radius * 1.2, radius * 0.9), 10)
    on_ground = np.stack([shadow[:, 0], np.zeros(len(shadow)), np.maximum(shadow[:, 1], 0.5)], 1)
    paint = _paint_conifer if is_conifer else _paint_tree
    leaves = view.colour(view.town.leaves, 12)
    return Item(
        forward_m,
        partial(paint, right_m=right_m, forward_m=forward_m, height_m=height, radius_m=radius, leaves=leaves),
        on_ground,
    )


def _paint_tree(view: View, right_m: float, forward_m: float, height_m: float, radius_m: float, leaves: Colour) -> None:
    rng = view.rng
    trunk, half = view.colour(_TRUNKS), float(rng.uniform(0.1, 0.22))
    crown_low = height_m * float(rng.uniform(0.28, 0.42))
    stem = [(-half * 1.3, 0), (half * 1.3, 0), (half, crown_low + radius_m), (-half, crown_low + radius_m)]
    view.fill(upright(stem, right_m, forward_m), trunk * view.wall_light(0), VEGETATION)
    middle = (crown_low + height_m) / 2
    spread = np.array((radius_m, (height_m - crown_low) / 2))
    _paint_leaves(view, np.array((0.0, middle)), spread, right_m, forward_m, leaves)


def _paint_leaves(view: View, middle: Colour, spread: Colour, right_m: float, forward_m: float, leaves: Colour) -> None:
    """Paint a cloud of leaves: dark clumps that make the outline, lighter ones towards the sun."""
    rng = view.rng
    angles = rng.uniform(0, 2 * np.pi, 12)
    reach = rng.uniform(0.35, 0.72, 12)[:, None]
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * reach * spread + middle
    sizes = spread.min() * rng.uniform(0.3, 0.48, 12)[:, None] * np.ones(2)
    core = disc(middle, spread * 0.72, 12)
    view.fill(upright(core, right_m, forward_m), leaves * 0.62, VEGETATION)
    for clump in disc(outline, sizes, 9):
        view.fill(upright(clump, right_m, forward_m), leaves * 0.66, VEGETATION)
    towards_sun = np.array((view.sun_side * 0.22, 0.26)) * spread
    for light, number, size in ((0.82, 16, 0.2), (1.02, 14, 0.15), (1.22, 9, 0.1)):
        at = rng.normal(0, 0.34, (number, 2)) * spread + middle + towards_sun * (light - 0.6)
        blobs = disc(at, spread.min() * size * rng.uniform(0.7, 1.3, (number, 1)) * np.ones(2), 7)
        inside = ((at - middle) / spread) ** 2
        for blob in blobs[inside.sum(1) < 0.6]:
            view.tint(upright(blob, right_m, forward_m)[None], np.minimum(leaves * light, 255))


def _paint_conifer(view: View, right_m: float, forward_m: float, height_m: float, radius_m: float, leaves: Colour) -> None:
    trunk = view.colour(_TRUNKS)
    stem = [(-0.15, 0), (0.15, 0), (0.15, 1.5), (-0.15, 1.5)]
    view.fill(upright(stem, right_m, forward_m), trunk, VEGETATION)
    tiers = 5
    for tier in range(tiers):
        low = 0.9 + (height_m - 0.9) * tier / tiers
        high = min(low + (height_m - 0.9) * 0.42, height_m)
        half = radius_m * (1 - tier / tiers) * float(view.rng.uniform(0.85, 1.15))
        cone = np.array([(-half, low), (half, low), (0, high)])
        view.fill(upright(cone, right_m, forward_m), leaves * 0.72, VEGETATION)
        lit = cone * 1.0
        lit[0 if view.sun_side > 0 else 1, 0] = 0.0
        view.tint(upright(lit, right_m, forward_m)[None], leaves * 0.95)


def plan_hedge(view: View, right_m: float, forward_m: float, length_m: float) -> Item:
    """Draw a hedge along the street."""
    height, leaves = view.uniform((0.6, 1.7)), view.colour(view.town.leaves, 12)

    def paint(view: View) -> None:
        steps = np.linspace(forward_m + length_m, forward_m, max(2, int(length_m / 1.2)))
        for at in steps:
            middle, spread = np.array((0.0, height * 0.45)), np.array((0.55, height * 0.62))
            bush = disc(middle, spread, 9)
            bush[:, 1] = np.maximum(bush[:, 1], 0)
            view.fill(upright(bush, right_m, at), leaves * float(view.rng.uniform(0.62, 0.85)), VEGETATION)
            spots = view.rng.normal(0, 0.3, (4, 2)) * spread + middle + (0, height * 0.15)
            for spot in disc(spots, np.full((4, 2), 0.12), 6):
                view.tint(upright(spot, right_m, at)[None], leaves * 1.05)

    return Item(forward_m, paint)
