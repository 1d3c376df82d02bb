"""A pinhole camera above a street, and the pixels of the planes that it sees.

Street coordinates in metres: x to the right of the lane, y up from the ground, z along the street.
`bend` shifts everything by bend * z * z, so that the street curves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
NEAR_M = 1.2


@dataclass(frozen=True)
class Camera:
    """`focal`, `center_u` and `horizon_v` in pixels, `height_m` above the ground."""

    size_hw: tuple[int, int]
    focal: float
    center_u: float
    horizon_v: float
    height_m: float
    bend: float

    def u(self, x: float, z: float) -> float:
        return self.center_u + self.focal * (x / z + self.bend * z)

    def v(self, y: float, z: float) -> float:
        return self.horizon_v + self.focal * (self.height_m - y) / z

    def pixels_per_metre(self, z: float) -> float:
        return self.focal / z

    def ground(self) -> tuple[int, Array, Array]:
        """First row below the horizon; x (rows x W) and z (rows x 1) of the ground's pixels."""
        height, width = self.size_hw
        first = max(0, int(np.ceil(self.horizon_v + 0.5)))
        rows = np.arange(first, height, dtype=np.float32)[:, None] + 0.5
        z = (self.focal * self.height_m / (rows - self.horizon_v)).astype(np.float32)
        columns = np.arange(width, dtype=np.float32)[None] + 0.5
        x = z * ((columns - self.center_u) / self.focal - self.bend * z)
        return first, x.astype(np.float32), z


def random_camera(rng: np.random.Generator, size_hw: tuple[int, int]) -> Camera:
    """Mounted behind a windscreen, as Cityscapes' camera is: 49 degrees wide, slightly tilted."""
    height, width = size_hw
    return Camera(
        size_hw=size_hw,
        focal=width * rng.uniform(0.95, 1.15),
        center_u=width * rng.uniform(0.42, 0.58),
        horizon_v=height * rng.uniform(0.38, 0.47),
        height_m=rng.uniform(1.2, 1.6),
        bend=float(rng.choice([0.0, rng.uniform(-8e-4, 8e-4)])),
    )


@dataclass(frozen=True)
class Face:
    """The pixels of an upright rectangle: `along` and `up` are its own coordinates in metres."""

    left: int
    top: int
    along: Array
    up: Array
    inside: NDArray[np.bool_]
    distance_m: float


def upright_face(
    camera: Camera,
    start_xz: tuple[float, float],
    end_xz: tuple[float, float],
    bottom_m: float,
    top_m: float,
) -> Face | None:
    """Visible part of an upright rectangle over a ground line, or None."""
    # Plain floats up to the pixels: scenes have a hundred faces, and most are small.
    (x0, z0), (x1, z1) = start_xz, end_xz
    x0, x1 = x0 + camera.bend * z0 * z0, x1 + camera.bend * z1 * z1
    if max(z0, z1) <= NEAR_M:
        return None
    # Where the line passes the camera, only the part in front of it counts.
    first = 0.0 if z0 >= NEAR_M else (NEAR_M - z0) / (z1 - z0)
    last = 1.0 if z1 >= NEAR_M else (NEAR_M - z0) / (z1 - z0)
    ends = [(x0 + share * (x1 - x0), z0 + share * (z1 - z0)) for share in (first, last)]
    box = _box(camera, ends, bottom_m, top_m)
    if box is None:
        return None
    left, top, right, bottom = box
    ray = (np.arange(left, right) + (0.5 - camera.center_u)) / camera.focal
    slope = (x1 - x0) - ray * (z1 - z0)
    slope[np.abs(slope) < 1e-9] = 1e-9
    share = np.clip((ray * z0 - x0) / slope, first, last)
    z = (z0 + share * (z1 - z0)).astype(np.float32)
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    up = np.float32(camera.height_m) - (rows + np.float32(0.5 - camera.horizon_v)) * (
        z / np.float32(camera.focal)
    )
    along = np.broadcast_to((share * math.hypot(x1 - x0, z1 - z0)).astype(np.float32), up.shape)
    inside = (up >= bottom_m) & (up <= top_m)
    return Face(left, top, along, up, inside, (ends[0][1] + ends[1][1]) / 2)


def _box(
    camera: Camera, ends: list[tuple[float, float]], bottom_m: float, top_m: float
) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the pixels that a face may fill, None if there are none."""
    height, width = camera.size_hw
    us = [camera.center_u + camera.focal * x / z for x, z in ends]
    vs = [camera.v(y, z) for _, z in ends for y in (bottom_m, top_m)]
    left, right = max(0, math.floor(min(us))), min(width, math.ceil(max(us)))
    top, bottom = max(0, math.floor(min(vs))), min(height, math.ceil(max(vs)))
    return (left, top, right, bottom) if left < right and top < bottom else None
