"""The picture and its label map, painted together from far to near, with haze over distance.

Label ids are Cityscapes' (see `Id`), because the files are written in that layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from artoolkit.data.street.camera import Camera, Face

Rgb = tuple[float, float, float]
Point = tuple[float, float]


class Id(IntEnum):
    """Cityscapes label ids that the generator paints."""

    UNLABELED = 0
    EGO_VEHICLE = 1
    OUT_OF_ROI = 3
    STATIC = 4
    GROUND = 6
    ROAD = 7
    SIDEWALK = 8
    PARKING = 9
    BUILDING = 11
    WALL = 12
    FENCE = 13
    POLE = 17
    TRAFFIC_LIGHT = 19
    TRAFFIC_SIGN = 20
    VEGETATION = 21
    TERRAIN = 22
    SKY = 23
    PERSON = 24
    RIDER = 25
    CAR = 26
    TRUCK = 27
    BUS = 28
    TRAIN = 31
    MOTORCYCLE = 32
    BICYCLE = 33


class Canvas:
    """Paints on an RGB image and a label map at once."""

    def __init__(self, camera: Camera, *, haze: Rgb, visibility_m: float) -> None:
        height, width = camera.size_hw
        self.camera = camera
        self.image = Image.new("RGB", (width, height))
        self.labels = Image.new("L", (width, height), int(Id.SKY))
        self._haze, self._visibility_m = haze, visibility_m
        self._paint, self._label = ImageDraw.Draw(self.image), ImageDraw.Draw(self.labels)

    def hazed(self, color: Rgb, z: float) -> tuple[int, int, int]:
        """The color as it looks from `z` metres away."""
        share = math.exp(-z / self._visibility_m)
        red, green, blue = (
            c * share + h * (1 - share) for c, h in zip(color, self._haze, strict=True)
        )
        return _byte(red), _byte(green), _byte(blue)

    def face(
        self,
        face: Face,
        colors: NDArray[np.float32],
        label: Id,
        *,
        shape: NDArray[np.bool_] | None = None,
        painted: NDArray[np.bool_] | None = None,
    ) -> None:
        """Lay h x w x 3 colors over a face; `colors` is used up.

        `shape` is the part of it that the thing fills; `painted` the part of that which hides what
        is behind (a fence's bars), all of it by default.
        """
        shape = face.inside if shape is None else shape & face.inside
        share = math.exp(-face.distance_m / self._visibility_m)
        colors *= np.float32(share)
        colors += np.array(self._haze, np.float32) * np.float32(1 - share)
        pixels = np.clip(colors, 0, 255, out=colors).astype(np.uint8)
        box = (face.left, face.top, face.left + shape.shape[1], face.top + shape.shape[0])
        mask = _mask(shape)
        self.labels.paste(int(label), box, mask)
        visible = mask if painted is None else _mask(shape & painted)
        self.image.paste(Image.fromarray(pixels), box, visible)

    def polygon(self, points: Sequence[Point], color: Rgb, label: Id | None, z: float) -> None:
        self._paint.polygon(list(points), fill=self.hazed(color, z))
        if label is not None:
            self._label.polygon(list(points), fill=int(label))

    def ellipse(
        self, center: Point, radii: Point, color: Rgb, label: Id | None, z: float, *, ring: int = 0
    ) -> None:
        """A disc, or a ring of `ring` pixels whose whole disc gets the label."""
        (u, v), (a, b) = center, radii
        box = [u - a, v - b, u + a, v + b]
        if ring:
            self._paint.ellipse(box, outline=self.hazed(color, z), width=ring)
        else:
            self._paint.ellipse(box, fill=self.hazed(color, z))
        if label is not None:
            self._label.ellipse(box, fill=int(label))

    def line(
        self, points: Sequence[Point], width: float, color: Rgb, label: Id | None, z: float
    ) -> None:
        pixels = max(1, round(width))
        self._paint.line(list(points), fill=self.hazed(color, z), width=pixels)
        if label is not None:
            self._label.line(list(points), fill=int(label), width=pixels)


def _mask(inside: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(inside.view(np.uint8) * np.uint8(255))


def _byte(value: float) -> int:
    return min(255, max(0, int(value)))
