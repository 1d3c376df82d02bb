"""Poles and what hangs on them: lamps, traffic lights, signs; and bins (static, so void)."""

from __future__ import annotations

import math

import numpy as np

from artoolkit.data.street.canvas import Canvas, Id, Rgb
from artoolkit.data.street.plan import Thing

_METAL: tuple[Rgb, ...] = ((112, 114, 116), (78, 82, 80), (146, 148, 148), (64, 72, 62))


def _shaft(
    canvas: Canvas, thing: Thing, height: float, thick: float, color: Rgb
) -> tuple[float, float, float]:
    """An upright pole; returns its u, the v of its top, and pixels per metre."""
    camera, z = canvas.camera, thing.z
    scale, u = camera.pixels_per_metre(z), camera.u(thing.x, z)
    half = max(0.5, thick * scale / 2)
    foot, top = camera.v(0, z), camera.v(height, z)
    canvas.polygon([(u - half, top), (u + half, top), (u + half, foot), (u - half, foot)], color,
                   Id.POLE, z)  # fmt: skip
    light = (min(255.0, color[0] * 1.3), min(255.0, color[1] * 1.3), min(255.0, color[2] * 1.3))
    canvas.line([(u - half / 2, top), (u - half / 2, foot)], half / 2, light, None, z)
    return u, top, scale


def pole(canvas: Canvas, thing: Thing) -> None:
    """A bare pole or bollard."""
    rng = np.random.default_rng(thing.seed)
    low = rng.random() < 0.4
    _shaft(canvas, thing, rng.uniform(0.8, 1.1) if low else rng.uniform(2.5, 6.0),
           0.16 if low else 0.1, _METAL[int(rng.integers(4))])  # fmt: skip


def lamp(canvas: Canvas, thing: Thing) -> None:
    """A street lamp with an arm over the road."""
    rng = np.random.default_rng(thing.seed)
    height = rng.uniform(5.5, 9.0)
    color = _METAL[int(rng.integers(4))]
    u, top, scale = _shaft(canvas, thing, height, 0.16, color)
    reach = -thing.side * rng.uniform(0.4, 1.8) * scale
    canvas.line([(u, top), (u + reach, top - 0.25 * scale)], 0.09 * scale, color, Id.POLE, thing.z)
    canvas.ellipse((u + reach, top - 0.2 * scale), (0.36 * scale, 0.1 * scale), (206, 204, 190),
                   Id.POLE, thing.z)  # fmt: skip


def traffic_light(canvas: Canvas, thing: Thing) -> None:
    """A signal at eye height, often with a second one on an arm over the road."""
    rng = np.random.default_rng(thing.seed)
    arm = rng.random() < 0.4
    u, top, scale = _shaft(canvas, thing, 5.4 if arm else 3.4, 0.13, _METAL[int(rng.integers(4))])
    lit = int(rng.integers(3))
    _signal(canvas, u, canvas.camera.v(3.3, thing.z), scale, lit, thing.z)
    if arm:
        end = u - thing.side * rng.uniform(1.8, 3.4) * scale
        canvas.line([(u, top), (end, top)], 0.1 * scale, (90, 92, 92), Id.POLE, thing.z)
        _signal(canvas, end, top - 0.1 * scale, scale, lit, thing.z)


def _signal(canvas: Canvas, u: float, top: float, scale: float, lit: int, z: float) -> None:
    half, height = 0.17 * scale, 0.95 * scale
    box = [(u - half, top), (u + half, top), (u + half, top + height), (u - half, top + height)]
    canvas.polygon(box, (32, 36, 34), Id.TRAFFIC_LIGHT, z)
    glow = ((232, 40, 34), (240, 180, 50), (60, 214, 130))
    for i, color in enumerate(glow):
        shown: Rgb = color if i == lit else (58, 58, 54)
        canvas.ellipse((u, top + (0.17 + 0.3 * i) * scale), (0.11 * scale, 0.11 * scale), shown,
                       Id.TRAFFIC_LIGHT, z)  # fmt: skip


def sign(canvas: Canvas, thing: Thing) -> None:
    """Round, triangular or rectangular; sometimes two, or seen from behind."""
    rng = np.random.default_rng(thing.seed)
    height = rng.uniform(2.1, 2.9)
    u, _, scale = _shaft(canvas, thing, height, 0.07, _METAL[int(rng.integers(4))])
    for _ in range(1 + int(rng.random() < 0.3)):
        _plate(canvas, u, canvas.camera.v(height - 0.35, thing.z), scale, thing.z, rng)
        height -= 0.75


def _plate(
    canvas: Canvas, u: float, v: float, scale: float, z: float, rng: np.random.Generator
) -> None:
    size = rng.uniform(0.28, 0.46) * scale
    behind = rng.random() < 0.2
    kind = rng.choice(["round", "triangle", "blue", "panel"])
    red, white, blue = (196, 32, 38), (236, 234, 228), (28, 78, 164)
    if kind == "round":
        outer, inner = (red, white) if rng.random() < 0.7 else (blue, blue)
        canvas.ellipse((u, v), (size, size), _seen(outer, behind), Id.TRAFFIC_SIGN, z)
        canvas.ellipse((u, v), (size * 0.72, size * 0.72), _seen(inner, behind), None, z)
        mark = size * 0.4
        dark = _seen((40, 40, 40), behind)
        canvas.line([(u - mark, v), (u + mark, v)], size * 0.3, dark, None, z)
    elif kind == "triangle":
        for grow, color in ((1.15, red), (0.7, white)):
            points = [(u + grow * size * math.sin(a), v - grow * size * math.cos(a))
                      for a in (0.0, 2.094, 4.189)]  # fmt: skip
            canvas.polygon(points, _seen(color, behind), Id.TRAFFIC_SIGN, z)
    else:
        wide = size * (1.0 if kind == "blue" else rng.uniform(1.2, 1.9))
        fill = blue if kind == "blue" else ((236, 226, 120), white, (60, 120, 70))[rng.integers(3)]
        top, low = v - size, v + size
        box = [(u - wide, top), (u + wide, top), (u + wide, low), (u - wide, low)]
        canvas.polygon(box, _seen(fill, behind), Id.TRAFFIC_SIGN, z)
        for line in (-0.35, 0.2):
            canvas.line([(u - wide * 0.6, v + line * size), (u + wide * 0.6, v + line * size)],
                        size * 0.2, _seen((60, 60, 60), behind), None, z)  # fmt: skip


def _seen(color: Rgb, behind: bool) -> Rgb:
    return (128.0, 130.0, 132.0) if behind else color


def bin_(canvas: Canvas, thing: Thing) -> None:
    """A litter bin or box: what Cityscapes calls static."""
    rng = np.random.default_rng(thing.seed)
    camera, z = canvas.camera, thing.z
    scale, u = camera.pixels_per_metre(z), camera.u(thing.x, z)
    half, height = rng.uniform(0.2, 0.5) * scale, rng.uniform(0.7, 1.3)
    color = [(60, 82, 60), (92, 92, 90), (180, 120, 40), (60, 70, 110)][int(rng.integers(4))]
    top, foot = camera.v(height, z), camera.v(0, z)
    canvas.polygon([(u - half, top), (u + half, top), (u + half * 0.85, foot),
                    (u - half * 0.85, foot)], color, Id.STATIC, z)  # fmt: skip
    lid = (color[0] * 0.7, color[1] * 0.7, color[2] * 0.7)
    canvas.line([(u - half, top), (u + half, top)], 0.1 * scale, lid, Id.STATIC, z)
