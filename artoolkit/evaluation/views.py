"""How an evaluation looks at an image: scales, mirrored or not, whole or in sliding windows.

`checkpoint_predictor.py` carries it out. Sizes in pixels, height before width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

SizeHW = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Views:
    """How often and in what pieces a network looks at an image.

    `scales` resize the image first; `flip` adds the mirrored image at each. With `window` (height,
    width) the network sees windows of that size only, `stride` pixels apart (two thirds of the
    window by default, PSPNet's third of overlap). `ValueError` for values that leave pixels out.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: SizeHW | None = None
    stride: SizeHW | None = None

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be positive, got {self.scales}")
        if self.window is None:
            if self.stride is not None:
                raise ValueError("a window stride belongs to a window")
            return
        if min(self.window) < 1 or any(
            not 0 < step <= side for step, side in zip(self.steps, self.window, strict=True)
        ):
            raise ValueError(
                f"a window of {self.window} every {self.steps} pixels leaves pixels out"
            )

    @property
    def steps(self) -> SizeHW:
        """Rows and columns from one window to the next."""
        assert self.window is not None, "only asked for with a window"
        rows, columns = (math.ceil(2 * side / 3) for side in self.window)
        return self.stride or (rows, columns)


def window_starts(size: int, window: int, step: int) -> Iterator[int]:
    """Where windows start, `step` apart; the last one ends where the image does."""
    count = math.ceil(max(size - window, 0) / step) + 1
    return (min(index * step, max(size - window, 0)) for index in range(count))
