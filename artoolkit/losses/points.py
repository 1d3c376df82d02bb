"""The points of the affinity-regression loss in one record, checked once. No torch.

Everything that takes points takes a `Points`: the loss, the objective, recipes, the command line
and the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from artoolkit.words import GRIDS, Grid


@dataclass(frozen=True, kw_only=True)
class Points:
    """Label pixels whose pairs are compared, and how scores are read there.

    grid: `center` (middle of each of n x n cells, for every n of `sizes`), `paper` (first pixel of
        each cell: the nearest-neighbour down-sampling of the paper), `jitter` (a random pixel of
        each cell, another one at every call, from `generator` or torch's global one), `all` (every
        `stride`-th label pixel in both directions, from stride // 2 on).
    sizes: cells along each side of the grids `center`, `paper` and `jitter`; published: 12 and 6.
    stride: for `all` only, in label pixels. By default H / h, rounded: the network's output stride.
    include_self: whether the pairs i = i count; they are 0, so that they only scale.
    align_corners: that of the network's own upsampling to the label's size.
    ignore_index: the label that means void; a pair with a void member does not count.
    generator: a `torch.Generator` for `jitter`.

    Raises `ValueError` for values that name no points.
    """

    grid: Grid = "center"
    sizes: tuple[int, ...] = (12, 6)
    stride: int | None = None
    include_self: bool = True
    align_corners: bool = False
    ignore_index: int = 255
    generator: Any = None

    def __post_init__(self) -> None:
        if self.grid not in GRIDS:
            raise ValueError(f"grid: got {self.grid!r}; expected one of {', '.join(GRIDS)}")
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if not self.sizes or any(not isinstance(n, int) or n < 1 for n in self.sizes):
            raise ValueError(
                f"sizes: got {self.sizes!r}; expected one or more integers of at least 1"
            )
        if self.stride is not None and self.grid != "all":
            raise ValueError(
                f"stride: got {self.stride} with grid {self.grid!r}; it belongs to the grid 'all'"
            )
        if self.stride is not None and (not isinstance(self.stride, int) or self.stride < 1):
            raise ValueError(f"stride: got {self.stride!r}; expected an integer of at least 1")
