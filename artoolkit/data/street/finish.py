"""Effects of the camera: its own bonnet, the frame, exposure, blur and noise; and void seams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFilter

from artoolkit.data.street.canvas import Canvas, Id
from artoolkit.data.street.light import Light
from artoolkit.data.street.noise import fractal


def paint_bonnet(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """The vehicle that carries the camera, at the lower edge."""
    height, width = canvas.camera.size_hw
    top = height * rng.uniform(0.88, 0.95)
    tone = rng.uniform(24, 90)
    u, v = width * rng.uniform(0.47, 0.53), height * 1.35
    radii = (width * 0.72, v - top)
    red, green, blue = (0.5 * c + 0.5 * tone for c in light.sky_low)
    canvas.ellipse((u, v), radii, (tone, tone, tone * 1.06), Id.EGO_VEHICLE, 0.1)
    canvas.ellipse((u, v + height * 0.03), radii, (red, green, blue), None, 0.1)
    canvas.ellipse((u, v + height * 0.055), radii, (tone, tone, tone), None, 0.1)


def finished(
    canvas: Canvas, light: Light, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """uint8 RGB H x W x 3 and uint8 Cityscapes label ids H x W."""
    labels = _seamed(np.array(canvas.labels), rng)
    frame = max(1, round(5 * labels.shape[1] / 2048))  # Cityscapes: 5 of 2048 columns
    image = canvas.image
    blur = rng.uniform(0.35, 0.85) * labels.shape[1] / 512
    image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = _exposed(np.asarray(image, np.float32), light, rng)
    for edge in (np.s_[:frame], np.s_[-frame:], np.s_[:, :frame], np.s_[:, -frame:]):
        labels[edge] = Id.OUT_OF_ROI
        pixels[edge] //= 4
    return pixels, labels


def _exposed(
    pixels: NDArray[np.float32], light: Light, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """White balance, exposure, vignette, uneven light, sensor noise."""
    height, width = pixels.shape[:2]
    exposure = rng.uniform(0.72, 1.15) * (0.72 if light.name == "dusk" else 1.0)
    gain = np.asarray(light.gain, np.float32) * exposure * rng.uniform(0.95, 1.05, 3)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    field = 1 - rng.uniform(0.04, 0.18) * (x * x + y * y) / 2
    field += 0.08 * fractal(rng, (height, width), coarsest=2, octaves=2)
    pixels *= (field[..., None] * gain).astype(np.float32)
    noise = rng.standard_normal((height, width), np.float32) * rng.uniform(1.5, 6.0)
    pixels += noise[..., None]
    pixels += rng.uniform(-1, 1, 3).astype(np.float32) * 2
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _seamed(labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Some borders between things are void, as where an annotator could not tell."""
    doubtful = fractal(rng, (labels.shape[0], labels.shape[1]), coarsest=6, octaves=3) > 0.2
    border = np.zeros(labels.shape, np.bool_)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    for part, change in ((np.s_[:, 1:], across), (np.s_[:, :-1], across),
                         (np.s_[1:], down), (np.s_[:-1], down)):  # fmt: skip
        border[part] |= change
    labels[border & doubtful] = Id.UNLABELED
    return labels
