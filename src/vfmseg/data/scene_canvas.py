"""Polygons in metres -> a picture, its labels and its depth: the pinhole camera and the canvas of the scenes.

Polygons are collected from far to near and drawn at the end, all projected at once, on rasters three times
finer than the picture. The picture is the mean of the 3 x 3 finer pixels (anti-aliased), the labels are
those of the middle one (exact at the pixel's centre), so that both tell of the same shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfmseg.types import IGNORE_INDEX, Size

SUBPIXELS: Final = 3
"""Finer pixels per pixel along each axis; odd, so that one of them lies at the pixel's centre."""

FAR_M: Final = 400.0
"""Depth of what is infinitely far away, such as the sky."""

_FRACTION_BITS: Final = 4
_NEAREST_M: Final = 0.35
_LARGEST_COORDINATE: Final = 20000.0
_SMALLEST_DETAIL: Final = 1.0
"""Details of less than this many finer pixels are left out: drawn, they would cover more than they do."""

Floats = NDArray[np.float64]
Colour = NDArray[np.float64]
"""(3,) RGB; may exceed 0-255 until it is drawn."""
Polygon = Floats | Sequence[tuple[float, float, float]]
"""(n, 3) metres: right, up, forward."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above a street that may bend; units of the finer raster and metres."""

    focal: float
    """Pixels of the finer raster."""
    centre: float
    """Column the street leads to, in pixels of the finer raster."""
    horizon: float
    """Row of the horizon, in pixels of the finer raster."""
    height_m: float
    """Of the camera above the street."""
    bend: float
    """Sideways displacement per squared distance (1/m)."""

    def project(self, points: Floats) -> Floats:
        """Turn (N, 3) metres into (N, 2) columns and rows of the finer raster."""
        depth = np.maximum(points[:, 2], _NEAREST_M)
        columns = self.centre + self.focal * (points[:, 0] / depth + self.bend * depth)
        rows = self.horizon + self.focal * (self.height_m - points[:, 1]) / depth
        return np.stack([columns, rows], axis=1)

    def unproject(self, pixels: ArrayLike, depth_m: float) -> Floats:
        """Turn (N, 2) columns and rows into the (N, 3) metres seen there at a depth."""
        columns, rows = np.asarray(pixels, np.float64).T
        right = (columns - self.centre) * depth_m / self.focal - self.bend * depth_m * depth_m
        up = self.height_m - (rows - self.horizon) * depth_m / self.focal
        return np.stack([right, up, np.full_like(right, depth_m)], axis=1)


@dataclass(frozen=True)
class Rasters:
    """What was drawn."""

    colour: NDArray[np.uint8]
    """(height, width, 3), finer by ``SUBPIXELS``."""
    outlines: NDArray[np.int32]
    """(height, width), finer by ``SUBPIXELS``: number of the piece seen, 0 the background."""
    segments: NDArray[np.uint16]
    """(H, W) at the centres of pixels: classes below 255, 255 void, instances from 256 on."""
    depth: NDArray[np.float32]
    """(H, W) metres at the centres of pixels; 0 where the ground is, whose depth depends on the row."""


@dataclass
class Canvas:
    """A list of polygons, each hiding what was put in before it."""

    _corners: list[Polygon] = field(default_factory=list)
    _pieces: list[tuple[int, bool]] = field(default_factory=list)
    """For each polygon its piece, and whether it makes an outline or is a mere detail."""
    _colours: list[Colour] = field(default_factory=list)
    _segments: list[int] = field(default_factory=list)
    _depths: list[float] = field(default_factory=list)
    instance_classes: list[int] = field(default_factory=list)
    """Class of each instance; the first has segment number 256."""

    def new_instance(self, class_id: int) -> int:
        """Return the segment number of a new thing."""
        self.instance_classes.append(class_id)
        return IGNORE_INDEX + len(self.instance_classes)

    @property
    def num_pieces(self) -> int:
        """How many pieces there are; the number of the latest."""
        return len(self._colours)

    def fill(self, polygon: Polygon, colour: Colour, segment: int, depth_m: float) -> None:
        """Add a polygon as part of a segment; depth 0 for the ground."""
        self._add_piece(colour, segment, depth_m)
        self._pieces.append((len(self._colours), True))
        self._corners.append(polygon)

    def tint(self, polygons: Sequence[Polygon] | Floats, colour: Colour) -> None:
        """Add details of one colour on top of what they belong to: segments and depth stay."""
        self._add_piece(colour, 0, 0.0)
        self._pieces += [(len(self._colours), False)] * len(polygons)
        self._corners.extend(polygons)

    def _add_piece(self, colour: Colour, segment: int, depth_m: float) -> None:
        self._colours.append(colour)
        self._segments.append(segment)
        self._depths.append(depth_m)

    def draw(self, camera: Camera, background: NDArray[np.uint8], class_of_background: int) -> Rasters:
        """Draw everything over a background, (height, width, 3) on the finer raster."""
        height, width = background.shape[:2]
        # polygons are drawn as their piece's number, 0 the background; one look-up a raster does the rest
        pieces, outlines = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
        polygons, visible = project_polygons(camera, self._corners, (height, width))
        for polygon, (piece, is_outline), size in zip(polygons, self._pieces, visible, strict=True):
            if size == 0 or (size < _SMALLEST_DETAIL and not is_outline):
                continue
            cv2.fillPoly(pieces, [polygon], piece, shift=_FRACTION_BITS)
            if is_outline:
                cv2.fillPoly(outlines, [polygon], piece, shift=_FRACTION_BITS)
        colours = np.zeros((len(self._colours) + 1, 4), np.uint8)
        colours[1:, :3] = np.clip(np.rint(np.array(self._colours)), 0, 255)
        packed = np.take(colours.view(np.uint32)[:, 0], pieces, mode="clip")
        colour = cv2.cvtColor(packed.view(np.uint8).reshape(height, width, 4), cv2.COLOR_RGBA2RGB)
        cv2.copyTo(background, (pieces == 0).view(np.uint8), colour)
        centres = outlines[SUBPIXELS // 2 :: SUBPIXELS, SUBPIXELS // 2 :: SUBPIXELS]
        segments = np.array([class_of_background, *self._segments], np.uint16)[centres]
        depth = np.array([FAR_M, *self._depths], np.float32)[centres]
        return Rasters(np.asarray(colour, np.uint8), outlines, segments, depth)


def project_polygons(
    camera: Camera, polygons: Sequence[Polygon], size: Size
) -> tuple[list[NDArray[np.int32]], list[float]]:
    """Project polygons, each (n, 3) metres, to fixed-point corners for OpenCV.

    Returns:
        The corners of each, (n, 2) int32, and the longer side of what is seen of it in pixels of the raster,
        0 where it lies outside.
    """
    counts = [len(polygon) for polygon in polygons]
    points = camera.project(np.concatenate([np.asarray(polygon, np.float64) for polygon in polygons]))
    np.clip(points, -_LARGEST_COORDINATE, _LARGEST_COORDINATE, out=points)
    ends = np.cumsum(np.array(counts, np.intp))
    starts: NDArray[np.intp] = ends - np.array(counts, np.intp)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    sides = (high - low).max(axis=1)
    outside = (high < 0).any(axis=1) | (low[:, 0] > size[1]) | (low[:, 1] > size[0])
    fixed = np.rint(points * (1 << _FRACTION_BITS)).astype(np.int32)
    corners = [fixed[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    return corners, np.where(outside, 0, np.maximum(sides, 1e-3)).tolist()


def draw_mask(camera: Camera, polygons: Sequence[Polygon], size: Size) -> NDArray[np.uint8]:
    """Return (height, width) uint8, 1 inside any of the polygons."""
    mask = np.zeros(size, np.uint8)
    for polygon in project_polygons(camera, polygons, size)[0]:
        cv2.fillPoly(mask, [polygon], 1, shift=_FRACTION_BITS)
    return mask


def disc(centre: ArrayLike, radii: ArrayLike, corners: int = 14) -> Floats:
    """Return ellipses as polygons.

    Args:
        centre: (..., 2) x and y.
        radii: (..., 2) along x and y.
        corners: n.

    Returns:
        (..., n, 2).
    """
    angles = np.arange(corners) * (2 * np.pi / corners)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    middle, lengths = np.asarray(centre, np.float64), np.asarray(radii, np.float64)
    return middle[..., None, :] + circle * lengths[..., None, :]


def upright(polygon: ArrayLike, right_m: float, forward_m: float) -> Floats:
    """Place (..., 2) points of a plane that faces the camera (right of its middle, up) in the street."""
    flat = np.asarray(polygon, np.float64)
    points = np.empty((*flat.shape[:-1], 3))
    points[..., 0] = flat[..., 0] + right_m
    points[..., 1] = flat[..., 1]
    points[..., 2] = forward_m
    return points


def box(left: float, low: float, right: float, high: float) -> Floats:
    """Return the four corners, (4, 2), of an axis-parallel rectangle."""
    return np.array([(left, low), (right, low), (right, high), (left, high)], np.float64)
