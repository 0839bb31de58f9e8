"""A place and a heading -> cars and bicycles as solids in the street."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from vfmseg.data.scene_canvas import Colour, disc
from vfmseg.data.scene_figures import paint_person
from vfmseg.data.scene_style import BICYCLE, CAR, PERSON
from vfmseg.data.scene_view import Item, View, pick

_BODY, _GLASS, _BACK, _FRONT = range(4)

_PROFILES: Final = {
    "sedan": (
        (0.0, 0.3, _BACK), (0.0, 0.92, _BODY), (0.75, 0.98, _GLASS), (1.35, 1.43, _BODY), (2.6, 1.45, _GLASS),
        (3.35, 0.98, _BODY), (4.35, 0.8, _FRONT), (4.4, 0.3, _BODY),
    ),
    "hatch": (
        (0.0, 0.3, _BACK), (0.0, 0.95, _GLASS), (0.4, 1.46, _BODY), (2.3, 1.5, _GLASS), (3.0, 1.02, _BODY),
        (3.8, 0.84, _FRONT), (3.9, 0.3, _BODY),
    ),
    "van": (
        (0.0, 0.35, _BACK), (0.0, 1.05, _GLASS), (0.1, 1.95, _BODY), (3.5, 2.0, _GLASS), (4.2, 1.2, _BODY),
        (4.8, 1.0, _FRONT), (4.85, 0.35, _BODY),
    ),
}  # fmt: skip
"""Corners of the side view from the rear bumper on: metres forward, metres up, and what the surface from
this corner to the next is."""

_WIDTH_M: Final = 1.78
_WHEEL_M: Final = 0.33
_TYRE: Final = np.array((26.0, 26.0, 28.0))
_HUB: Final = np.array((120.0, 122.0, 126.0))
_HEADLIGHT: Final = np.array((228.0, 226.0, 206.0))
_PLATE: Final = np.array((224.0, 222.0, 196.0))
_PAINTS: Final = (
    (236, 236, 234), (28, 28, 32), (124, 126, 130), (176, 178, 182), (150, 24, 30), (36, 62, 122),
    (70, 74, 78), (40, 88, 70), (204, 188, 150), (196, 92, 36), (96, 134, 170),
)  # fmt: skip
_FRAMES: Final = ((40, 40, 44), (160, 40, 44), (60, 96, 140), (196, 196, 190), (70, 110, 74))

_BICYCLE_BARS: Final = (
    ((-0.52, 0.34), (-0.12, 0.34)), ((-0.12, 0.34), (0.38, 0.78)), ((-0.12, 0.34), (-0.28, 0.86)),
    ((-0.26, 0.78), (0.4, 0.84)), ((0.52, 0.34), (0.38, 0.98)), ((-0.52, 0.34), (-0.26, 0.78)),
)  # fmt: skip
_BAR_M: Final = 0.045


@dataclass(frozen=True)
class _Place:
    """Where a solid stands and which way it looks."""

    right_m: float
    forward_m: float
    sine: float
    cosine: float
    """Of the angle from "away from the camera" to the right."""

    def put(self, points: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
        """Turn metres forward, up and to the right of the solid into those of the street."""
        right, forward, sine, cosine = self.right_m, self.forward_m, self.sine, self.cosine
        return [
            (right + along * sine + across * cosine, up, forward + along * cosine - across * sine)
            for along, up, across in points
        ]

    def eye(self) -> tuple[float, float]:
        """Return where the camera is, in metres forward and to the right of the solid."""
        along = -self.right_m * self.sine - self.forward_m * self.cosine
        return along, -self.right_m * self.cosine + self.forward_m * self.sine


def _place(right_m: float, forward_m: float, heading: float) -> _Place:
    return _Place(right_m, forward_m, float(np.sin(heading)), float(np.cos(heading)))


def plan_car(view: View, right_m: float, forward_m: float, heading: float) -> Item:
    """Draw a car with its middle at a place."""
    kind = "van" if view.chance(view.town.boxy_cars) else pick(view.rng, ("sedan", "hatch"))
    place = _place(right_m, forward_m, heading)
    half_length, half_width = _PROFILES[kind][-1][0] / 2 + 0.1, _WIDTH_M / 2 + 0.1
    shadow = place.put(
        [(a * half_length, 0, b * half_width) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    )
    return Item(forward_m, partial(_paint_car, place=place, kind=kind, colour=view.colour(_PAINTS)), shadow)


def _paint_car(view: View, place: _Place, kind: str, colour: Colour) -> None:
    middle = _PROFILES[kind][-1][0] / 2
    profile = [(along - middle, up, surface) for along, up, surface in _PROFILES[kind]]
    canvas, segment, depth = view.canvas, view.canvas.new_instance(CAR), place.forward_m
    glass = np.array(view.town.windows, np.float64) * 0.62
    eye_along, eye_across = place.eye()
    eye_up, half = view.camera.height_m, _WIDTH_M / 2
    wheels = (profile[0][0] + 0.72, profile[-1][0] - 0.78)
    for along in wheels:  # the tyres of both sides, seen below the body
        for at in (-half + 0.12, half - 0.12):
            tyre = [(along, up, at + a) for up, a in ((0, -0.11), (0, 0.11), (0.5, 0.11), (0.5, -0.11))]
            canvas.fill(place.put(tyre), _TYRE, segment, depth)
    # the body is nearly convex: what faces the camera, painted from the far end to the near one, is right
    edges = list(zip(profile, (*profile[1:], profile[0]), strict=True))
    for (along, up, surface), (along_2, up_2, _) in sorted(
        edges, key=lambda edge: -abs(edge[0][0] + edge[1][0] - 2 * eye_along)
    ):
        run, rise = along_2 - along, up_2 - up
        if rise * (along - eye_along) - run * (up - eye_up) <= 0:
            continue
        face = place.put(
            [(along, up, -half), (along, up, half), (along_2, up_2, half), (along_2, up_2, -half)]
        )
        steepness = abs(rise) / float(np.hypot(run, rise))
        canvas.fill(face, glass if surface == _GLASS else colour * (1.12 - 0.3 * steepness), segment, depth)
        if surface in (_BACK, _FRONT):
            _paint_lamps(view, place, ((along, up), (along_2, up_2)), surface)
    if abs(eye_across) > half:
        across = half if eye_across > 0 else -half
        side = place.put([(along, up, across) for along, up, _ in profile])
        light = view.wall_light(-1 if place.right_m > 0 else 1)
        canvas.fill(side, colour * light, segment, depth)
        _paint_side_windows(view, place, profile, across, glass)
        rims = disc([(along, _WHEEL_M) for along in wheels], (_WHEEL_M, _WHEEL_M))
        for rim in rims:
            canvas.fill(place.put([(a, u, across * 1.01) for a, u in rim.tolist()]), _TYRE, segment, depth)
        hubs = disc([(along, _WHEEL_M) for along in wheels], (_WHEEL_M * 0.55, _WHEEL_M * 0.55), 10)
        canvas.tint([place.put([(a, u, across * 1.01) for a, u in hub.tolist()]) for hub in hubs], _HUB)


def _paint_side_windows(
    view: View, place: _Place, profile: Sequence[tuple[float, float, int]], across: float, glass: Colour
) -> None:
    roof = max(up for _, up, _ in profile)
    belt = 1.0 if roof < 1.8 else 1.2
    cabin = [along for along, up, _ in profile if up > belt - 0.06]
    left, right = min(cabin) + 0.22, max(cabin) - 0.2
    split = (left + right) / 2
    panes = (
        [(left - 0.1, belt), (split - 0.05, belt), (split - 0.05, roof - 0.12), (left + 0.12, roof - 0.12)],
        [(split + 0.05, belt), (right + 0.2, belt), (right - 0.12, roof - 0.12), (split + 0.05, roof - 0.12)],
    )
    view.canvas.tint([place.put([(a, u, across) for a, u in pane]) for pane in panes], glass)


def _paint_lamps(view: View, place: _Place, edge: Sequence[tuple[float, float]], surface: int) -> None:
    """Paint two lamps, a plate and a bumper onto the back or front, which is an edge of the side view."""
    (along_0, up_0), (along_1, up_1) = edge if surface == _BACK else edge[::-1]

    def on_face(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float, float]]:
        corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        return place.put(
            [
                (along_0 + (along_1 - along_0) * y, up_0 + (up_1 - up_0) * y, (x - 0.5) * _WIDTH_M)
                for x, y in corners
            ]
        )

    on = view.weather.lamps
    back = np.array((150 + 105 * on, 22 + 40 * on, 26 + 30 * on))
    lamps = [on_face(0.04, 0.55, 0.24, 0.85), on_face(0.76, 0.55, 0.96, 0.85)]
    view.canvas.tint(lamps, back if surface == _BACK else _HEADLIGHT + 27 * on)
    view.canvas.tint([on_face(0.36, 0.2, 0.64, 0.42)], _PLATE)
    view.canvas.tint([on_face(0.0, 0.0, 1.0, 0.14)], _TYRE * 1.6)


def plan_bicycle(view: View, right_m: float, forward_m: float, heading: float, *, ridden: bool) -> Item:
    """Draw a bicycle, parked or with a rider (who is a person of their own)."""
    place = _place(right_m, forward_m, heading)
    return Item(forward_m, partial(_paint_bicycle, place=place, ridden=ridden, colour=view.colour(_FRAMES)))


def _paint_bicycle(view: View, place: _Place, ridden: bool, colour: Colour) -> None:
    canvas, depth = view.canvas, place.forward_m
    if ridden:  # painted first: frame and wheels lie over the far leg
        rider = canvas.new_instance(PERSON)
        paint_person(view, place.right_m, depth, 1.72, rider, lift_m=0.3, seated=True)
    segment, radius, axle = canvas.new_instance(BICYCLE), 0.34, 0.52
    for centre in (-axle, axle):
        # the spokes are one grey disc; two discs 8 cm apart keep a wheel seen end on from vanishing
        for across, size, shade in ((-0.04, 1.0, _TYRE), (0.04, 1.0, _TYRE), (0.04, 0.78, _TYRE * 2.6)):
            rim = disc((centre, radius), (radius * size, radius * size), 12)
            canvas.fill(place.put([(a, u, across) for a, u in rim.tolist()]), shade, segment, depth)
    for (x0, y0), (x1, y1) in _BICYCLE_BARS:
        scale = _BAR_M / float(np.hypot(x1 - x0, y1 - y0))
        dx, dy = (y0 - y1) * scale, (x1 - x0) * scale
        bar = ((x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy))
        canvas.fill(place.put([(a, u, 0.05) for a, u in bar]), colour, segment, depth)
    handle = place.put([(0.36, 0.94, -0.28), (0.36, 0.94, 0.28), (0.36, 1.02, 0.28), (0.36, 1.02, -0.28)])
    canvas.fill(handle, _TYRE, segment, depth)
    saddle = place.put([(-0.4, 0.86, -0.07), (-0.16, 0.86, 0.07), (-0.16, 0.94, 0.07), (-0.4, 0.94, -0.07)])
    canvas.fill(saddle, _TYRE, segment, depth)
