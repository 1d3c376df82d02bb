"""The sky and what closes the view at the end of the street."""

from __future__ import annotations

import numpy as np
from PIL import Image

from artoolkit.data.street.canvas import Canvas, Id
from artoolkit.data.street.light import Light
from artoolkit.data.street.noise import fractal


def paint_sky(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """A gradient towards the horizon, brighter near the sun, with clouds."""
    height, width = canvas.camera.size_hw
    rows = max(2, min(height, int(canvas.camera.horizon_v) + 2))
    down = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 0.8
    top, low = np.asarray(light.sky_top, np.float32), np.asarray(light.sky_low, np.float32)
    colors = top + (low - top) * down
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    near_sun = across if light.sun_side > 0 else 1 - across
    colors = colors * (1 + 0.12 * light.sun * near_sun**2)
    cover = fractal(rng, (rows, width), coarsest=3, octaves=5)[..., None]
    bright = np.float32(244 if light.name != "dusk" else 206)
    share = np.clip((cover + light.clouds - 0.75) * 2.2, 0, 0.85) * np.float32(0.9)
    shaded = bright - 46 * np.clip(cover - 0.1, 0, 1)
    pixels = np.clip(colors * (1 - share) + shaded * share, 0, 255).astype(np.uint8)
    canvas.image.paste(Image.fromarray(pixels), (0, 0))


def paint_far(canvas: Canvas, rng: np.random.Generator) -> None:
    """A skyline of far trees, hills or houses just above the horizon."""
    height, width = canvas.camera.size_hw
    horizon = canvas.camera.horizon_v
    line = fractal(rng, (8, max(16, width)), coarsest=2, octaves=3)[4]
    wooded = rng.random() < 0.6
    tall = height * rng.uniform(0.02, 0.07)
    if not wooded:  # roofs: steps in place of a soft line
        line = np.repeat(rng.uniform(-1, 1, width // 12 + 1), 12)[:width].astype(np.float32)
    top = horizon - tall * (1.2 + 0.8 * line)
    step = 3 if wooded else 1
    points = [(float(u), float(top[u])) for u in range(0, width, step)]
    points += [(float(width), horizon + 2), (0.0, horizon + 2)]
    color = (70.0, 88.0, 66.0) if wooded else (128.0, 120.0, 116.0)
    label = Id.VEGETATION if wooded else Id.BUILDING
    canvas.polygon(points, color, label, z=160.0)
