"""Trees: a trunk and a ragged crown; both are vegetation, as in Cityscapes."""

from __future__ import annotations

import math

import numpy as np

from artoolkit.data.street.camera import upright_face
from artoolkit.data.street.canvas import Canvas, Id
from artoolkit.data.street.light import Light
from artoolkit.data.street.noise import Texture
from artoolkit.data.street.plan import Thing


def tree(canvas: Canvas, thing: Thing, light: Light, texture: Texture) -> None:
    """Leafy, or bare enough that the sky shows through; lit from the sun's side."""
    rng = np.random.default_rng(thing.seed)
    height, spread = rng.uniform(4.0, 10.5), rng.uniform(1.3, 3.2)
    clear = rng.uniform(0.22, 0.4) * height
    camera, z = canvas.camera, thing.z
    scale, u = camera.pixels_per_metre(z), camera.u(thing.x, z)
    half = max(0.6, rng.uniform(0.1, 0.22) * scale)
    trunk = (74.0, 62.0, 52.0) if rng.random() < 0.7 else (110.0, 102.0, 92.0)
    foot, fork = camera.v(0, z), camera.v(clear + 1, z)
    stem = [(u - half * 0.7, fork), (u + half * 0.7, fork), (u + half, foot), (u - half, foot)]
    canvas.polygon(stem, trunk, Id.VEGETATION, z)
    face = upright_face(camera, (thing.x - spread, z), (thing.x + spread, z), clear, height)
    if face is None:
        return
    dx, dy = face.along / spread - 1, (face.up - clear) / (height - clear) * 2 - 1
    shift = float(rng.uniform(0, 40))
    fine = 2.0 ** min(6, max(1, round(math.log2(scale / 3))))  # leaves of about three pixels
    rough = texture.smooth(face.along + shift, face.up, 12) + 0.4 * texture.grain(
        face.along + shift, face.up, fine)  # fmt: skip
    dense = rng.uniform(0.35, 0.85)
    filled = dx**2 + dy**2 + 0.75 * rough < dense + 0.35 * (rough > -0.2)
    leaf = rng.choice([[62, 88, 42], [84, 104, 52], [50, 70, 44], [116, 108, 52], [98, 78, 52]])
    shade = 0.8 + 0.3 * light.sun * dx * light.sun_side + 0.22 * dy + 0.5 * rough
    colors = np.asarray(leaf, np.float32) * np.clip(shade, 0.35, 1.6)[..., None]
    canvas.face(face, colors.astype(np.float32), Id.VEGETATION, shape=filled)
