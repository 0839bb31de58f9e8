"""A place at the curb -> lamp posts and traffic signs on their poles."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from vfmseg.data.scene_canvas import Colour, Points, box, disc, upright
from vfmseg.data.scene_style import POLE, RGB, SIGN
from vfmseg.data.scene_view import Item, View, pick

_METALS: Final = ((128, 132, 136), (86, 90, 92), (60, 66, 62), (158, 160, 158), (110, 84, 64))


def plan_lamp_post(view: View, right_m: float, forward_m: float, side: int) -> Item:
    """Draw a lamp post whose arm reaches over the road; side -1 stands left of it, +1 right."""
    height, arm = view.uniform((5.0, 8.0)), view.uniform((0.8, 2.0))
    paint = partial(
        _paint_lamp_post, right_m=right_m, forward_m=forward_m, height_m=height, arm_m=-side * arm, metal=view.colour(_METALS)
    )
    return Item(forward_m, paint)


def _paint_lamp_post(view: View, right_m: float, forward_m: float, height_m: float, arm_m: float, metal: Colour) -> None:
    half = 0.11
    _pole(view, right_m, forward_m, height_m, half, metal)
    low, high = sorted((0.0, arm_m))
    view.fill(upright(box(low, height_m - 0.12, high, height_m), right_m, forward_m), metal, POLE)
    head = box(arm_m - 0.35, height_m - 0.22, arm_m + 0.35, height_m - 0.02)
    shine = np.array((255.0, 226.0, 168.0)) if view.weather.lamps else metal * 0.8
    view.fill(upright(head, right_m, forward_m), shine, POLE)


def plan_sign(view: View, right_m: float, forward_m: float) -> Item:
    """Draw a pole with one or two traffic signs."""
    height = view.uniform((2.2, 3.0))
    size = view.uniform((0.36, 0.48))
    first, second = pick(view.rng, view.town.signs), pick(view.rng, view.town.signs)
    signs = [first, second] if view.chance(0.3) else [first]

    def paint(view: View) -> None:
        _pole(view, right_m, forward_m, height, 0.06, view.colour(_METALS))
        at = height
        for shape, face, rim in signs:
            at -= size if shape != "board" else size * 0.8
            _paint_sign(view, shape, face, rim, (right_m, at, forward_m), size)
            at -= size + 0.06

    return Item(forward_m, paint)


def _pole(view: View, right_m: float, forward_m: float, height_m: float, half_m: float, metal: Colour) -> None:
    view.fill(upright(box(-half_m, 0, half_m, height_m), right_m, forward_m), metal * view.wall_light(0), POLE)
    bright_side = box(0, 0, half_m, height_m) if view.sun_side > 0 else box(-half_m, 0, 0, height_m)
    view.tint(upright(bright_side, right_m, forward_m)[None], np.minimum(metal * 1.15, 255))


def _paint_sign(view: View, shape: str, face: RGB, rim: RGB, at: tuple[float, float, float], size: float) -> None:
    right_m, up_m, forward_m = at
    light = 0.5 + 0.5 * view.wall_light(0)
    outline = _sign_outline(shape) * size + (0, up_m)
    inner = _sign_outline(shape) * size * 0.76 + (0, up_m)
    # the face looks at the camera whatever it shows: no glyphs, a bar or a dot instead
    view.fill(upright(outline, right_m, forward_m), np.array(rim, np.float64) * light, SIGN)
    view.tint(upright(inner, right_m, forward_m)[None], np.array(face, np.float64) * light)
    glyph = float(view.rng.random())
    ink = np.array(rim if shape == "board" or face[2] > face[0] else (34, 34, 36), np.float64) * light
    if glyph < 0.5:
        mark = box(-0.1, -0.42, 0.1, 0.36) if glyph < 0.25 else box(-0.45, -0.1, 0.45, 0.12)
    else:
        mark = disc((0, -0.05), (0.24, 0.24), 8)
    view.tint(upright(mark * size * 0.9 + (0, up_m), right_m, forward_m)[None], ink)


def _sign_outline(shape: str) -> Points:
    """Return the outline of a sign of half-height 1."""
    if shape == "circle":
        return disc((0, 0), (1, 1), 16)
    if shape == "octagon":
        angles = (np.arange(8) + 0.5) * np.pi / 4
        return np.stack([np.cos(angles), np.sin(angles)], 1) * 1.06
    if shape == "triangle":
        return np.array([(-1.05, -0.85), (1.05, -0.85), (0.0, 1.0)])
    if shape == "diamond":
        return np.array([(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)], np.float64)
    return box(-1.9, -0.7, 1.9, 0.7) if shape == "board" else box(-0.9, -0.9, 0.9, 0.9)
