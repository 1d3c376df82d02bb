"""Weather and daylight of a scene: what colors everything at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artoolkit.data.street.canvas import Rgb


@dataclass(frozen=True)
class Light:
    """`sun_side` is -1 (left) or 1 (right), `sun` 0 (overcast) to 1; gains multiply colors."""

    name: str
    sun_side: int
    sun: float
    gain: Rgb
    sky_top: Rgb
    sky_low: Rgb
    clouds: float
    visibility_m: float

    def of_wall(self, side: int) -> float:
        """Brightness of a facade on the street's `side`, which faces the other one."""
        return 1.0 + self.sun * (0.18 if side != self.sun_side else -0.34)


def random_light(rng: np.random.Generator) -> Light:
    """Sunny, overcast, hazy or dusk; each with its own spread."""
    side = int(rng.choice([-1, 1]))
    shift = rng.uniform(-10, 10, 3)
    kind = rng.choice(["sunny", "overcast", "hazy", "dusk"], p=[0.4, 0.35, 0.15, 0.1])

    def near(*color: float) -> Rgb:
        red, green, blue = (float(c + s) for c, s in zip(color, shift, strict=True))
        return red, green, blue

    if kind == "sunny":
        return Light(kind, side, rng.uniform(0.6, 1.0), (1.06, 1.0, 0.93), near(88, 132, 190),
                     near(190, 208, 225), rng.uniform(0.0, 0.7), rng.uniform(250, 500))  # fmt: skip
    if kind == "overcast":
        return Light(kind, side, rng.uniform(0.0, 0.2), (0.94, 0.97, 1.0), near(178, 184, 192),
                     near(214, 216, 218), rng.uniform(0.3, 1.0), rng.uniform(150, 350))  # fmt: skip
    if kind == "hazy":
        return Light(kind, side, rng.uniform(0.1, 0.4), (1.0, 1.0, 0.98), near(196, 200, 202),
                     near(226, 226, 222), rng.uniform(0.0, 0.3), rng.uniform(60, 130))  # fmt: skip
    return Light(kind, side, rng.uniform(0.2, 0.6), (0.95, 0.8, 0.74), near(92, 100, 138),
                 near(214, 168, 132), rng.uniform(0.2, 0.8), rng.uniform(150, 300))  # fmt: skip
