"""Trimap mIoU: how well the pixels near a class border are labelled, and those away from it.

A labelled pixel is in the band of radius r if a labelled pixel of another class lies in the square
of side 2r + 1 around it; void makes no border. mIoU is then taken over the band alone, or over the
rest (the interior), by the rules of `artoolkit.metrics`.

Source: Kohli, Ladicky and Torr, Robust Higher Order Potentials for Enforcing Label Consistency,
IJCV 2009, section 6 (the trimap); the radius as a share of the image's diagonal is that of Cheng
et al., Boundary IoU, CVPR 2021, who take 0.5 % on Cityscapes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from artoolkit.labels import VOID

SHARE_OF_DIAGONAL = 0.005

Labels = NDArray[np.uint8]


def band_radius(size_hw: tuple[int, int]) -> int:
    """0.5 % of the diagonal in pixels, at least 1: 3 at 360 x 480, 11 at 1024 x 2048."""
    return max(1, round(SHARE_OF_DIAGONAL * math.hypot(*size_hw)))


def boundary_band(labels: Labels, radius: int, *, ignore_index: int = VOID) -> NDArray[np.bool_]:
    """Mask of the pixels in the band of a uint8 train-id map H x W. bool H x W.

    Raises `ValueError` for a radius below 1 or an array of another shape.
    """
    if radius < 1 or labels.ndim != 2:
        raise ValueError(f"expected labels H x W and a radius of 1 or more, got {labels.shape}, "
                         f"{radius}")  # fmt: skip
    # Ids from 1 on, so that 0 can stand for void in both: what is not there bounds nothing.
    ids = labels.astype(np.uint16) + 1
    void = labels == ignore_index
    largest = _largest_around(np.where(void, 0, ids), radius)
    smallest = 257 - _largest_around(np.where(void, 0, 257 - ids), radius)
    band: NDArray[np.bool_] = (largest != smallest) & ~void
    return band


def _largest_around(values: NDArray[np.uint16], radius: int) -> NDArray[np.uint16]:
    """The maximum over the square around each pixel, by doubling widths along each axis."""
    width = 2 * radius + 1
    for _ in range(2):
        padded = np.pad(values.T, ((radius, radius), (0, 0)))
        done = 1
        while done < width:
            step = min(done, width - done)
            padded = np.maximum(padded[:-step], padded[step:])
            done += step
        values = padded
    return values


def boundary_and_interior(
    labels: Labels, radius: int | None = None, *, ignore_index: int = VOID
) -> tuple[Labels, Labels]:
    """The labels with everything but the band void, and with the band void; uint8 H x W each.

    `radius` is in pixels, `band_radius` of the map's size by default.
    """
    chosen = band_radius((labels.shape[0], labels.shape[1])) if radius is None else radius
    band = boundary_band(labels, chosen, ignore_index=ignore_index)
    nothing = np.uint8(ignore_index)
    return np.where(band, labels, nothing), np.where(band, nothing, labels)
