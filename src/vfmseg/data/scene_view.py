"""What every painter of a scene is handed: canvas, camera, town, weather and the two random streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vfmseg.data.scene_canvas import Camera, Canvas, Colour, Polygon
from vfmseg.data.scene_style import RGB, Town, Weather

T = TypeVar("T")


@dataclass(frozen=True)
class View:
    """A scene in the making."""

    canvas: Canvas
    camera: Camera
    town: Town
    weather: Weather
    rng: np.random.Generator
    """Decides on shapes and materials; drawn from alike in all weathers."""
    light_rng: np.random.Generator
    """Decides on what differs between weathers."""
    sun_side: int
    """-1: the sun is on the left, +1: on the right."""

    def wall_light(self, facing: int) -> float:
        """Return the brightness of a surface facing -1 left, +1 right, 0 the camera."""
        lit, shaded = 1.0, self.weather.contrast_of_shade
        return (lit + shaded) / 2 if facing == 0 else lit if facing == self.sun_side else shaded

    def uniform(self, low: float, high: float) -> float:
        """Draw a number from a range."""
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        """Draw yes or no."""
        return float(self.rng.random()) < probability

    def colour(self, palette: Sequence[RGB], spread: float = 8.0) -> Colour:
        """Draw a colour of a palette, varied in brightness and a little in hue."""
        base = np.array(pick(self.rng, palette), np.float64)
        varied = self.rng.standard_normal(4)
        return base + varied[0] * spread + varied[1:] * (spread / 3)


@dataclass(frozen=True)
class Item:
    """Something that stands in the street: painted after all that is farther away."""

    depth_m: float
    paint: Callable[[View], None]
    shadow: Polygon | None = None
    """(n, 3) metres on the ground, or None."""


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of a few options."""
    return options[int(float(rng.random()) * len(options))]
