"""A place at the curb -> lamp posts and traffic signs on their poles."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from vfmseg.data.scene_canvas import Colour, Floats, box, disc, upright
from vfmseg.data.scene_style import POLE, RGB, SIGN
from vfmseg.data.scene_view import Item, View, pick

_METALS: Final = ((128, 132, 136), (86, 90, 92), (60, 66, 62), (158, 160, 158), (110, 84, 64))
_LAMP_LIGHT: Final = np.array((255.0, 226.0, 168.0))
_POST_HALF_M, _SIGN_POLE_HALF_M = 0.13, 0.07
_DARK: Final = np.array((34.0, 34.0, 36.0))
_EIGHTHS: Final = (np.arange(8) + 0.5) * np.pi / 4
_OUTLINES: Final[dict[str, Floats]] = {
    "circle": disc((0, 0), (1, 1), 16),
    "octagon": np.stack([np.cos(_EIGHTHS), np.sin(_EIGHTHS)], 1) * 1.06,
    "triangle": np.array([(-1.05, -0.85), (1.05, -0.85), (0.0, 1.0)]),
    "diamond": np.array([(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)]),
    "square": box(-0.9, -0.9, 0.9, 0.9),
    "board": box(-1.9, -0.7, 1.9, 0.7),
}
"""Shape -> outline of a sign of half-height 1."""
_GLYPHS: Final = (
    box(-0.1, -0.42, 0.1, 0.36), box(-0.45, -0.1, 0.45, 0.12), disc((0, -0.05), (0.24, 0.24), 8),
)  # fmt: skip


def plan_lamp_post(view: View, right_m: float, forward_m: float, side: int) -> Item:
    """Draw a lamp post whose arm reaches over the road; side -1 stands left of the road, +1 right."""
    height, arm = view.uniform(5.0, 8.0), -side * view.uniform(0.8, 2.0)
    metal = view.colour(_METALS)

    def paint(view: View) -> None:
        _paint_pole(view, right_m, forward_m, height, _POST_HALF_M, metal)
        low, high = sorted((0.0, arm))
        beam = upright(box(low, height - 0.12, high, height), right_m, forward_m)
        view.canvas.fill(beam, metal, POLE, forward_m)
        head = upright(box(arm - 0.35, height - 0.22, arm + 0.35, height - 0.02), right_m, forward_m)
        view.canvas.fill(head, _LAMP_LIGHT if view.weather.lamps else metal * 0.8, POLE, forward_m)

    return Item(forward_m, paint)


def plan_sign(view: View, right_m: float, forward_m: float) -> Item:
    """Draw a pole with one or two traffic signs."""
    height, size, metal = view.uniform(2.2, 3.0), view.uniform(0.42, 0.6), view.colour(_METALS)
    first, second = pick(view.rng, view.town.signs), pick(view.rng, view.town.signs)
    signs = [first, second] if view.chance(0.3) else [first]

    def paint(view: View) -> None:
        _paint_pole(view, right_m, forward_m, height, _SIGN_POLE_HALF_M, metal)
        at = height
        for shape, face, rim in signs:
            at -= size
            place = partial(_place_on_sign, at=(right_m, at, forward_m), size=size)
            _paint_sign(
                view, shape, face, rim, place(_OUTLINES[shape]), place(_OUTLINES[shape] * 0.76), forward_m
            )
            glyph = place(pick(view.rng, _GLYPHS))
            ink = np.array(rim, np.float64) if shape == "board" or face[2] > face[0] else _DARK
            view.canvas.tint([glyph], ink * _sign_light(view))
            at -= size + 0.06

    return Item(forward_m, paint)


def _paint_pole(
    view: View, right_m: float, forward_m: float, height_m: float, half_m: float, metal: Colour
) -> None:
    pole = upright(box(-half_m, 0, half_m, height_m), right_m, forward_m)
    view.canvas.fill(pole, metal * view.wall_light(0), POLE, forward_m)
    bright_side = box(0, 0, half_m, height_m) if view.sun_side > 0 else box(-half_m, 0, 0, height_m)
    view.canvas.tint(upright(bright_side, right_m, forward_m)[None], metal * 1.15)


def _place_on_sign(flat: Floats, at: tuple[float, float, float], size: float) -> Floats:
    return upright(flat * size + (0, at[1]), at[0], at[2])


def _sign_light(view: View) -> float:
    return 0.5 + 0.5 * view.wall_light(0)


def _paint_sign(
    view: View, shape: str, face: RGB, rim: RGB, outline: Floats, inner: Floats, forward_m: float
) -> None:
    light = _sign_light(view)
    view.canvas.fill(outline, np.array(rim, np.float64) * light, SIGN, forward_m)
    view.canvas.tint([inner], np.array(face, np.float64) * light)
