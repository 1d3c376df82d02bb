"""A pinhole camera above a street, and the pixels of the planes that it sees.

Street coordinates in metres: x to the right of the lane, y up from the ground, z along the street.
`bend` shifts everything by bend * z * z, so that the street curves.
"""

from __future__ import annotations

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
    """What the camera sees of an upright rectangle over a ground line, if anything."""
    height, width = camera.size_hw
    ends = np.array([start_xz, end_xz], np.float64)
    ends[:, 0] += camera.bend * ends[:, 1] ** 2
    length = float(np.hypot(*(ends[1] - ends[0])))
    if ends[:, 1].max() <= NEAR_M:
        return None
    (x0, z0), (x1, z1) = ends
    # Where the line passes the camera, only the part in front of it counts.
    cut = 0.0 if z0 >= NEAR_M else (NEAR_M - z0) / (z1 - z0)
    end = 1.0 if z1 >= NEAR_M else (NEAR_M - z0) / (z1 - z0)
    xs, zs = x0 + np.array([cut, end]) * (x1 - x0), z0 + np.array([cut, end]) * (z1 - z0)
    u = camera.center_u + camera.focal * xs / zs
    v = camera.horizon_v + camera.focal * (camera.height_m - np.array([[bottom_m], [top_m]])) / zs
    left, right = max(0, int(np.floor(u.min()))), min(width, int(np.ceil(u.max())))
    top, bottom = max(0, int(np.floor(v.min()))), min(height, int(np.ceil(v.max())))
    if left >= right or top >= bottom:
        return None
    ray = (np.arange(left, right) + 0.5 - camera.center_u) / camera.focal
    slope = (x1 - x0) - ray * (z1 - z0)
    share = np.clip((ray * z0 - x0) / np.where(np.abs(slope) < 1e-9, 1e-9, slope), cut, end)
    z = z0 + share * (z1 - z0)
    drop = (
        np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - camera.horizon_v
    ) / camera.focal
    up = camera.height_m - drop.astype(np.float32) * z.astype(np.float32)
    along = np.broadcast_to((share * length).astype(np.float32), up.shape)
    inside = (up >= bottom_m) & (up <= top_m)
    return Face(left, top, along, up, inside, float(zs.mean()))
