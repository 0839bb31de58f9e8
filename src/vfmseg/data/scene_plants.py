"""A place -> trees and hedges."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from vfmseg.data.scene_canvas import Colour, Floats, box, disc, upright
from vfmseg.data.scene_style import VEGETATION
from vfmseg.data.scene_view import Item, View

_TRUNKS: Final = ((84, 66, 52), (104, 90, 76), (66, 56, 50))
_OUTLINE_CORNERS: Final = 40
_CLUMPS: Final = ((0.82, 20, 0.2), (1.02, 16, 0.15), (1.22, 10, 0.1))
"""Brightness, number and size of the clumps of leaves inside a crown, the lighter the fewer."""
_DETAILED_TO_M: Final = 20.0
_TIERS: Final = 5


def plan_tree(view: View, right_m: float, forward_m: float) -> Item:
    """Draw a tree: a trunk with a crown of leaves, or a conifer."""
    is_conifer = view.chance(view.town.conifers)
    height = view.uniform(4.5, 9.0)
    radius = height * (view.uniform(0.14, 0.2) if is_conifer else view.uniform(0.24, 0.36))
    leaves = view.colour(view.town.leaves, 12)
    paint = partial(
        _paint_conifer if is_conifer else _paint_tree,
        right_m=right_m,
        forward_m=forward_m,
        height_m=height,
        radius_m=radius,
        leaves=leaves,
    )
    shade = disc((right_m - view.sun_side * radius, forward_m), (radius * 1.2, radius * 0.9), 10)
    return Item(forward_m, paint, [(x, 0.0, max(z, 0.5)) for x, z in shade.tolist()])


def _paint_tree(
    view: View, right_m: float, forward_m: float, height_m: float, radius_m: float, leaves: Colour
) -> None:
    trunk, half = view.colour(_TRUNKS) * view.wall_light(0), view.uniform(0.1, 0.22)
    crown_low = height_m * view.uniform(0.28, 0.42)
    high = crown_low + radius_m
    stem = upright([(-half * 1.3, 0), (half * 1.3, 0), (half, high), (-half, high)], right_m, forward_m)
    view.canvas.fill(stem, trunk, VEGETATION, forward_m)
    middle = np.array((0.0, (crown_low + height_m) / 2))
    spread = np.array((radius_m, (height_m - crown_low) / 2))
    outline = upright(middle + _ragged_outline(view) * spread, right_m, forward_m)
    view.canvas.fill(outline, leaves * 0.64, VEGETATION, forward_m)
    towards_sun = np.array((view.sun_side * 0.22, 0.26))
    for light, most, size in _CLUMPS:
        number = most if forward_m < _DETAILED_TO_M else most // 2
        at = view.rng.normal(0, 0.34, (number, 2)) + towards_sun * (light - 0.6)
        sizes = spread.min() * size * view.rng.uniform(0.7, 1.3, (number, 1)) * np.ones(2)
        inside = (at**2).sum(1) < 0.55
        blobs = disc(at[inside] * spread + middle, sizes[inside], 7)
        view.canvas.tint(upright(blobs, right_m, forward_m), leaves * light)


def _ragged_outline(view: View) -> Floats:
    """Return the outline of a crown in the unit circle, (n, 2): lobes with leaves at their edge."""
    angles = np.arange(_OUTLINE_CORNERS) * (2 * np.pi / _OUTLINE_CORNERS)
    phases = view.rng.uniform(0, 2 * np.pi, 3)
    lobes = np.abs(np.sin(angles * 1.5 + phases[0])) * 0.16 + np.abs(np.sin(angles * 3.5 + phases[1])) * 0.12
    reach = 0.74 + lobes + view.rng.uniform(-0.06, 0.06, _OUTLINE_CORNERS)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]


def _paint_conifer(
    view: View, right_m: float, forward_m: float, height_m: float, radius_m: float, leaves: Colour
) -> None:
    stem = upright(box(-0.15, 0, 0.15, 1.5), right_m, forward_m)
    view.canvas.fill(stem, view.colour(_TRUNKS), VEGETATION, forward_m)
    step = (height_m - 0.9) / _TIERS
    for tier in range(_TIERS):
        low = 0.9 + step * tier
        high = min(low + 2.1 * step, height_m)
        half = radius_m * (1 - tier / _TIERS) * view.uniform(0.85, 1.15)
        lit = half if view.sun_side > 0 else -half
        cone = upright([(-half, low), (half, low), (0, high)], right_m, forward_m)
        view.canvas.fill(cone, leaves * 0.72, VEGETATION, forward_m)
        view.canvas.tint(upright([(0, low), (lit, low), (0, high)], right_m, forward_m)[None], leaves * 0.95)


def plan_hedge(view: View, right_m: float, forward_m: float, length_m: float) -> Item:
    """Draw a hedge along the street."""
    height, leaves = view.uniform(0.6, 1.7), view.colour(view.town.leaves, 12)

    def paint(view: View) -> None:
        middle, spread = np.array((0.0, height * 0.45)), np.array((0.55, height * 0.62))
        for at in np.linspace(forward_m + length_m, forward_m, max(2, int(length_m / 1.2))).tolist():
            bush = disc(middle, spread, 9)
            bush[:, 1] = np.maximum(bush[:, 1], 0)
            shade = leaves * view.uniform(0.62, 0.85)
            view.canvas.fill(upright(bush, right_m, at), shade, VEGETATION, at)
            spots = view.rng.normal(0, 0.3, (4, 2)) * spread + middle + (0, height * 0.15)
            view.canvas.tint(upright(disc(spots, (0.12, 0.12), 6), right_m, at), leaves * 1.05)

    return Item(forward_m, paint)
