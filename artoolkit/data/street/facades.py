"""Upright planes along the street: houses with windows, shops and roofs, walls, fences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.street.camera import Camera, Face, upright_face
from artoolkit.data.street.canvas import Canvas, Id, Rgb
from artoolkit.data.street.light import Light
from artoolkit.data.street.noise import Texture
from artoolkit.data.street.plan import Thing

Array = NDArray[np.float32]
# Plaster, stone, brick, concrete, glass: several are road's, pavement's or the sky's colors.
_WALLS: tuple[Rgb, ...] = (
    (206, 196, 176), (188, 176, 160), (166, 154, 142), (214, 208, 200), (146, 108, 88),
    (158, 92, 74), (120, 118, 116), (98, 100, 104), (196, 170, 128), (176, 184, 186),
    (224, 214, 186), (140, 148, 158),
)  # fmt: skip


def facade(canvas: Canvas, thing: Thing, light: Light, texture: Texture) -> None:
    """A house: its front along the street, the side wall that faces the camera, a roof."""
    rng = np.random.default_rng(thing.seed)
    height = rng.uniform(3.2, 7.0) if thing.width_m == 1.0 else rng.uniform(7.0, 21.0)
    color = np.asarray(_WALLS[int(rng.integers(len(_WALLS)))], np.float32)
    color += rng.uniform(-14, 14, 3).astype(np.float32)
    end = thing.z + thing.length_m
    depth = rng.uniform(6, 12)
    outer = thing.x + thing.side * depth
    near = max(thing.z, 1.3)
    shaded = color * (0.9 * light.of_wall(-thing.side))
    _roof(canvas, thing, height, outer, shaded, rng)
    gable = upright_face(canvas.camera, (thing.x, near), (outer, near), 0, height)
    if gable is not None and thing.z > 1.3:
        _lay(canvas, gable, shaded, height, texture, rng, False)
    front = upright_face(canvas.camera, (thing.x, thing.z), (thing.x, end), 0, height)
    if front is not None:
        _lay(canvas, front, color * light.of_wall(thing.side), height, texture, rng, True)


def _roof(
    canvas: Canvas, thing: Thing, height: float, outer: float, wall: Array,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """A plane that leans away from the street above the eaves, and the gable under it."""
    if rng.random() < 0.35 or thing.z + thing.length_m < 2:
        return
    camera, rise = canvas.camera, rng.uniform(1.2, 3.2)
    ridge = (thing.x + outer) / 2
    z0, z1 = max(thing.z, 1.6), thing.z + thing.length_m
    corners = [(thing.x, height, z0), (thing.x, height, z1), (ridge, height + rise, z1),
               (ridge, height + rise, z0)]  # fmt: skip
    color = [(122, 66, 50), (86, 76, 74), (70, 72, 80), (140, 88, 64)][int(rng.integers(4))]
    points = [(camera.u(x, z), camera.v(y, z)) for x, y, z in corners]
    canvas.polygon(points, color, Id.BUILDING, (z0 + z1) / 2)
    red, green, blue = (float(c) for c in wall)
    gable = [(camera.u(x, z0), camera.v(y, z0)) for x, y in
             ((thing.x, height), (ridge, height + rise), (outer, height))]  # fmt: skip
    canvas.polygon(gable, (red, green, blue), Id.BUILDING, z0)


def _lay(
    canvas: Canvas, face: Face, color: Array, height: float, texture: Texture,
    rng: np.random.Generator, windows: bool,
) -> None:  # fmt: skip
    along, up = face.along, face.up
    colors = np.empty((*up.shape, 3), np.float32)
    colors[:] = color
    fine = min(1.0, 22.0 / face.distance_m)
    colors *= (1 + 0.07 * texture.smooth(along, up, 5) + 0.08 * fine * texture.grain(along, up, 9)
               - 0.12 * np.clip(1 - up / 2.5, 0, 1))[..., None]  # fmt: skip
    if rng.random() < 0.35 and fine > 0.5:
        course = (np.mod(up, 0.3) < 0.05) | (np.mod(along + 0.25 * np.floor(up / 0.3), 0.5) < 0.04)
        colors[course] *= 0.9
    if windows or rng.random() < 0.4:
        _windows(colors, along, up, height, rng, texture)
    colors[(up > height - 0.35) & (up <= height)] *= rng.choice([0.75, 1.15])
    canvas.face(face, colors, Id.BUILDING)


def _windows(
    colors: Array, along: Array, up: Array, height: float, rng: np.random.Generator,
    texture: Texture,
) -> None:  # fmt: skip
    floor, bay = rng.uniform(2.7, 3.6), rng.uniform(1.8, 3.4)
    wide, sill, top = bay * rng.uniform(0.35, 0.75), rng.uniform(0.6, 1.0), floor * 0.82
    across, level = np.mod(along + bay, bay) - bay / 2, np.mod(up, floor)
    upper = (up > floor) & (up < height - 0.5)
    rim = 0.09
    frame = upper & (np.abs(across) < wide / 2 + rim) & (level > sill - rim) & (level < top + rim)
    pane = upper & (np.abs(across) < wide / 2) & (level > sill) & (level < top)
    if rng.random() < 0.7:
        pane &= (np.abs(across) > 0.05) & (np.abs(level - (sill + top) / 2) > 0.03)
    colors[frame] = colors[frame] * rng.choice([0.7, 1.25]) + rng.uniform(-8, 8)
    # Each pane mirrors another piece of the sky, or a curtain.
    glint = texture.grain(np.floor(along / bay), np.floor(up / floor) * 7, 1.0)
    glass = (58 + 60 * np.clip(glint, -0.6, 1.2) + 22 * (level - sill))[..., None]
    colors[pane] = (glass * np.array([0.86, 0.97, 1.1], np.float32))[pane]
    ground = (up > 0.25) & (up < floor * 0.86)
    if rng.random() < 0.55:  # shops: wide panes under a colored sign
        shop = ground & (np.abs(across) < bay * 0.44)
        colors[shop] = (glass * 0.8 + 18 * texture.grain(along, up, 3)[..., None])[shop]
        band = (up > floor * 0.86) & (up < floor) & (np.mod(along, 2 * bay) < bay * 1.5)
        colors[band] = rng.uniform(30, 220, 3)
    else:
        door = (up < 2.1) & (np.mod(along, 3 * bay) < 1.0)
        colors[door] = rng.uniform(30, 110, 3)
        low = ground & (np.abs(across) < wide / 2) & (level > sill)
        colors[low & ~door] = (glass * 0.9 * np.ones(3, np.float32))[low & ~door]


def barrier(canvas: Canvas, thing: Thing, light: Light, texture: Texture) -> None:
    """A garden wall, a fence that lets the view through, or a hedge."""
    rng = np.random.default_rng(thing.seed)
    height = rng.uniform(0.8, 2.1)
    face = _along_street(canvas.camera, thing, height)
    if face is None:
        return
    along, up = face.along, face.up
    bright = light.of_wall(thing.side)
    if thing.kind == "wall":
        color = np.asarray(_WALLS[int(rng.integers(len(_WALLS)))], np.float32) * (0.85 * bright)
        colors = color * (1 + 0.16 * texture.smooth(along, up, 6)
                          + 0.1 * texture.grain(along, up, 9))[..., None]  # fmt: skip
        colors[(np.mod(up, 0.25) < 0.04) & (face.distance_m < 30)] *= 0.82
        colors[up > height - 0.12] *= 1.15
        canvas.face(face, colors.astype(np.float32), Id.WALL)
    elif thing.kind == "hedge":
        leaf = np.array([58, 84, 40], np.float32) * bright * rng.uniform(0.8, 1.2)
        colors = leaf * (1 + 0.4 * texture.smooth(along, up, 9)
                         + 0.35 * texture.grain(along, up, 14))[..., None]  # fmt: skip
        ragged = up < height - 0.12 + 0.2 * texture.smooth(along, along, 4)
        canvas.face(face, colors.astype(np.float32), Id.VEGETATION, shape=ragged)
    else:
        _fence(canvas, face, height, bright, texture, rng)


def _fence(
    canvas: Canvas, face: Face, height: float, bright: float, texture: Texture,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    along, up = face.along, face.up
    pitch, thin = rng.uniform(0.12, 0.3), rng.uniform(0.25, 0.7)
    blur = 2.5 / canvas.camera.pixels_per_metre(face.distance_m)  # bars merge when pixels get wide
    bars = (np.mod(along, pitch) < pitch * thin) | (np.mod(along, 2.4) < 0.09)
    rails = (np.abs(up - height + 0.08) < 0.05) | (np.abs(up - 0.2) < 0.05)
    color = [(92, 74, 56), (150, 150, 150), (60, 64, 62), (196, 190, 180)][int(rng.integers(4))]
    colors = np.asarray(color, np.float32) * bright * (
        1 + 0.15 * texture.grain(along, up, 8))[..., None]  # fmt: skip
    solid = bars | rails if blur < pitch else texture.grain(along, up, 37) < 0.9 * thin - 0.1
    canvas.face(face, colors.astype(np.float32), Id.FENCE, painted=solid)


def _along_street(camera: Camera, thing: Thing, height: float) -> Face | None:
    return upright_face(
        camera, (thing.x, thing.z), (thing.x, thing.z + thing.length_m), 0.0, height
    )
