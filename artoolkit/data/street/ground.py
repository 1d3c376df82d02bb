"""The ground: carriageway with markings, kerbs, pavement, verges, cross street, and shadows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artoolkit.data.street.canvas import Canvas, Id
from artoolkit.data.street.light import Light
from artoolkit.data.street.noise import Texture
from artoolkit.data.street.plan import FAR_M, JUNCTION_M, Street

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
_KERB_M = 0.18


def paint_ground(
    canvas: Canvas, street: Street, light: Light, texture: Texture, rng: np.random.Generator
) -> None:
    """Everything below the horizon, per pixel, from its place on the ground."""
    first, x, z = canvas.camera.ground()
    labels = _labels(street, x, z, rng)
    sharp = np.clip(14.0 / z, 0, 1)  # how much of a fine texture survives at this distance
    colors = _base(labels, street, x, z, rng)
    rough = 0.10 * texture.smooth(x, z, 6) + sharp * 0.12 * texture.grain(x, z, 40)
    colors *= 1 + rough[..., None]
    _wear(colors, labels, texture, x, z, rng)
    _markings(colors, labels == Id.ROAD, street, x, z, texture, rng)
    colors *= _shade(street, light, x, z, rng)[..., None]
    share = np.exp(-np.minimum(z, 400.0) / light.visibility_m)[..., None].astype(np.float32)
    colors = colors * share + np.asarray(light.sky_low, np.float32) * (1 - share)
    canvas.image.paste(Image.fromarray(np.clip(colors, 0, 255).astype(np.uint8)), (0, first))
    canvas.labels.paste(Image.fromarray(labels), (0, first))


def _labels(street: Street, x: Array, z: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    labels = np.full(x.shape, Id.TERRAIN if rng.random() < 0.6 else Id.SIDEWALK, np.uint8)
    parking = rng.random() < 0.12
    for side in (-1, 1):
        beyond = x * side  # grows away from the street on this side
        edge, (pavement, verge) = street.edge(side) * side, _widths(street, side)
        labels[(beyond > edge) & (beyond < edge + verge)] = Id.TERRAIN
        paved = (beyond > edge + verge) & (beyond < edge + verge + pavement)
        labels[paved] = Id.SIDEWALK
        labels[(beyond > 0) & (beyond <= edge)] = Id.ROAD
        if parking and side > 0:
            labels[(beyond > edge - 2.1) & (beyond <= edge)] = Id.PARKING
        for start, end, at, kind in street.blocks:
            if at == side and kind != "park":
                yard = (beyond > edge + verge + pavement) & (z > start) & (z < end)
                labels[yard & (labels == Id.TERRAIN)] = Id.SIDEWALK if kind == "building" else (
                    Id.TERRAIN if end - start > 14 else Id.GROUND)  # fmt: skip
        labels[(beyond > edge) & (beyond < edge + _KERB_M)] = Id.SIDEWALK
    if street.junction_z is not None:
        crossing = (z > street.junction_z + 2) & (z < street.junction_z + JUNCTION_M - 2)
        labels[np.broadcast_to(crossing, x.shape)] = Id.ROAD
    return labels


def _widths(street: Street, side: int) -> tuple[float, float]:
    i = 0 if side < 0 else 1
    return street.pavement_m[i], street.verge_m[i]


def _base(
    labels: NDArray[np.uint8], street: Street, x: Array, z: Array, rng: np.random.Generator
) -> Array:
    asphalt = rng.uniform(72, 124)
    stone = asphalt + rng.uniform(-4, 52)
    tint = rng.uniform(-6, 6, 3)
    table = np.full((256, 3), stone, np.float32)
    table[[Id.ROAD, Id.PARKING]] = asphalt + np.array([0, 0, 3]) + tint * 0.4
    table[Id.SIDEWALK] = stone + np.array([4, 1, -5]) + tint
    table[Id.GROUND] = np.array([142, 128, 110]) + 2 * tint
    grass = np.array([92, 112, 58]) if rng.random() < 0.75 else np.array([138, 126, 84])
    table[Id.TERRAIN] = grass * rng.uniform(0.75, 1.15)
    colors: Array = table[labels]
    # Slabs and setts: joints that fade with distance.
    pitch = rng.uniform(0.3, 0.9)
    joint = (np.mod(x, pitch) < 0.05) | (np.mod(z, pitch) < 0.06)
    colors[joint & (labels == Id.SIDEWALK) & (z < 16)] *= 0.86
    for side in (-1, 1):
        beyond, edge = x * side, street.edge(side) * side
        colors[(beyond > edge) & (beyond < edge + _KERB_M)] = min(225.0, stone * 1.3)
        colors[(beyond > edge - 0.3) & (beyond <= edge) & (labels == Id.ROAD)] *= 0.85
    return colors


def _wear(
    colors: Array, labels: NDArray[np.uint8], texture: Texture, x: Array, z: Array,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Patches, cracks, manholes and, on grass, tufts and fallen leaves."""
    blotch = texture.smooth(x + 31.0, z, 2.2)
    paved = (labels == Id.ROAD) | (labels == Id.SIDEWALK)
    colors[paved & (blotch > 0.42)] *= rng.uniform(0.8, 1.1)
    crack = np.abs(texture.smooth(x, z + 57.0, 3.1)) < 0.012
    colors[crack & paved & (z < 25)] *= 0.72
    tufts = (labels == Id.TERRAIN)[..., None] * texture.grain(x, z, 12)[..., None]
    colors += tufts * np.array([16, 22, 8], np.float32)
    for _ in range(rng.integers(0, 4)):
        u, w = rng.uniform(-6, 6), rng.uniform(4, 30)
        colors[(((x - u) / 0.35) ** 2 + ((z - w) / 0.35) ** 2 < 1) & (labels == Id.ROAD)] *= 0.6


def _markings(
    colors: Array, road: Mask, street: Street, x: Array, z: Array, texture: Texture,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    worn = texture.smooth(x, z, 14) < rng.uniform(0.25, 0.8)
    paint = road & worn & (z < 70)
    if street.junction_z is not None:
        paint = paint & ((z < street.junction_z) | (z > street.junction_z + JUNCTION_M))
    lane, width = street.lane_m, 0.07 + 0.0016 * z
    dashed = np.mod(z + rng.uniform(0, 9), 9.0) < 4.0
    middle = paint & (np.abs(x + lane / 2) < width)
    colors[middle & (dashed | (rng.random() < 0.3))] = rng.uniform(186, 232)
    for k in (-1.5, 0.5, 1.5):
        if -street.left_m + 1 < k * lane < street.right_m - 1:
            colors[paint & dashed & (np.abs(x - k * lane) < width)] = rng.uniform(186, 226)
    if rng.random() < 0.5:
        for side in (-1, 1):
            line = street.edge(side) - side * 0.35
            colors[paint & (np.abs(x - line) < width)] = 196
    if street.crossing_z is not None:
        stripes = (z > street.crossing_z) & (z < street.crossing_z + 3) & (np.mod(x, 1.0) < 0.5)
        colors[paint & stripes] = rng.uniform(200, 232)
    if street.rails:
        for rail in (-lane - 0.72, -lane + 0.72):
            colors[road & (np.abs(x - rail) < 0.06 + 0.001 * z)] = (86, 80, 78)


def _shade(street: Street, light: Light, x: Array, z: Array, rng: np.random.Generator) -> Array:
    """Factors: long shadows of the houses on the sunny side, dark patches under things."""
    shade = np.ones(x.shape, np.float32)
    if light.sun > 0.3:
        heights = rng.uniform(0.2, 1.0, int(FAR_M) // 7 + 2) * rng.uniform(0.3, 1.5)
        step = heights[np.minimum(z / 7, len(heights) - 1).astype(np.int32)]
        reach = street.edge(light.sun_side) - light.sun_side * step * 6.0
        shade[x * light.sun_side > reach * light.sun_side] = 1 - 0.5 * light.sun
    for thing in street.things:
        if thing.kind in ("building", "fence", "hedge", "wall") or thing.z > 60:
            continue
        half_x = thing.width_m * 0.62 + 0.1
        half_z = thing.length_m / 2 + 0.25
        near = np.flatnonzero(np.abs(z[:, 0] - thing.z - thing.length_m / 2) < half_z)
        if not len(near):
            continue
        rows = slice(int(near[0]), int(near[-1]) + 1)
        lean = -light.sun_side * light.sun * 0.4
        inside = ((x[rows] - thing.x - lean) / half_x) ** 2 + (
            (z[rows] - thing.z - thing.length_m / 2) / half_z) ** 2  # fmt: skip
        shade[rows] *= 1 - 0.62 * np.clip(1.6 * (1 - inside), 0, 1)
    return shade
