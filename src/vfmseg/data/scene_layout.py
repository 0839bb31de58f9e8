"""A street -> who and what stands beside it and drives on it."""

from __future__ import annotations

import numpy as np

from vfmseg.data.scene_figures import plan_person
from vfmseg.data.scene_furniture import plan_lamp_post, plan_sign
from vfmseg.data.scene_ground import Street
from vfmseg.data.scene_plants import plan_hedge, plan_tree
from vfmseg.data.scene_vehicles import plan_bicycle, plan_car
from vfmseg.data.scene_view import Item, View, pick


def plan_sidewalks(view: View, street: Street) -> list[Item]:
    """Place trees, hedges, lamps, signs, people and parked bicycles on both sides of the road."""
    items: list[Item] = []
    for side in (-1, 1):
        curb, width, verge = street.curb(side), street.sidewalk(side), street.verge(side)
        if view.chance(0.55):
            start, step = view.uniform(3, 14), view.uniform(6, 14)
            for z in _every(step, start, 62):
                if view.chance(0.85) and street.is_free(z):
                    items.append(plan_tree(view, side * (curb + view.uniform(0.5, 0.8)), z))
        if verge:
            for _ in range(int(view.uniform(0, 4))):
                x = curb + width + view.uniform(0.4, 1.0) * verge
                items.append(plan_tree(view, side * x, view.uniform(6, 50)))
            start, length = view.uniform(3, 20), view.uniform(4, 6)
            if view.chance(0.4) and street.is_free(start + length / 2, length / 2 + 1):
                items.append(plan_hedge(view, side * (curb + width + 0.6), start, length))
        for z in _every(view.uniform(14, 26), view.uniform(4, 22), 60):
            if street.is_free(z):
                items.append(plan_lamp_post(view, side * (curb + 0.35), z, side))
        for _ in range(int(view.uniform(0, 4))):
            items.append(plan_sign(view, side * (curb + view.uniform(0.4, 0.8)), view.uniform(4.5, 20)))
        for _ in range(int(view.uniform(0, 6))):
            x = curb + view.uniform(0.4, max(0.5, width - 0.3))
            items.append(plan_person(view, side * x, view.uniform(3.5, 24)))
        if view.chance(0.5):
            x, z = side * (curb + width - 0.4), view.uniform(4, 16)
            for number in range(int(view.uniform(1, 4))):
                heading = float(view.rng.normal(np.pi / 2, 0.4))
                items.append(plan_bicycle(view, x, z + number * 0.8, heading, ridden=False))
    return items


def plan_traffic(view: View, street: Street) -> list[Item]:
    """Place cars that are parked, that drive along or across, cyclists and people who cross the road."""
    items = [item for side in (-1, 1) for item in _plan_parked_cars(view, street, side)]
    left, right = -street.curb(-1), street.curb(1)
    for z in _every(view.uniform(9, 26), view.uniform(10, 29), 75):
        if view.chance(0.7):
            items.append(plan_car(view, float(view.rng.normal(0, 0.25)), z, float(view.rng.normal(0, 0.03))))
    oncoming = max(left + 3.0, left * 0.55)
    for z in _every(view.uniform(10, 26), view.uniform(6, 26), 75):
        if left < -4.6 and view.chance(0.7):
            items.append(plan_car(view, oncoming, z, float(view.rng.normal(np.pi, 0.03))))
    if street.has_crossing and view.chance(0.6):
        z, heading = sum(street.crossing) / 2, pick(view.rng, (np.pi / 2, -np.pi / 2))
        items.append(plan_car(view, view.uniform(-8, 8), z, heading + float(view.rng.normal(0, 0.1))))
    for _ in range(int(view.uniform(0, 3))):
        heading = pick(view.rng, (0.0, np.pi, np.pi / 2)) + float(view.rng.normal(0, 0.25))
        x, z = view.uniform(left + 0.8, right - 0.5), view.uniform(4.5, 18)
        items.append(plan_bicycle(view, x, z, heading, ridden=True))
    if view.chance(0.4):
        z = street.crossing[0] - 2 if street.has_crossing else view.uniform(6, 16)
        for _ in range(int(view.uniform(1, 4))):
            items.append(plan_person(view, view.uniform(left, right), z + view.uniform(-1, 1)))
    return items


def _plan_parked_cars(view: View, street: Street, side: int) -> list[Item]:
    items: list[Item] = []
    if street.curb(side) < 3.4 or not view.chance(0.8):
        return items
    x, z = side * (street.curb(side) - 1.05), view.uniform(3.5, 9)
    while z < 55:
        heading = float(view.rng.normal(0, 0.03)) + (np.pi if side < 0 and view.chance(0.85) else 0.0)
        if view.chance(0.7) and street.is_free(z):
            items.append(plan_car(view, x, z, heading))
        z += view.uniform(5.4, 7.5)
    return items


def _every(step: float, start: float, end: float) -> list[float]:
    return [float(z) for z in np.arange(start, end, step)]
