"""Names of the domains -> how a town is built and what the light is like there: constants of the scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vfmseg.types import LabelSpace

RGB = tuple[int, int, int]

CLASSES: Final[tuple[tuple[str, RGB, bool], ...]] = (
    ("road", (128, 64, 128), False),
    ("sidewalk", (244, 35, 232), False),
    ("building", (70, 70, 70), False),
    ("pole", (153, 153, 153), False),
    ("traffic sign", (220, 220, 0), False),
    ("vegetation", (107, 142, 35), False),
    ("terrain", (152, 251, 152), False),
    ("sky", (70, 130, 180), False),
    ("person", (220, 20, 60), True),
    ("car", (0, 0, 142), True),
    ("bicycle", (119, 11, 32), True),
)
"""Name, colour, thing: names and colours of Cityscapes (Cordts et al., CVPR 2016), in its order."""

SCENES: Final = LabelSpace(
    names=tuple(name for name, _, _ in CLASSES),
    colours=tuple(colour for _, colour, _ in CLASSES),
    is_thing=tuple(thing for _, _, thing in CLASSES),
)
"""The classes of the generated scenes."""

ROAD, SIDEWALK, BUILDING, POLE, SIGN, VEGETATION, TERRAIN, SKY, PERSON, CAR, BICYCLE = range(len(CLASSES))

ROUGHNESS: Final = (0.055, 0.05, 0.05, 0.03, 0.02, 0.13, 0.11, 0.008, 0.05, 0.02, 0.03)
"""For each class, how much the brightness of its material varies from point to point."""


@dataclass(frozen=True, kw_only=True)
class Town:
    """What is built, and from where it is seen. Ranges are (lowest, highest)."""

    walls: tuple[RGB, ...]
    windows: RGB
    frames: tuple[RGB, ...]
    roofs: tuple[RGB, ...]
    road: tuple[RGB, ...]
    sidewalk: tuple[RGB, ...]
    markings: RGB
    leaves: tuple[RGB, ...]
    grass: tuple[RGB, ...]
    signs: tuple[tuple[str, RGB, RGB], ...]
    """Shape, face and rim."""
    floors: tuple[int, int]
    bay_m: tuple[float, float]
    """Width of one window with its wall."""
    window_share: tuple[float, float]
    """Of the bay."""
    gabled: float
    """Share of buildings with pitched roofs."""
    detached: float
    """Share of street sides with houses that stand alone."""
    conifers: float
    """Share of trees."""
    arched: bool
    """Windows end in a point instead of a straight lintel."""
    camera_height_m: tuple[float, float]
    focal: tuple[float, float]
    """Focal length as a share of the picture's mean side."""
    horizon: tuple[float, float]
    """Row of the horizon as a share of the height."""
    boxy_cars: float
    """Share of cars that are vans or minibuses."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Light and air."""

    sky_top: tuple[RGB, ...]
    sky_bottom: tuple[RGB, ...]
    cloudiness: tuple[float, float]
    light: tuple[tuple[float, float, float], ...]
    """Factors on red, green and blue."""
    exposure: tuple[float, float]
    contrast_of_shade: float
    """Brightness of shaded walls as a share of lit ones."""
    shadow: float
    """Brightness of shadows on the ground; 1 means none."""
    haze_per_m: tuple[float, float]
    haze: tuple[RGB, ...]
    lit_windows: float
    lamps: float
    """Strength of lamps and car lights, 0 to 1."""
    sky_clearness: float
    """Share of the sky's own colour that is seen through the haze."""
    noise: tuple[float, float]
    """Standard deviation of the sensor, grey levels."""


_OLD_TOWN: Final = Town(
    walls=(
        (196, 180, 150), (168, 120, 96), (150, 146, 140), (206, 200, 188), (134, 98, 82), (180, 164, 120),
        (122, 128, 136), (188, 146, 120), (160, 160, 152), (104, 100, 98), (146, 156, 130),
    ),
    windows=(74, 86, 100),
    frames=((220, 216, 206), (92, 80, 70), (150, 144, 136)),
    roofs=((120, 66, 52), (86, 82, 84), (104, 78, 64)),
    road=((98, 98, 102), (112, 110, 108), (84, 86, 92), (124, 120, 114)),
    sidewalk=((150, 144, 138), (134, 132, 134), (166, 156, 142), (122, 116, 112)),
    markings=(222, 222, 216),
    leaves=((62, 92, 40), (80, 104, 44), (54, 80, 50), (98, 110, 50), (70, 98, 62)),
    grass=((104, 120, 58), (90, 112, 62), (132, 126, 76), (96, 104, 54)),
    signs=(
        ("circle", (236, 236, 232), (196, 34, 38)), ("triangle", (238, 236, 228), (200, 36, 36)),
        ("circle", (36, 78, 160), (226, 228, 232)), ("square", (38, 84, 164), (230, 230, 232)),
        ("octagon", (188, 30, 36), (232, 230, 228)), ("board", (36, 82, 150), (226, 228, 230)),
        ("square", (232, 196, 48), (240, 240, 236)),
    ),
    floors=(3, 6), bay_m=(2.3, 3.4), window_share=(0.36, 0.52), gabled=0.25, detached=0.22, conifers=0.08,
    arched=False, camera_height_m=(1.25, 1.75), focal=(0.72, 0.95), horizon=(0.4, 0.52), boxy_cars=0.2,
)  # fmt: skip
"""Rows of plastered and brick houses seen from a car."""

_NEW_TOWN: Final = Town(
    walls=(
        (214, 208, 220), (226, 152, 120), (122, 178, 184), (232, 206, 132), (206, 120, 128), (138, 152, 190),
        (238, 232, 222), (92, 112, 120), (170, 196, 160), (60, 72, 84),
    ),
    windows=(128, 160, 176),
    frames=((248, 246, 240), (60, 62, 70), (196, 168, 120)),
    roofs=((70, 96, 92), (150, 72, 60), (64, 66, 80), (158, 140, 110)),
    road=((136, 122, 112), (150, 142, 136), (118, 112, 116), (144, 126, 104)),
    sidewalk=((176, 150, 130), (190, 182, 170), (156, 128, 116), (128, 140, 140)),
    markings=(232, 196, 80),
    leaves=((40, 78, 56), (116, 116, 42), (150, 104, 44), (52, 96, 72), (134, 128, 60)),
    grass=((150, 140, 84), (122, 134, 72), (164, 148, 104)),
    signs=(
        ("diamond", (240, 190, 30), (40, 38, 34)), ("square", (240, 240, 236), (30, 30, 34)),
        ("board", (24, 116, 72), (236, 238, 236)), ("octagon", (200, 26, 30), (240, 240, 240)),
        ("circle", (240, 206, 40), (190, 40, 34)), ("square", (24, 112, 80), (238, 238, 236)),
    ),
    floors=(1, 11), bay_m=(1.4, 4.6), window_share=(0.5, 0.84), gabled=0.5, detached=0.42, conifers=0.55,
    arched=True, camera_height_m=(2.1, 3.2), focal=(0.55, 0.74), horizon=(0.3, 0.42), boxy_cars=0.5,
)  # fmt: skip
"""Towers and wooden houses in pastel colours, seen from a bus through a wider lens."""

_DAY: Final = Weather(
    sky_top=((98, 148, 206), (128, 168, 214), (172, 186, 200), (150, 160, 172)),
    sky_bottom=((196, 214, 230), (214, 222, 228), (206, 210, 212), (222, 218, 206)),
    cloudiness=(0.1, 0.75), light=((1.0, 1.0, 1.0), (1.06, 1.0, 0.92), (0.95, 0.99, 1.05)),
    exposure=(0.82, 1.16), contrast_of_shade=0.66, shadow=0.58, haze_per_m=(0.001, 0.005),
    haze=((204, 212, 220),), lit_windows=0.03, lamps=0.0, sky_clearness=1.0, noise=(2.0, 6.0),
)  # fmt: skip
_DUSK: Final = Weather(
    sky_top=((62, 72, 128), (84, 84, 138), (74, 62, 108)),
    sky_bottom=((250, 156, 110), (186, 136, 156), (252, 196, 130), (140, 134, 178)),
    cloudiness=(0.2, 0.8), light=((0.72, 0.7, 0.92), (0.88, 0.68, 0.66), (0.62, 0.66, 0.86)),
    exposure=(0.6, 0.88), contrast_of_shade=0.8, shadow=0.9, haze_per_m=(0.002, 0.008),
    haze=((88, 74, 92), (110, 86, 82)), lit_windows=0.38, lamps=1.0, sky_clearness=1.0, noise=(5.0, 10.0),
)  # fmt: skip
_FOG: Final = Weather(
    sky_top=((186, 190, 194), (170, 174, 180), (200, 200, 198)),
    sky_bottom=((192, 196, 198), (178, 182, 186), (204, 204, 202)),
    cloudiness=(0.0, 0.1), light=((0.96, 0.99, 1.02), (1.0, 1.0, 1.0)), exposure=(0.86, 1.04),
    contrast_of_shade=0.92, shadow=0.93, haze_per_m=(0.028, 0.075),
    haze=((190, 194, 197), (176, 180, 184), (203, 202, 200)), lit_windows=0.08, lamps=0.35,
    sky_clearness=0.15, noise=(2.0, 5.0),
)  # fmt: skip
_BRIGHT: Final = Weather(
    sky_top=((64, 116, 190), (120, 170, 200), (226, 196, 170)),
    sky_bottom=((226, 214, 190), (186, 214, 224), (240, 222, 204)),
    cloudiness=(0.0, 0.6), light=((1.1, 1.0, 0.86), (1.04, 0.98, 0.98), (0.96, 1.02, 1.0)),
    exposure=(0.9, 1.22), contrast_of_shade=0.58, shadow=0.5, haze_per_m=(0.001, 0.004),
    haze=((222, 212, 196),), lit_windows=0.02, lamps=0.0, sky_clearness=1.0, noise=(2.0, 5.0),
)  # fmt: skip

DOMAINS: Final[dict[str, tuple[Town, Weather]]] = {
    "day": (_OLD_TOWN, _DAY),
    "dusk": (_OLD_TOWN, _DUSK),
    "fog": (_OLD_TOWN, _FOG),
    "new-style": (_NEW_TOWN, _BRIGHT),
}
"""Domain -> its town and its weather. day, dusk and fog show the same town: only the light differs."""
