"""Layout of the street: its cross-section and the list of things along it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Kind = Literal[
    "building", "wall", "fence", "hedge", "tree", "pole", "lamp", "light", "sign", "person",
    "rider", "bicycle", "motorcycle", "car", "truck", "bus", "train", "bin",
]  # fmt: skip
Block = Literal["building", "house", "park"]


@dataclass(frozen=True)
class Thing:
    """Something at x, z (its nearest point), `length_m` deep, `side` -1 left or 1 right."""

    kind: Kind
    x: float
    z: float
    side: int
    length_m: float = 0.5
    width_m: float = 0.5
    oncoming: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Street:
    """Widths in metres; x = 0 is the camera's lane. `blocks` say what lies behind the pavement."""

    left_m: float
    right_m: float
    pavement_m: tuple[float, float]
    verge_m: tuple[float, float]
    lane_m: float
    crossing_z: float | None
    junction_z: float | None
    rails: bool
    blocks: tuple[tuple[float, float, int, Block], ...] = ()
    things: tuple[Thing, ...] = field(default=())

    def edge(self, side: int) -> float:
        """x of the kerb on that side."""
        return -self.left_m if side < 0 else self.right_m

    def front(self, side: int) -> float:
        """x of the line where fronts begin."""
        i = 0 if side < 0 else 1
        return self.edge(side) + side * (self.pavement_m[i] + self.verge_m[i])


FAR_M = 110.0
JUNCTION_M = 12.0


def random_street(rng: np.random.Generator) -> Street:
    """A street of one or two lanes each way, then everything on it."""
    lane = rng.uniform(2.9, 3.6)
    own, other = rng.integers(1, 3), rng.integers(1, 3)
    verge = tuple(float(v) for v in rng.choice([0.0, 0.0, rng.uniform(1.0, 2.5)], 2))
    street = Street(
        left_m=lane * (other + 0.5) + rng.uniform(0, 2.2),
        right_m=lane * (own - 0.5) + rng.uniform(0, 2.2),
        pavement_m=(rng.uniform(1.8, 5.0), rng.uniform(1.8, 5.0)),
        verge_m=(verge[0], verge[1]),
        lane_m=lane,
        crossing_z=float(rng.uniform(9, 30)) if rng.random() < 0.35 else None,
        junction_z=float(rng.uniform(22, 60)) if rng.random() < 0.4 else None,
        rails=bool(rng.random() < 0.3),
    )
    blocks = tuple(b for side in (-1, 1) for b in _blocks(street, side, rng))
    things = [t for b in blocks for t in _fronts(street, b, rng)]
    things += [t for side in (-1, 1) for t in _pavement(street, side, rng)]
    things += _traffic(street, rng)
    return _with(street, blocks, things)


def _with(street: Street, blocks: tuple[tuple[float, float, int, Block], ...],
          things: list[Thing]) -> Street:  # fmt: skip
    values = {name: getattr(street, name) for name in street.__dataclass_fields__}
    return Street(**(values | {"blocks": blocks, "things": tuple(things)}))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 31))


def _blocks(
    street: Street, side: int, rng: np.random.Generator
) -> list[tuple[float, float, int, Block]]:
    kinds: list[Block] = ["building", "house", "park"]
    mostly = rng.choice(3, p=[0.55, 0.25, 0.2])
    found: list[tuple[float, float, int, Block]] = []
    z = rng.uniform(-12, 0)
    while z < FAR_M:
        end = z + rng.uniform(9, 24)
        junction = street.junction_z
        if junction is not None and z < junction + JUNCTION_M and end > junction:
            end = junction
        if end - z > 2:
            kind = kinds[int(mostly if rng.random() < 0.75 else rng.integers(3))]
            found.append((z, end, side, kind))
        z = end
        if junction is not None and z == junction:
            z = junction + JUNCTION_M
        elif rng.random() < 0.15:
            z += rng.uniform(2, 6)
    return found


def _fronts(
    street: Street, block: tuple[float, float, int, Block], rng: np.random.Generator
) -> list[Thing]:
    start, end, side, kind = block
    front = street.front(side)
    if kind == "building":
        x = front + side * rng.uniform(0, 0.8)
        return [Thing("building", x, start, side, end - start, seed=_seed(rng))]
    found = []
    if kind == "house":
        x = front + side * rng.uniform(3, 7)
        found.append(Thing("building", x, start + 1, side, end - start - 2, 1.0, seed=_seed(rng)))
    barrier = rng.choice(["wall", "fence", "hedge", "none"], p=[0.3, 0.35, 0.2, 0.15])
    if barrier != "none":
        found.append(Thing(barrier, front, start, side, end - start, seed=_seed(rng)))
    trees = rng.poisson((end - start) / (6 if kind == "park" else 14))
    back = 12.0 if kind == "park" else 4.0
    for _ in range(trees):
        x = front + side * rng.uniform(1.5, back)
        found.append(Thing("tree", x, rng.uniform(start, end), side, seed=_seed(rng)))
    return found


def _pavement(street: Street, side: int, rng: np.random.Generator) -> list[Thing]:
    """Along the kerb: trees or lamps at a regular pitch, signs, lights, clutter, people."""
    kerb, width = street.edge(side), street.pavement_m[0 if side < 0 else 1]
    found = []
    pitch, at = rng.uniform(14, 26), kerb + side * 0.5
    planted = rng.random() < 0.4
    for z in np.arange(rng.uniform(3, 14), FAR_M, pitch):
        found.append(Thing("lamp", at, float(z), side, seed=_seed(rng)))
        if planted:
            found.append(Thing("tree", at, float(z + pitch / 2), side, width_m=0.7,
                               seed=_seed(rng)))  # fmt: skip
    kinds: list[Kind] = ["sign", "sign", "sign", "pole", "pole", "bin", "bicycle", "bicycle"]
    for _ in range(rng.integers(3, 8)):
        kind = kinds[int(rng.integers(len(kinds)))]
        found.append(Thing(kind, at + side * rng.uniform(-0.1, 0.3), _depth(rng, 6, 60), side,
                           seed=_seed(rng)))  # fmt: skip
    stop = street.crossing_z or street.junction_z
    if stop is not None:
        found.append(Thing("light", at, stop - 1.0, side, seed=_seed(rng)))
    for _ in range(rng.poisson(3.2)):
        x = kerb + side * rng.uniform(0.7, max(0.8, width))
        found.append(Thing("person", x, _depth(rng, 5, 55), side, seed=_seed(rng)))
    return found


def _depth(rng: np.random.Generator, low: float, high: float) -> float:
    """Evenly spread in the picture more than on the ground: near things matter more."""
    return float(low * (high / low) ** rng.random())


_VEHICLES: dict[Kind, tuple[float, float]] = {  # length, width in metres
    "car": (4.3, 1.8), "truck": (8.5, 2.5), "bus": (11.5, 2.5), "train": (26.0, 2.5),
    "rider": (1.7, 0.5), "motorcycle": (2.0, 0.6),
}  # fmt: skip
_TRAFFIC: tuple[Kind, ...] = ("car", "truck", "bus", "rider", "motorcycle")
_SHARES = (0.62, 0.1, 0.09, 0.12, 0.07)


def _traffic(street: Street, rng: np.random.Generator) -> list[Thing]:
    found = _parked(street, rng)
    lanes = [(0.0, False), (-street.lane_m, True)]
    lanes += [(-2 * street.lane_m, True)] if street.left_m > 2.6 * street.lane_m else []
    lanes += [(street.lane_m, False)] if street.right_m > 1.6 * street.lane_m else []
    for x, oncoming in lanes:
        z = _depth(rng, 8, 60)
        while z < 75:
            kind = _TRAFFIC[int(rng.choice(len(_TRAFFIC), p=_SHARES))]
            length, width = _VEHICLES[kind]
            found.append(Thing(kind, x + rng.uniform(-0.4, 0.4), z, -1 if oncoming else 1,
                               length, width, oncoming, _seed(rng)))  # fmt: skip
            z += length + rng.uniform(4, 45)
    if street.rails and rng.random() < 0.6:
        length, width = _VEHICLES["train"]
        found = [t for t in found if abs(t.x + street.lane_m) > 1.7]
        found.append(Thing("train", -street.lane_m, _depth(rng, 10, 45), -1, length, width, True,
                           _seed(rng)))  # fmt: skip
    if street.crossing_z is not None:
        for _ in range(rng.poisson(1.8)):
            x = rng.uniform(-street.left_m, street.right_m)
            z = street.crossing_z + rng.uniform(0.3, 2.5)
            found = [t for t in found if abs(t.x - x) > 1.6 or not z - 1 < t.z + t.length_m < z + 9]
            found.append(Thing("person", x, z, 1, seed=_seed(rng)))
    return found


def _parked(street: Street, rng: np.random.Generator) -> list[Thing]:
    found = []
    for side in (-1, 1):
        beside = (abs(street.edge(side)) - street.lane_m / 2) % street.lane_m
        room = 0.0 if beside > 2.3 else beside  # what the lanes leave over
        if rng.random() < (0.7 if room < 1.0 else 0.35):
            continue
        z = rng.uniform(5, 22)
        while z < 60:
            kind: Kind = "motorcycle" if rng.random() < 0.08 else "car"
            length, width = _VEHICLES[kind]
            x = street.edge(side) - side * (width / 2 + 0.15)
            found.append(Thing(kind, x, z, side, length, width, side < 0, _seed(rng)))
            z += length + (rng.uniform(0.8, 2) if rng.random() < 0.6 else rng.uniform(8, 25))
    return found
