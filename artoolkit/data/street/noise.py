"""Textures: fractal noise, made once a scene and looked up in metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
SIZE = 256


def fractal(
    rng: np.random.Generator, size_hw: tuple[int, int], *, coarsest: int = 4, octaves: int = 4
) -> Array:
    """float32 H x W of mean 0 in [-1, 1]: octaves of random grids, each enlarged smoothly.

    `coarsest` is the number of grid cells over the shorter side of the first octave.
    """
    height, width = size_hw
    total = np.zeros((1, 1), np.float32)
    for octave in range(octaves):
        # Each octave is enlarged only to the next one's grid, so that little work is done at H x W.
        cells = coarsest << octave
        per_cell = cells / min(height, width)
        shape = max(2, round(height * per_cell)), max(2, round(width * per_cell))
        total = _enlarged(total, shape)
        total += 0.6**octave * (rng.random(shape, np.float32) - 0.5)
    total = _enlarged(total, size_hw)
    return np.asarray(total / max(1e-6, float(np.abs(total).max())), np.float32)


def _enlarged(grid: Array, shape: tuple[int, int]) -> Array:
    resized = Image.fromarray(grid).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.array(resized, np.float32)


class Texture:
    """Noise over an endless plane."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._smooth = fractal(rng, (SIZE, SIZE), octaves=6)
        grain: Array = rng.standard_normal((SIZE, SIZE), np.float32)
        self._grain = np.clip(grain, -2.5, 2.5) * np.float32(0.4)

    def smooth(self, x: Array, y: Array, per_metre: float) -> Array:
        """Blotches at `per_metre` texture cells a metre; arrays broadcast."""
        return self._at(self._smooth, x, y, per_metre)

    def grain(self, x: Array, y: Array, per_metre: float) -> Array:
        """Independent cells."""
        return self._at(self._grain, x, y, per_metre)

    @staticmethod
    def _at(field: Array, x: Array, y: Array, per_metre: float) -> Array:
        column = (x * per_metre).astype(np.int32) & (SIZE - 1)
        row = (y * per_metre).astype(np.int32) & (SIZE - 1)
        return np.asarray(field[row, column])
