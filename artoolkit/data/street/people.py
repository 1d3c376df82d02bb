"""People on foot, and two-wheelers with or without a rider: silhouettes that stand upright."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from artoolkit.data.street.canvas import Canvas, Id, Point, Rgb
from artoolkit.data.street.plan import Thing

_CLOTHES: tuple[Rgb, ...] = (
    (34, 36, 42), (52, 56, 66), (40, 54, 92), (112, 108, 102), (140, 40, 44), (180, 176, 166),
    (70, 84, 60), (196, 150, 60), (92, 70, 58), (220, 220, 222), (60, 110, 130), (150, 90, 110),
)  # fmt: skip
_SKIN: tuple[Rgb, ...] = ((222, 184, 158), (198, 152, 122), (142, 98, 74), (92, 64, 50))

Place = Callable[[float, float], Point]


def _placer(canvas: Canvas, thing: Thing) -> tuple[Place, float]:
    """Metres beside and above the thing's foot -> pixels; and pixels per metre."""
    camera = canvas.camera
    scale, foot = camera.pixels_per_metre(thing.z), camera.u(thing.x, thing.z)
    return (lambda dx, y: (foot + dx * scale, camera.v(y, thing.z))), scale


def _limbs(
    canvas: Canvas, at: Place, points: Sequence[Point], color: Rgb, label: Id, z: float
) -> None:
    canvas.polygon([at(dx, y) for dx, y in points], color, label, z)


def person(canvas: Canvas, thing: Thing) -> None:
    """Someone standing or walking; the stride, clothes and bags vary."""
    rng = np.random.default_rng(thing.seed)
    at, scale = _placer(canvas, thing)
    h = rng.uniform(1.5, 1.92) if rng.random() < 0.9 else rng.uniform(1.0, 1.35)
    top, trousers = (_CLOTHES[int(i)] for i in rng.integers(len(_CLOTHES), size=2))
    stride, wide = rng.uniform(0.0, 0.34), rng.uniform(0.19, 0.27)
    z, hip, shoulder = thing.z, 0.5 * h, 0.82 * h
    for way in (-1, 1):
        foot = way * stride
        leg = [(way * 0.02, hip), (way * 0.16, hip), (foot + way * 0.1, 0.05), (foot + 0.16, 0),
               (foot - 0.04, 0)]  # fmt: skip
        _limbs(canvas, at, leg, trousers, Id.PERSON, z)
    coat = hip - rng.uniform(0.02, 0.2) * h
    if rng.random() < 0.3:
        side = rng.choice([-1, 1])
        _limbs(canvas, at, [(side * 0.2, coat), (side * 0.42, coat), (side * 0.4, coat + 0.35),
                            (side * 0.2, coat + 0.4)], _CLOTHES[int(rng.integers(12))],
               Id.PERSON, z)  # fmt: skip
    for way in (-1, 1):
        hand = way * (wide + rng.uniform(0.02, 0.14))
        _limbs(canvas, at, [(way * wide * 0.7, shoulder), (way * wide, shoulder - 0.03),
                            (hand + 0.05, hip), (hand - 0.05, hip)], _darker(top, 0.88),
               Id.PERSON, z)  # fmt: skip
    _limbs(canvas, at, [(-wide, shoulder), (wide, shoulder), (wide * 0.85, coat),
                        (-wide * 0.85, coat)], top, Id.PERSON, z)  # fmt: skip
    _head(canvas, at, (0.0, 0.915 * h), scale, Id.PERSON, z, rng)


def _head(
    canvas: Canvas, at: Place, place: Point, scale: float, label: Id, z: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    skin = _SKIN[int(rng.integers(len(_SKIN)))]
    hair = rng.choice([30.0, 60.0, 110.0, 170.0])
    canvas.ellipse(at(*place), (0.1 * scale, 0.135 * scale), skin, label, z)
    above = at(place[0], place[1] + 0.06)
    canvas.ellipse(above, (0.105 * scale, 0.085 * scale), (hair, hair * 0.85, hair * 0.7), label, z)


def _darker(color: Rgb, factor: float) -> Rgb:
    return color[0] * factor, color[1] * factor, color[2] * factor


def two_wheeler(canvas: Canvas, thing: Thing) -> None:
    """`bicycle` and `motorcycle` stand; a `rider` sits on either. From behind or from the side."""
    rng = np.random.default_rng(thing.seed)
    at, scale = _placer(canvas, thing)
    motor = thing.kind == "motorcycle" or (thing.kind == "rider" and rng.random() < 0.25)
    label = Id.MOTORCYCLE if motor else Id.BICYCLE
    sideways = thing.kind == "bicycle" or rng.random() < 0.25
    paint = _CLOTHES[int(rng.integers(len(_CLOTHES)))]
    if sideways:
        _from_side(canvas, at, scale, paint, label, thing.z, motor)
    else:
        _from_behind(canvas, at, scale, paint, label, thing.z, motor)
    if thing.kind == "rider" or (motor and rng.random() < 0.35):
        _rider(canvas, at, scale, thing.z, rng, sideways)


def _from_side(
    canvas: Canvas, at: Place, scale: float, paint: Rgb, label: Id, z: float, motor: bool
) -> None:
    radius = 0.31 if motor else 0.34
    thick = max(1, round((0.1 if motor else 0.05) * scale))
    for dx in (-0.53, 0.53):
        canvas.ellipse(at(dx, radius), (radius * scale, radius * scale), (30, 30, 30), label, z,
                       ring=thick)  # fmt: skip
    if motor:
        body = [(-0.62, 0.75), (-0.1, 0.82), (0.25, 0.95), (0.45, 0.8), (0.3, 0.35), (-0.3, 0.35)]
        _limbs(canvas, at, body, paint, label, z)
    bars = [((-0.53, radius), (-0.15, 0.85)), ((-0.15, 0.85), (0.42, 0.8)),
            ((-0.05, 0.3), (0.42, 0.8)), ((-0.15, 0.85), (-0.05, 0.3)), ((0.53, radius),
            (0.4, 1.0)), ((-0.53, radius), (-0.05, 0.3)), ((0.3, 1.02), (0.5, 1.02)),
            ((-0.28, 0.92), (-0.05, 0.92))]  # fmt: skip
    for a, b in bars:
        canvas.line([at(*a), at(*b)], 0.05 * scale, paint, label, z)


def _from_behind(
    canvas: Canvas, at: Place, scale: float, paint: Rgb, label: Id, z: float, motor: bool
) -> None:
    tyre, handle = (0.09, 0.36) if motor else (0.035, 0.29)
    _limbs(canvas, at, [(-tyre, 0), (tyre, 0), (tyre, 0.66), (-tyre, 0.66)], (28, 28, 28), label, z)
    if motor:
        _limbs(canvas, at, [(-0.2, 0.4), (0.2, 0.4), (0.24, 0.85), (-0.24, 0.85)], paint, label, z)
        canvas.ellipse(at(0, 0.72), (0.08 * scale, 0.05 * scale), (170, 30, 30), label, z)
    canvas.line([at(-handle, 1.02), at(handle, 1.02)], 0.05 * scale, paint, label, z)
    canvas.line([at(0, 0.6), at(0, 1.02)], 0.06 * scale, paint, label, z)


def _rider(
    canvas: Canvas, at: Place, scale: float, z: float, rng: np.random.Generator, sideways: bool
) -> None:
    top, trousers = (_CLOTHES[int(i)] for i in rng.integers(len(_CLOTHES), size=2))
    lean = 0.3 if sideways else 0.0
    for way, pedal in ((-1, 0.2), (1, 0.42)):
        x = way * (0.05 if sideways else 0.13)
        knee = x + (0.25 if sideways else way * 0.05)
        _limbs(canvas, at, [(x - 0.09 - lean / 2, 0.95), (x + 0.09 - lean / 2, 0.95),
                            (knee + 0.08, 0.62), (x + 0.06, pedal), (x - 0.06, pedal),
                            (knee - 0.08, 0.62)], trousers, Id.RIDER, z)  # fmt: skip
    wide = 0.2
    _limbs(canvas, at, [(-wide - lean / 2, 0.88), (wide - lean / 2, 0.88), (wide + lean / 2, 1.45),
                        (-wide + lean / 2, 1.45)], top, Id.RIDER, z)  # fmt: skip
    for way in (-1, 1):
        grip = 0.42 if sideways else way * 0.28
        canvas.line([at(way * wide * 0.8 + lean / 2, 1.4), at(grip, 1.04)], 0.09 * scale,
                    _darker(top, 0.9), Id.RIDER, z)  # fmt: skip
    _head(canvas, at, (lean / 2 + 0.05 * lean, 1.6), scale, Id.RIDER, z, rng)
    if rng.random() < 0.6:
        helmet = _CLOTHES[int(rng.integers(len(_CLOTHES)))]
        canvas.ellipse(at(lean / 2, 1.69), (0.13 * scale, 0.09 * scale), helmet, Id.RIDER, z)
