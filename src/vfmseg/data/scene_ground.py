"""Sky, far background and ground of a scene: what is painted before anything that stands in the street."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vfmseg.data.scene_canvas import SUBPIXELS, Colour, Floats, box
from vfmseg.data.scene_style import BUILDING, ROAD, SIDEWALK, TERRAIN, VEGETATION
from vfmseg.data.scene_view import View, pick
from vfmseg.types import Size

END_M: Final = 300.0
"""Where the ground ends."""

_BACKDROP_M: Final = 140.0
_STRIP_CORNERS: Final = 9
_STRIP_STEPS: Final = np.linspace(0, 1, _STRIP_CORNERS)
_CURB_M: Final = 0.18
_LINE_M: Final = 0.16
_GROUND_DEPTH: Final = 0.0


@dataclass(frozen=True)
class Street:
    """Where the parts of the ground lie, in metres; side -1 is left of the camera, +1 right of it."""

    curbs: tuple[float, float]
    """Distances of the left and the right curb."""
    sidewalks: tuple[float, float]
    """Widths."""
    verges: tuple[float, float]
    """Widths of the grass between sidewalk and buildings; 0 where there is none."""
    crossing: tuple[float, float]
    """From where to where another street crosses; beyond the end where none does."""

    def curb(self, side: int) -> float:
        """Return the distance of the curb on a side."""
        return self.curbs[side > 0]

    def sidewalk(self, side: int) -> float:
        """Return the width of the sidewalk on a side."""
        return self.sidewalks[side > 0]

    def verge(self, side: int) -> float:
        """Return the width of the grass beyond the sidewalk on a side."""
        return self.verges[side > 0]

    @property
    def has_crossing(self) -> bool:
        """Whether another street crosses."""
        return self.crossing[0] < END_M

    def is_free(self, forward_m: float, margin_m: float = 1.0) -> bool:
        """Tell whether something may stand beside the road here, out of the way of a crossing street."""
        return not self.crossing[0] - margin_m < forward_m < self.crossing[1] + margin_m


def draw_street(view: View) -> Street:
    """Draw the widths of road, sidewalks and verges."""
    start = view.uniform(9.0, 34.0) if view.chance(0.4) else 2 * END_M
    verges = [view.uniform(1.2, 5.0) if view.chance(0.45) else 0.0 for _ in range(2)]
    return Street(
        curbs=(view.uniform(3.6, 8.5), view.uniform(2.0, 5.2)),
        sidewalks=(view.uniform(1.6, 4.0), view.uniform(1.6, 4.0)),
        verges=(verges[0], verges[1]),
        crossing=(start, start + view.uniform(5.0, 9.0)),
    )


def paint_sky(view: View, size: Size) -> NDArray[np.uint8]:
    """Return the sky on the finer raster of a picture of ``size``: a gradient and clouds."""
    rng, weather = view.light_rng, view.weather
    height, width = size
    top = np.array(pick(rng, weather.sky_top), np.float32)
    bottom = np.array(pick(rng, weather.sky_bottom), np.float32)
    share = np.clip((np.arange(height) * SUBPIXELS + 1) / view.camera.horizon, 0, 1) ** 1.5
    gradient = (top + (bottom - top) * share[:, None].astype(np.float32))[:, None]
    clouds = smooth_noise(rng, size, (5, 8)) + 0.5 * smooth_noise(rng, size, (14, 20))
    cloudiness = rng.uniform(*weather.cloudiness)
    cover = np.clip((clouds + np.float32(2.2 * cloudiness - 1.1)) * 0.6, 0, 0.85)[..., None]
    cloud = np.minimum(bottom * 0.5 + np.float32(122), 245)
    sky = gradient + (cloud - gradient) * cover
    fine = (width * SUBPIXELS, height * SUBPIXELS)
    return np.asarray(cv2.resize(sky.astype(np.uint8), fine, interpolation=cv2.INTER_LINEAR), np.uint8)


def smooth_noise(rng: np.random.Generator, size: Size, cells: tuple[int, int]) -> NDArray[np.float32]:
    """Return (height, width) float32 noise of about unit deviation that varies over ``cells`` (x, y)."""
    coarse = rng.standard_normal((cells[1], cells[0]), np.float32)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def paint_backdrop(view: View, width: int) -> None:
    """Paint what closes the view over ``width`` finer pixels: far roofs, woods and hills."""
    rng, camera = view.rng, view.camera
    scale = camera.focal / _BACKDROP_M
    base = camera.horizon + camera.height_m * scale
    for layer in range(1 + int(view.uniform(0, 3))):
        depth = _BACKDROP_M * (1.8 - 0.4 * layer)
        if view.chance(0.5):
            colour, column = view.colour(view.town.walls) * 0.85, -1.0
            while column < width:
                step, height = view.uniform(8, 30) * scale, view.uniform(4, 26) * scale
                block = box(column, base - height, column + step, base)
                if view.chance(0.75):
                    shade = colour * view.uniform(0.85, 1.1)
                    view.canvas.fill(camera.unproject(block, depth), shade, BUILDING, depth)
                column += step
        else:
            x, hills = np.linspace(-2, width + 2, 60), rng.uniform(2, 16, 14) * scale
            rise = np.interp(x, np.linspace(-2, width + 2, 14), hills) + rng.uniform(0, 2.5, 60) * scale
            corners = np.concatenate([np.stack([x, base - rise], 1), [(width + 2, base), (-2, base)]])
            leaves = view.colour(view.town.leaves) * 0.95
            view.canvas.fill(camera.unproject(corners, depth), leaves, VEGETATION, depth)


def paint_ground(view: View, street: Street) -> None:
    """Paint road, sidewalks and grass with their markings."""
    town, canvas = view.town, view.canvas
    road, paving, grass = view.colour(town.road), view.colour(town.sidewalk), view.colour(town.grass)
    is_green = view.chance(0.6)
    beyond = (grass, TERRAIN) if is_green else (paving * 0.97, SIDEWALK)
    canvas.fill(strip(-900, 900, 0.36), *beyond, _GROUND_DEPTH)
    for side in (-1, 1):
        curb, sidewalk, verge = street.curb(side), street.sidewalk(side), street.verge(side)
        if verge:
            green = strip(side * (curb + sidewalk), side * (curb + sidewalk + verge))
            canvas.fill(green, grass, TERRAIN, _GROUND_DEPTH)
        canvas.fill(strip(side * curb, side * (curb + sidewalk)), paving, SIDEWALK, _GROUND_DEPTH)
        _paint_paving(view, side, curb, sidewalk, paving)
    canvas.fill(strip(-street.curb(-1), street.curb(1)), road, ROAD, _GROUND_DEPTH)
    if street.has_crossing:
        canvas.fill(_rectangle(-60, 60, *street.crossing), road, ROAD, _GROUND_DEPTH)
    _paint_wear(view, street, road)
    _paint_markings(view, street)


def strip(left: float, right: float, near: float = 0.4, far: float = END_M) -> Floats:
    """Return a strip of ground along the street, (n, 3) metres; many corners, as the street may bend."""
    forward = near * (far / near) ** _STRIP_STEPS
    corners = np.zeros((2 * _STRIP_CORNERS, 3))
    corners[:_STRIP_CORNERS, 0], corners[_STRIP_CORNERS:, 0] = left, right
    corners[:, 2] = np.concatenate([forward, forward[::-1]])
    return corners


def _rectangle(left: float, right: float, near: float, far: float) -> Floats:
    return np.array([(left, 0, near), (left, 0, far), (right, 0, far), (right, 0, near)], np.float64)


def _paint_paving(view: View, side: int, curb: float, width: float, colour: Colour) -> None:
    """Paint the curb stone and the joints between the slabs."""
    view.canvas.tint([strip(side * curb, side * (curb + _CURB_M))], colour * 1.2)
    left, right = sorted((side * curb, side * (curb + width)))
    step = view.uniform(0.9, 1.8)
    view.canvas.tint(
        [_rectangle(left, right, z, z + 0.05) for z in np.arange(2.0, 13.0, step)], colour * 0.82
    )


def _paint_wear(view: View, street: Street, colour: Colour) -> None:
    """Paint wheel tracks, mended patches and manholes onto the road."""
    left, right = -street.curb(-1), street.curb(1)
    view.canvas.tint([strip(-1.4, -0.8), strip(0.45, 1.05)], colour * 0.96)
    for _ in range(int(view.uniform(1, 5))):
        x, z, half = view.uniform(left, right), view.uniform(3, 25), view.uniform(0.3, 0.9)
        patch = _rectangle(max(x - half, left), min(x + half, right), z, z + view.uniform(0.6, 4.0))
        view.canvas.tint([patch], colour * view.uniform(0.72, 1.12))


def _paint_markings(view: View, street: Street) -> None:
    paint = np.array(view.town.markings, np.float64) * view.uniform(0.8, 1.0)
    left, right = -street.curb(-1), street.curb(1)
    centre, end = (left + right) / 2, min(END_M, street.crossing[0])
    style, offset = int(view.uniform(0, 3)), view.uniform(0, 6)
    if style == 0:
        view.canvas.tint([strip(centre - _LINE_M / 2, centre + _LINE_M / 2, far=end)], paint)
    else:
        period, length = (6.0, 3.0) if style == 1 else (9.0, 4.0)
        starts = [z for z in np.arange(1.0 + offset, 70.0, period) if street.is_free(float(z), length)]
        dashes = [_rectangle(centre - _LINE_M / 2, centre + _LINE_M / 2, z, z + length) for z in starts]
        view.canvas.tint(dashes, paint)
    if view.chance(0.3):
        edges = (left + 0.35, right - 0.35)
        view.canvas.tint([strip(x - 0.07, x + 0.07, far=end) for x in edges], paint)
    if view.chance(0.35) or street.has_crossing:
        start = end - 3.6 if street.has_crossing else view.uniform(5, 20)
        stripes = np.arange(left + 0.4, right - 0.7, 1.0)
        view.canvas.tint([_rectangle(x, x + 0.5, start, start + 3) for x in stripes], paint)
