"""One street scene from one seed: plan it, then paint from far to near."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.street import facades, finish, furniture, people, plants, vehicles
from artoolkit.data.street.camera import NEAR_M, random_camera
from artoolkit.data.street.canvas import Canvas
from artoolkit.data.street.ground import paint_ground
from artoolkit.data.street.light import Light, random_light
from artoolkit.data.street.noise import Texture
from artoolkit.data.street.plan import Thing, random_street
from artoolkit.data.street.sky import paint_far, paint_sky


def street_scene(
    seed: int | Sequence[int], size_hw: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """uint8 RGB H x W x 3 and uint8 Cityscapes label ids H x W, both functions of the seed."""
    rng = np.random.default_rng(seed)
    camera, light, street = random_camera(rng, size_hw), random_light(rng), random_street(rng)
    texture = Texture(rng)
    canvas = Canvas(camera, haze=light.sky_low, visibility_m=light.visibility_m)
    paint_sky(canvas, light, rng)
    paint_far(canvas, rng)
    paint_ground(canvas, street, light, texture, rng)
    for thing in sorted(street.things, key=_depth, reverse=True):
        if thing.z + thing.length_m > NEAR_M + 0.4:
            _paint(canvas, thing, light, texture)
    finish.paint_bonnet(canvas, light, rng)
    return finish.finished(canvas, light, rng)


def _depth(thing: Thing) -> tuple[float, float]:
    """Painting order: by the middle of long things; at equal depth from the outside in."""
    long = thing.kind in ("building", "wall", "fence", "hedge")
    return thing.z + (thing.length_m / 2 if long else 0), abs(thing.x)


def _paint(canvas: Canvas, thing: Thing, light: Light, texture: Texture) -> None:
    if thing.kind == "building":
        facades.facade(canvas, thing, light, texture)
    elif thing.kind in ("wall", "fence", "hedge"):
        facades.barrier(canvas, thing, light, texture)
    elif thing.kind in ("car", "truck", "bus", "train"):
        vehicles.vehicle(canvas, thing, light, texture)
    elif thing.kind == "tree":
        plants.tree(canvas, thing, light, texture)
    elif thing.z > NEAR_M + 0.8:
        _UPRIGHT[thing.kind](canvas, thing)


_UPRIGHT = {
    "person": people.person,
    "rider": people.two_wheeler,
    "bicycle": people.two_wheeler,
    "motorcycle": people.two_wheeler,
    "pole": furniture.pole,
    "lamp": furniture.lamp,
    "light": furniture.traffic_light,
    "sign": furniture.sign,
    "bin": furniture.bin_,
}
