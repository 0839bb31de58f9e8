"""A place -> a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vfmseg.data.scene_canvas import Colour, disc
from vfmseg.data.scene_style import PERSON
from vfmseg.data.scene_view import Item, View

_SKIN: Final = ((224, 182, 152), (196, 146, 112), (140, 96, 70), (92, 62, 48), (236, 200, 176))
_HAIR: Final = ((40, 32, 28), (92, 66, 44), (176, 146, 96), (128, 124, 120), (24, 22, 24))
_CLOTHES: Final = (
    (38, 44, 62), (150, 36, 40), (196, 190, 180), (60, 84, 122), (84, 92, 74), (206, 160, 60), (28, 28, 30),
    (110, 70, 100), (96, 96, 100), (224, 224, 226), (150, 108, 76), (54, 120, 116),
)  # fmt: skip
_HIP, _SHOULDER = 0.5, 0.83
_HEAD: Final = [(x, y) for x, y in disc((0, 0.93), (0.052, 0.068), 10).tolist()]
_CROWN: Final = [(x, max(y, 0.95)) for x, y in disc((0, 0.955), (0.055, 0.05), 10).tolist()]


def plan_person(view: View, right_m: float, forward_m: float) -> Item:
    """Draw somebody who walks or stands."""
    height = view.uniform(1.55, 1.92) if view.chance(0.85) else view.uniform(1.0, 1.4)

    def paint(view: View) -> None:
        paint_person(view, right_m, forward_m, height, view.canvas.new_instance(PERSON))

    far = -0.9 * view.sun_side
    shadow = [
        (right_m + x, 0.0, forward_m + z)
        for x, z in ((-0.2, 0), (0.2, 0), (far + 0.2, 0.5), (far - 0.2, 0.5))
    ]
    return Item(forward_m, paint, shadow)


def paint_person(
    view: View,
    right_m: float,
    forward_m: float,
    height_m: float,
    segment: int,
    *,
    lift_m: float = 0.0,
    seated: bool = False,
) -> None:
    """Paint a person who faces or turns from the camera.

    Args:
        view: the scene.
        right_m: of the middle.
        forward_m: distance.
        height_m: when standing.
        segment: number of the instance.
        lift_m: of the feet above the ground.
        seated: on a saddle, knees apart, instead of striding.
    """
    coat, trousers = view.colour(_CLOTHES), view.colour(_CLOTHES)
    skin, hair, bag = view.colour(_SKIN), view.colour(_HAIR), view.colour(_CLOTHES)
    stride = 0.05 if seated else view.uniform(0.02, 0.14)
    width, swing = view.uniform(0.95, 1.25) * height_m, view.uniform(0.02, 0.08)
    light = view.wall_light(0)

    def paint(flat: Sequence[tuple[float, float]], colour: Colour) -> None:
        corners = [(right_m + x * width, lift_m + y * height_m, forward_m) for x, y in flat]
        view.canvas.fill(corners, colour * light, segment, forward_m)

    for sign in (-1, 1):
        foot, knee = sign * stride, sign * (0.085 if seated else 0.045 + stride / 2)
        paint([(sign * 0.005, _HIP), (sign * 0.1, _HIP), (knee + 0.04, 0.27), (foot + 0.035, 0.02),
               (foot + 0.04, 0.0), (foot - 0.04, 0.0), (foot - 0.03, 0.04), (knee - 0.04, 0.27)],
              trousers * (0.9 + 0.1 * sign))  # fmt: skip
    if view.chance(0.3):  # a long coat or a skirt
        paint([(-0.1, _HIP + 0.08), (0.1, _HIP + 0.08), (0.13, 0.3), (-0.13, 0.3)], coat * 0.9)
    for sign in (-1, 1):
        paint([(sign * 0.1, _SHOULDER - 0.01), (sign * 0.15, _SHOULDER - 0.05), (sign * (0.15 + swing), 0.5),
               (sign * (0.11 + swing), 0.48)], coat * (0.88 + 0.06 * sign))  # fmt: skip
    paint([(-0.1, _HIP - 0.03), (0.1, _HIP - 0.03), (0.125, _SHOULDER - 0.03), (0.07, _SHOULDER + 0.02),
           (-0.07, _SHOULDER + 0.02), (-0.125, _SHOULDER - 0.03)], coat)  # fmt: skip
    if view.chance(0.35):
        x = 0.13 if view.chance(0.5) else -0.13
        paint([(x - 0.05, 0.62), (x + 0.05, 0.62), (x + 0.055, 0.45), (x - 0.055, 0.45)], bag)
    if view.chance(0.5):  # faces the camera
        paint(_HEAD, skin)
        paint(_CROWN, hair)
    else:
        paint(_HEAD, hair)
