"""A place and a heading -> cars and bicycles as solids in the street."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from vfmseg.data.scene_canvas import Colour, Points, disc
from vfmseg.data.scene_figures import paint_person
from vfmseg.data.scene_style import BICYCLE, CAR, PERSON
from vfmseg.data.scene_view import Item, View, pick

BODY, GLASS, LAMP_BACK, LAMP_FRONT = "body", "glass", "back", "front"

_PROFILES: Final = {
    "sedan": (
        (0.0, 0.3, LAMP_BACK), (0.0, 0.92, BODY), (0.75, 0.98, GLASS), (1.35, 1.43, BODY), (2.6, 1.45, GLASS),
        (3.35, 0.98, BODY), (4.35, 0.8, LAMP_FRONT), (4.4, 0.3, BODY),
    ),
    "hatch": (
        (0.0, 0.3, LAMP_BACK), (0.0, 0.95, GLASS), (0.4, 1.46, BODY), (2.3, 1.5, GLASS), (3.0, 1.02, BODY),
        (3.8, 0.84, LAMP_FRONT), (3.9, 0.3, BODY),
    ),
    "van": (
        (0.0, 0.35, LAMP_BACK), (0.0, 1.05, GLASS), (0.1, 1.95, BODY), (3.5, 2.0, GLASS), (4.2, 1.2, BODY),
        (4.8, 1.0, LAMP_FRONT), (4.85, 0.35, BODY),
    ),
}  # fmt: skip
"""Corners of the side view from the rear bumper on, (metres forward, metres up, what the surface from
this corner to the next is)."""

_WIDTH_M: Final = 1.78
_TYRE: Final = np.array((26.0, 26.0, 28.0))
_PAINTS: Final = (
    (236, 236, 234), (28, 28, 32), (124, 126, 130), (176, 178, 182), (150, 24, 30), (36, 62, 122),
    (70, 74, 78), (40, 88, 70), (204, 188, 150), (196, 92, 36), (96, 134, 170),
)  # fmt: skip
_FRAMES: Final = ((40, 40, 44), (160, 40, 44), (60, 96, 140), (196, 196, 190), (70, 110, 74))


@dataclass(frozen=True)
class _Place:
    """Where a solid stands and which way it looks; turns (forward, up, left-right) into the street's metres."""

    right_m: float
    forward_m: float
    heading: float
    """Angle from "away from the camera" to the right."""

    def put(self, along: Points, up: Points, across: Points) -> Points:
        """Return (..., 3) metres in the street."""
        sine, cosine = float(np.sin(self.heading)), float(np.cos(self.heading))
        right = self.right_m + along * sine + across * cosine
        forward = self.forward_m + along * cosine - across * sine
        return np.stack(np.broadcast_arrays(right, up, forward), -1)


def plan_car(view: View, right_m: float, forward_m: float, heading: float) -> Item:
    """Draw a car with its middle at a place."""
    kind = "van" if view.chance(view.town.boxy_cars) else pick(view.rng, ("sedan", "hatch"))
    place = _Place(right_m, forward_m, heading)
    length = _PROFILES[kind][-1][0]
    half_width, half_length = _WIDTH_M / 2 + 0.1, length / 2 + 0.1
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half_length, half_width)
    shadow = place.put(corners[:, 0], np.zeros(4), corners[:, 1])
    colour = view.colour(_PAINTS)
    return Item(forward_m, partial(_paint_car, place=place, kind=kind, colour=colour), shadow)


def _paint_car(view: View, place: _Place, kind: str, colour: Colour) -> None:
    profile = _PROFILES[kind]
    middle = profile[-1][0] / 2
    segment = view.canvas.new_instance(CAR)
    along = np.array([corner[0] - middle for corner in profile])
    up = np.array([corner[1] for corner in profile])
    across = np.array((-_WIDTH_M / 2, _WIDTH_M / 2))
    eye = np.array((0.0, view.camera.height_m, 0.0))
    dark = np.array(view.town.windows, np.float64) * 0.62
    faces: list[tuple[float, Points, Colour, str]] = []
    for start, (_, _, surface) in enumerate(profile):
        end = (start + 1) % len(profile)
        edge = [(along[i], up[i], side) for i, side in ((start, 0), (start, 1), (end, 1), (end, 0))]
        corners = place.put(*(np.array(values) for values in zip(*[(a, u, across[s]) for a, u, s in edge], strict=True)))
        steepness = abs(up[end] - up[start]) / np.hypot(along[end] - along[start], up[end] - up[start])
        light = 1.12 - 0.3 * float(steepness)
        shade = dark if surface == GLASS else colour * light
        faces.append((float(corners[:, 2].mean()), corners, shade, surface))
    for side in (0, 1):
        corners = place.put(along, up, np.full(len(profile), across[side]))
        corners = corners if side else corners[::-1]
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        light = view.wall_light(1 if normal[0] > 0 else -1)
        faces.append((float(corners[:, 2].min()), corners, colour * light, "side" if side else "other side"))
    _paint_wheels(view, place, profile[-1][0], segment)
    for depth, corners, shade, surface in sorted(faces, key=lambda face: -face[0]):
        if not _faces_eye(corners, eye):
            continue
        view.fill(corners, np.minimum(shade, 255), segment, depth)
        if surface in (LAMP_BACK, LAMP_FRONT):
            _paint_lamps(view, corners, surface)
        elif surface in ("side", "other side"):
            side = 1 if surface == "side" else 0
            _paint_side_windows(view, place, profile, middle, across[side], dark)
            _paint_wheels(view, place, profile[-1][0], segment, across[side] * 1.01)


def _faces_eye(corners: Points, eye: Points) -> bool:
    normal = np.zeros(3)
    for i in range(1, len(corners) - 1):
        normal += np.cross(corners[i] - corners[0], corners[i + 1] - corners[0])
    return bool(normal @ (eye - corners[0]) > 0)


def _paint_wheels(view: View, place: _Place, length: float, segment: int, across: float | None = None) -> None:
    """Paint the wheels of one side, or where they are seen below the body the tyres of both."""
    radius = 0.33
    centres = np.array([(0.72 - length / 2, radius), (length / 2 - 0.78, radius)])
    if across is None:
        for along in centres[:, 0]:
            for at in (-_WIDTH_M / 2 + 0.12, _WIDTH_M / 2 - 0.12):
                width = np.array((-0.11, 0.11, 0.11, -0.11))
                tyre = place.put(np.full(4, along), np.array((0.0, 0.0, 0.5, 0.5)), at + width)
                view.fill(tyre, _TYRE, segment)
        return
    for ring in disc(centres, np.full((2, 2), radius)):
        view.fill(place.put(ring[:, 0], ring[:, 1], np.full(len(ring), across)), _TYRE, segment)
    hubs = disc(centres, np.full((2, 2), radius * 0.55))
    view.tint(place.put(hubs[..., 0], hubs[..., 1], np.full(hubs.shape[:-1], across)), np.array((120.0, 122, 126)))


def _paint_side_windows(
    view: View, place: _Place, profile: tuple[tuple[float, float, str], ...], middle: float, across: float, dark: Colour
) -> None:
    roof = max(corner[1] for corner in profile)
    belt = 0.98 if roof < 1.8 else 1.2
    cabin = [(a - middle, u) for a, u, _ in profile if u >= belt - 0.1]
    left, right = min(a for a, _ in cabin) + 0.25, max(a for a, _ in cabin) - 0.3
    top_left, top_right = left + 0.32, right - 0.5
    split = (left + right) / 2
    panes = np.array([
        [(left, belt), (split - 0.05, belt), (split - 0.05, roof - 0.12), (top_left, roof - 0.12)],
        [(split + 0.05, belt), (right, belt), (top_right, roof - 0.12), (split + 0.05, roof - 0.12)],
    ])  # fmt: skip
    view.tint(place.put(panes[..., 0], panes[..., 1], np.full(panes.shape[:-1], across)), dark)


def _paint_lamps(view: View, corners: Points, surface: str) -> None:
    """Paint two lamps and a plate onto the front or back, whose corners are (4, 3)."""
    low_left, low_right, high_right, high_left = corners

    def on_face(x0: float, y0: float, x1: float, y1: float) -> Points:
        def at(x: float, y: float) -> Points:
            point: Points = (low_left * (1 - x) + low_right * x) * (1 - y) + (high_left * (1 - x) + high_right * x) * y
            return point

        return np.array([at(x0, y0), at(x1, y0), at(x1, y1), at(x0, y1)])

    on = view.weather.lamps
    lamp = np.array((150.0 + 105 * on, 22.0 + 40 * on, 26.0 + 30 * on))
    if surface == LAMP_FRONT:
        lamp = np.array((228.0, 226.0, 206.0)) + 27 * on
    view.tint(np.array([on_face(0.04, 0.55, 0.24, 0.85), on_face(0.76, 0.55, 0.96, 0.85)]), np.minimum(lamp, 255))
    view.tint(on_face(0.36, 0.2, 0.64, 0.42)[None], np.array((224.0, 222.0, 196.0)))
    view.tint(on_face(0.0, 0.0, 1.0, 0.14)[None], np.array((40.0, 40.0, 42.0)))


def plan_bicycle(view: View, right_m: float, forward_m: float, heading: float, *, ridden: bool) -> Item:
    """Draw a bicycle, parked or with a rider (who is a person of their own)."""
    place = _Place(right_m, forward_m, heading)
    return Item(forward_m, partial(_paint_bicycle, place=place, ridden=ridden, colour=view.colour(_FRAMES)))


def _paint_bicycle(view: View, place: _Place, ridden: bool, colour: Colour) -> None:
    segment = view.canvas.new_instance(BICYCLE)
    if ridden:
        # paints the rider first, so that the frame and the wheels lie over the far leg
        rider = view.canvas.new_instance(PERSON)
        paint_person(view, place.right_m, place.forward_m + 0.02, 1.72, rider, lift_m=0.32, seated=True)
    radius, axle = 0.34, 0.52
    for centre in (-axle, axle):
        # a wheel seen end on would vanish: tyres are 5 cm wide
        for across, size, shade in ((-0.04, 1.0, _TYRE), (0.04, 1.0, _TYRE), (0.04, 0.78, _TYRE * 2.6)):
            rim = disc((centre, radius), (radius * size, radius * size))
            view.fill(place.put(rim[:, 0], rim[:, 1], np.full(len(rim), across)), shade, segment)
    bars = (
        ((-axle, radius), (-0.12, 0.34)), ((-0.12, 0.34), (0.38, 0.78)), ((-0.12, 0.34), (-0.28, 0.86)),
        ((-0.26, 0.78), (0.4, 0.84)), ((axle, radius), (0.38, 0.98)), ((-axle, radius), (-0.26, 0.78)),
    )  # fmt: skip
    for (x0, y0), (x1, y1) in bars:
        direction = np.array((y0 - y1, x1 - x0)) / np.hypot(x1 - x0, y1 - y0) * 0.045
        line = np.array([(x0, y0), (x1, y1)])
        around = np.concatenate([line + direction, line[::-1] - direction])
        for across in (-0.03, 0.03):
            view.fill(place.put(around[:, 0], around[:, 1], np.full(4, across)), colour, segment)
    handle = place.put(np.full(4, 0.36), np.array((0.94, 0.94, 1.02, 1.02)), np.array((-0.28, 0.28, 0.28, -0.28)))
    view.fill(handle, _TYRE, segment)
    saddle = place.put(np.array((-0.4, -0.16, -0.16, -0.4)), np.array((0.86, 0.86, 0.94, 0.94)), np.array((-0.07, 0.07, 0.07, -0.07)))
    view.fill(saddle, _TYRE, segment)
