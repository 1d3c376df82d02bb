"""Cars, trucks, buses and trams: the rear or front, and the side that the camera sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.street.camera import Face, upright_face
from artoolkit.data.street.canvas import Canvas, Id, Rgb
from artoolkit.data.street.light import Light
from artoolkit.data.street.noise import Texture
from artoolkit.data.street.plan import Thing

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

_PAINTS: tuple[Rgb, ...] = (
    (196, 198, 200), (150, 152, 154), (44, 46, 50), (28, 30, 34), (232, 232, 232), (82, 86, 92),
    (126, 30, 28), (34, 52, 96), (58, 78, 66), (170, 160, 140), (108, 96, 84), (190, 40, 34),
)  # fmt: skip
_GLASS = np.array([52, 60, 68], np.float32)
_RED, _WHITE, _AMBER = (176, 28, 26), (238, 234, 214), (226, 140, 40)


@dataclass(frozen=True)
class Body:
    """A silhouette from the side: top height over the length (both 0-1), and its heights in m."""

    label: Id
    height_m: float
    profile: tuple[tuple[float, float], ...]
    belt_m: float  # where the windows begin
    wheel_m: float


_BODIES: dict[str, tuple[Body, ...]] = {
    "car": (
        Body(Id.CAR, 1.46, ((0, 0.5), (0.02, 0.66), (0.12, 0.7), (0.24, 0.98), (0.6, 1.0),
                            (0.76, 0.7), (0.97, 0.58), (1, 0.45)), 0.95, 0.32),
        Body(Id.CAR, 1.52, ((0, 0.55), (0.02, 0.9), (0.06, 1.0), (0.62, 1.0), (0.78, 0.66),
                            (0.97, 0.56), (1, 0.42)), 0.98, 0.33),
        Body(Id.CAR, 1.75, ((0, 0.5), (0.01, 0.94), (0.05, 1.0), (0.64, 1.0), (0.76, 0.66),
                            (0.98, 0.6), (1, 0.4)), 1.08, 0.37),
        Body(Id.CAR, 1.95, ((0, 0.5), (0.005, 1.0), (0.8, 1.0), (0.9, 0.66), (0.99, 0.52),
                            (1, 0.4)), 1.15, 0.34),
    ),
    "truck": (Body(Id.TRUCK, 3.5, ((0, 1.0), (0.74, 1.0), (0.745, 0.72), (0.77, 0.8), (0.96, 0.8),
                                   (1, 0.5)), 1.7, 0.5),),
    "bus": (Body(Id.BUS, 3.1, ((0, 1.0), (0.985, 1.0), (1, 0.93)), 1.25, 0.48),),
    "train": (Body(Id.TRAIN, 3.5, ((0, 1.0), (0.98, 1.0), (1, 0.96)), 1.35, 0.3),),
}  # fmt: skip


def vehicle(canvas: Canvas, thing: Thing, light: Light, texture: Texture) -> None:
    """Paint a vehicle whose nearest end is at `thing.z`."""
    rng = np.random.default_rng(thing.seed)
    bodies = _BODIES[thing.kind]
    body = bodies[int(rng.integers(len(bodies)))]
    paint = np.asarray(_PAINTS[int(rng.integers(len(_PAINTS)))], np.float32)
    if body.label in (Id.BUS, Id.TRAIN):
        paint = np.asarray(rng.choice([[206, 186, 60], [178, 40, 36], [224, 224, 220],
                                       [70, 120, 160], [90, 140, 80]]), np.float32)  # fmt: skip
    paint = paint * rng.uniform(0.85, 1.1)
    half, end = thing.width_m / 2, thing.z + thing.length_m
    camera = canvas.camera
    bend = camera.bend * thing.z**2
    side = -1 if thing.x + bend - half > 0 else 1 if thing.x + bend + half < 0 else 0
    look = _Look(paint * (0.94 + 0.1 * light.sun), texture, int(rng.integers(1 << 31)))
    recess, brow = _recess(body, thing)
    if recess:  # the cabin stands back behind the bonnet or boot
        _end(canvas, body, thing, look, recess, brow - 0.05, body.height_m)
        _lid(canvas, thing, recess, brow, body, look)
    if side:
        x = thing.x + side * half
        # `along` starts at the tail: the near end when driving away, the far end when oncoming.
        ends = ((x, end), (x, thing.z)) if thing.oncoming else ((x, thing.z), (x, end))
        face = upright_face(camera, *ends, 0.0, body.height_m)
        if face is not None:
            _side(canvas, face, body, thing.length_m, paint * light.of_wall(side), rng, texture)
    if thing.z > 1.5:
        _end(canvas, body, thing, look, 0.0, 0.0, brow if recess else body.height_m)


def _side(
    canvas: Canvas, face: Face, body: Body, length: float, paint: Array, rng: np.random.Generator,
    texture: Texture,
) -> None:  # fmt: skip
    share, up = face.along / length, face.up
    knots = np.asarray(body.profile, np.float32)
    top = np.interp(share, knots[:, 0], knots[:, 1] * body.height_m).astype(np.float32)
    axles = (0.17, 0.8) if body.label == Id.CAR else (0.14, 0.24, 0.86)
    radius = body.wheel_m
    spots = [np.hypot(face.along - axle * length, up - radius) for axle in axles]
    wheels = np.minimum.reduce(spots) < radius
    shape = ((up < top) & (up > 0.26)) | wheels
    colors = _shaded(paint, up, body, texture, face.along)
    margin, cabin = 0.09, top > body.belt_m + 0.12
    window = cabin & (up > body.belt_m) & (up < top - margin)
    if body.label == Id.CAR:
        window &= np.mod(share * 4.1, 1.0) > 0.07
    elif body.label == Id.TRUCK:
        window &= share > 0.8
    else:
        window &= (np.mod(face.along, 1.45) > 0.12) & (up < body.height_m - 0.65)
    colors[window] = (_GLASS + 34 * (up - body.belt_m)[..., None])[window]
    if body.label == Id.TRUCK and rng.random() < 0.7:
        box = (share < 0.74) & (up > 0.9)
        colors[box] = (rng.uniform(60, 235, 3) * (1 + 0.06 * texture.smooth(face.along, up, 3)
                                                  )[..., None])[box]  # fmt: skip
    if body.label in (Id.BUS, Id.TRAIN):
        colors[(up > 0.55) & (up < 0.8)] = rng.uniform(40, 230, 3)
    colors[(up < 0.36) & ~wheels] *= 0.45
    colors[wheels] = 26
    colors[np.minimum.reduce(spots) < radius * 0.55] = rng.uniform(80, 170)
    canvas.face(face, colors, body.label, shape=shape)


@dataclass(frozen=True)
class _Look:
    paint: Array
    texture: Texture
    seed: int


def _recess(body: Body, thing: Thing) -> tuple[float, float]:
    """Distance of the cabin from the visible end, and the height of what is before it."""
    knots = np.asarray(body.profile)
    shares, heights = knots[:, 0], knots[:, 1]
    full = shares[heights > 0.97]
    if thing.oncoming:
        recess, brow = (1 - full.max()) * 0.72, np.interp(0.95, shares, heights)
    else:
        recess, brow = full.min(), np.interp(0.04, shares, heights)
    if recess * thing.length_m < 0.45 or brow > 0.85:
        return 0.0, body.height_m
    return float(recess * thing.length_m), float(brow * body.height_m)


def _lid(canvas: Canvas, thing: Thing, recess: float, brow: float, body: Body, look: _Look) -> None:
    """The bonnet or boot from above."""
    camera, half, z = canvas.camera, thing.width_m / 2, max(thing.z, 1.5)
    low, back, inner = brow - 0.03, z + recess, half * 0.94
    corners = [(-half, low, z), (half, low, z), (inner, body.belt_m, back),
               (-inner, body.belt_m, back)]  # fmt: skip
    points = [(camera.u(thing.x + dx, at), camera.v(y, at)) for dx, y, at in corners]
    red, green, blue = (float(c) * 1.12 for c in look.paint)
    canvas.polygon(points, (red, green, blue), body.label, thing.z)


def _end(
    canvas: Canvas, body: Body, thing: Thing, look: _Look, behind: float, bottom: float, top: float
) -> None:
    """Rear when driving away, front when oncoming; the part between two heights."""
    rng, z = np.random.default_rng(look.seed), thing.z + behind
    side = thing.width_m / 2
    face = upright_face(canvas.camera, (thing.x - side, z), (thing.x + side, z), bottom, top)
    if face is None:
        return
    off, up, half = np.abs(face.along - thing.width_m / 2), face.up, thing.width_m / 2
    tall = body.label != Id.CAR
    lean = 0.05 if tall else 0.36
    narrow = half - lean * np.clip(up - body.belt_m, 0, None)
    corner = np.clip(up - body.height_m + 0.14, 0, None)
    wheels = (up < 0.34) & (off > half - 0.24) & (off < half - 0.02)
    shape = ((off < narrow - corner) & (up > 0.21)) | wheels
    colors = _shaded(look.paint, up, body, look.texture, face.along)
    low, high = body.belt_m, body.height_m - (0.55 if tall else 0.14)
    glazed = body.label != Id.TRUCK or thing.oncoming
    window = (off < narrow - 0.12) & (up > low) & (up < high)
    if glazed:
        colors[window] = (_GLASS + 46 * (up - low)[..., None])[window]
        colors[window & (np.mod(face.along * 1.3 + up, 0.9) < 0.25)] *= 1.25
    lamp_y = body.belt_m - 0.22 if not tall else 0.95
    lamp = (off > half * 0.62) & (off < half - 0.03) & (np.abs(up - lamp_y) < 0.1)
    colors[lamp] = _WHITE if thing.oncoming else _RED
    if thing.oncoming:
        colors[(off < half * 0.55) & (np.abs(up - lamp_y + 0.04) < 0.09)] = 30
    elif rng.random() < 0.3:
        colors[lamp & (np.abs(up - lamp_y) < 0.04)] = _AMBER
    colors[(off < 0.27) & (np.abs(up - 0.5 - 0.2 * tall) < 0.06)] = (232, 230, 220)
    colors[(up < 0.42) & ~wheels] *= 0.5
    colors[wheels] = 22
    if tall and not thing.oncoming and body.label == Id.TRUCK:
        colors[(off < 0.03) & (up > 0.9)] *= 0.6
    canvas.face(face, colors, body.label, shape=shape)


def _shaded(paint: Array, up: Array, body: Body, texture: Texture, along: Array) -> Array:
    """Paint that mirrors the sky above and the road below."""
    relative = up / body.height_m
    sheen = 0.72 + 0.42 * relative + 0.1 * np.sin(7 * relative)
    sheen += 0.05 * texture.smooth(along, up, 5)
    return np.asarray(paint * sheen[..., None], np.float32)
