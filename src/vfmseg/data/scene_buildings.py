"""The sides of a street -> buildings with windows, shops, cornices and roofs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from vfmseg.data.scene_canvas import Colour, Floats
from vfmseg.data.scene_ground import Street
from vfmseg.data.scene_style import BUILDING
from vfmseg.data.scene_view import Item, View

_FIRST_M: Final = 1.0
_LAST_M: Final = 110.0
_WINDOWS_TO_M: Final = 45.0
_DEPTH_STEP: Final = 1.3
_LIT: Final = np.array((255.0, 214.0, 140.0))
_ATTIC_M: Final = 0.6
_SQUARE: Final = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64)
_POINTED: Final = np.array([(-1, -1), (1, -1), (1, 0.7), (0, 1.2), (-1, 0.7)], np.float64)


@dataclass(frozen=True)
class _Building:
    side: int
    line_m: float
    """Distance of the wall from the middle of the camera's lane."""
    near_m: float
    far_m: float
    back_m: float
    """Distance of the back wall from the middle of the camera's lane."""
    height_m: float
    floors: int
    bay_m: float
    window_share: float
    roof_m: float
    """Height of a pitched roof; 0 where it is flat."""
    has_shops: bool
    shows_front: bool
    """Whether the wall that faces the camera is not hidden by the next building."""


@dataclass(frozen=True)
class _Face:
    """A wall: points on it are given by metres along it and up."""

    corner: Floats
    along: Floats
    length_m: float
    light: float

    def place(self, flat: Floats) -> Floats:
        """Turn (..., 2) into (..., 3) metres."""
        place: Floats = self.corner + flat[..., :1] * self.along
        place[..., 1] = flat[..., 1]
        return place


def plan_buildings(view: View, street: Street, side: int) -> list[Item]:
    """Draw the buildings of one side of the street: a row, or houses that stand alone."""
    town = view.town
    detached = view.chance(town.detached)
    line = street.curb(side) + street.sidewalk(side) + street.verge(side)
    line += view.uniform(3.0, 7.0) if detached else 0.0
    items, near, hidden_m = [], view.uniform(-8.0, 3.0), 0.0
    while near < _LAST_M:
        length = view.uniform(8.0, 12.0 if detached else 22.0)
        floors = int(view.uniform(town.floors[0], town.floors[1] + 1))
        floors = min(floors, 3) if detached else floors
        height = floors * view.uniform(2.8, 3.6) + _ATTIC_M
        wall = line + (view.uniform(-0.6, 0.6) if detached else view.uniform(0.0, 0.35))
        building = _Building(
            side=side,
            line_m=wall,
            near_m=max(near, _FIRST_M),
            far_m=near + length,
            back_m=wall + view.uniform(7.0, 12.0),
            height_m=height,
            floors=floors,
            bay_m=view.uniform(*town.bay_m),
            window_share=view.uniform(*town.window_share),
            roof_m=view.uniform(2.0, 4.0) if view.chance(0.85 if detached else town.gabled) else 0.0,
            has_shops=not detached and floors > 1 and view.chance(0.5),
            shows_front=height > hidden_m,
        )
        if building.far_m > _FIRST_M + 0.5 and street.is_free(near + length / 2, length / 2 + 2):
            shadow = _shadow(building) if view.sun_side == side else None
            items.append(Item(building.far_m, partial(_paint, building=building), shadow))
        else:
            height = 0.0
        gap = view.uniform(2.5, 9.0) if detached else 0.0 if view.chance(0.85) else 4.0
        near, hidden_m = building.far_m + gap, 0.0 if gap else height
    return items


def _shadow(building: _Building) -> Floats:
    inner = building.side * (building.line_m - 0.55 * building.height_m)
    outer, near, far = building.side * building.line_m, building.near_m, building.far_m
    return np.array([(outer, 0, near), (outer, 0, far), (inner, 0, far), (inner, 0, near)], np.float64)


def _paint(view: View, building: _Building) -> None:
    fill, side = view.canvas.fill, building.side
    colour, roof = view.colour(view.town.walls), view.colour(view.town.roofs)
    frame = view.colour(view.town.frames)
    line, back, near, far = building.line_m, building.back_m, building.near_m, building.far_m
    top, peak, ridge = building.height_m, building.height_m + building.roof_m, (line + back) / 2
    wall = _Face(
        np.array((side * line, 0.0, near)), np.array((0.0, 0, 1)), far - near, view.wall_light(-side)
    )
    front = _Face(
        np.array((side * line, 0.0, near)), np.array((side, 0.0, 0)), back - line, view.wall_light(0)
    )
    if building.roof_m:
        gable = [(side * line, top, near), (side * back, top, near), (side * ridge, peak, near)]
        fill(gable, colour * front.light, BUILDING, near)
        eave = line - 0.3
        slope = [(eave, top - 0.2, near), (eave, top - 0.2, far), (ridge, peak, far), (ridge, peak, near)]
        fill(np.array(slope) * (side, 1, 1), roof * wall.light, BUILDING, near)
    corners = [(line, 0, near), (back, 0, near), (back, top, near), (line, top, near)]
    fill(np.array(corners) * (side, 1, 1), colour * front.light, BUILDING, near)
    # haze thickens along a wall, so a long one is painted in pieces of about one depth each
    ratio = far / near
    pieces = max(1, round(math.log(ratio) / math.log(_DEPTH_STEP)))
    edges = [far * ratio ** (-piece / pieces) for piece in range(pieces + 1)]
    for start, end in pairwise(edges):
        corners = [(line, 0, start), (line, 0, end), (line, top, end), (line, top, start)]
        fill(np.array(corners) * (side, 1, 1), colour * wall.light, BUILDING, (start + end) / 2)
    if near < _WINDOWS_TO_M:
        for face in (wall, front) if building.shows_front else (wall,):
            _paint_windows(view, building, face, colour * face.light, frame * face.light)


def _paint_windows(view: View, building: _Building, face: _Face, wall: Colour, frame: Colour) -> None:
    bays = max(1, int(face.length_m / building.bay_m))
    bay = face.length_m / bays
    storey = (building.height_m - _ATTIC_M) / building.floors
    centres = np.empty((bays, building.floors - building.has_shops, 2))
    centres[..., 0] = ((np.arange(bays) + 0.5) * bay)[:, None]
    centres[..., 1] = (np.arange(building.has_shops, building.floors) + 0.55) * storey
    centres = centres.reshape(-1, 1, 2)
    half = np.array((building.window_share * bay / 2, storey * 0.3))
    shape = _POINTED if view.town.arched else _SQUARE
    view.canvas.tint(face.place(centres + shape * (half + 0.13)), frame)
    panes = face.place(centres + shape * half)
    dark = np.array(view.town.windows, np.float64) * view.wall_light(0)
    kind = view.rng.random(len(panes))
    is_lit = view.light_rng.random(len(panes)) < view.weather.lit_windows
    kind[is_lit] = 2.0
    view.canvas.tint(panes[kind < 0.6], dark)
    view.canvas.tint(panes[(kind >= 0.6) & (kind < 0.88)], dark * 1.35)
    view.canvas.tint(panes[(kind >= 0.88) & (kind < 1)], wall * 0.9 + 20)  # blinds
    view.canvas.tint(panes[is_lit], _LIT)
    if building.has_shops:
        _paint_shops(view, face, storey, bay, bays)
    length, top = face.length_m, building.height_m
    ledge = np.array([(0, top - 0.35), (length, top - 0.35), (length, top), (0, top)])
    view.canvas.tint(face.place(ledge)[None], wall * 1.15)


def _paint_shops(view: View, face: _Face, storey: float, bay: float, bays: int) -> None:
    """Paint shop windows, a sign board of any colour above them, and doors."""
    board = np.clip(view.rng.normal(128, 62, 3), 20, 240) * face.light
    is_door = view.rng.random(bays) < 0.25
    openings = np.zeros((bays, 4, 2))
    openings[..., 0] = np.arange(bays)[:, None] * bay
    openings[~is_door, :, 0] += bay * np.array([0.1, 0.9, 0.9, 0.1])
    openings[is_door, :, 0] += bay * np.array([0.3, 0.7, 0.7, 0.3])
    openings[..., 1] = storey * np.array([0.12, 0.12, 0.72, 0.72])
    openings[is_door, :2, 1] = 0.0
    placed = face.place(openings)
    is_open = bool(view.light_rng.random() < 2 * view.weather.lit_windows)
    glass = np.array(view.town.windows, np.float64) * 0.8
    view.canvas.tint(placed[~is_door], _LIT if is_open else glass)
    view.canvas.tint(placed[is_door], board * 0.6)
    sign = np.array([(0, 0.76), (face.length_m, 0.76), (face.length_m, 0.98), (0, 0.98)]) * (1, storey)
    view.canvas.tint(face.place(sign)[None], board)
