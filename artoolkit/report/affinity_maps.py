"""The paper's Figure 4 in numpy: label affinity and square-root affinity of an image's points.

Points are the loss's own by default, the centres of 12 x 12 and 6 x 6 cells, N = 180; what
`artoolkit.losses` computes with torch is here in numpy. Legend: N points, C classes, h w positions
of the scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artoolkit.labels import VOID
from artoolkit.losses.points import Points

Floats = NDArray[np.float64]
LabelPixels = NDArray[np.int64]


def center_pixels(size_hw: tuple[int, int], points: Points) -> LabelPixels:
    """N x 2 pixels (row, column) at the cell centres floor((2i + 1) H / 2n), grid after grid."""
    parts = []
    for n in points.sizes:
        rows, columns = ((2 * np.arange(n) + 1) * side // (2 * n) for side in size_hw)
        parts.append(np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2))
    return np.concatenate(parts).astype(np.int64)


def scores_at(
    scores_Chw: NDArray[np.floating], pixels_N2: LabelPixels, size_hw: tuple[int, int],
    points: Points,
) -> Floats:  # fmt: skip
    """N x C scores at pixels of an image of `size_hw`, read by 4 bilinear taps."""
    taps = []
    for axis in (0, 1):
        inner, outer = scores_Chw.shape[1 + axis], size_hw[axis]
        place = pixels_N2[:, axis].astype(np.float64)
        if points.align_corners:
            place *= (inner - 1) / max(outer - 1, 1)
        else:
            place = np.clip((place + 0.5) * inner / outer - 0.5, 0, inner - 1)
        low = np.minimum(place.astype(np.int64), inner - 1)
        taps.append((low, np.minimum(low + 1, inner - 1), place - low))
    (top, bottom, y), (left, right, x) = taps
    z = scores_Chw.astype(np.float64)
    upper = z[:, top, left] * (1 - x) + z[:, top, right] * x
    lower = z[:, bottom, left] * (1 - x) + z[:, bottom, right] * x
    return np.asarray((upper * (1 - y) + lower * y).T)


def sqrt_affinity(scores_NC: Floats) -> Floats:
    """N x N: sum over the classes of sqrt(p_i) sqrt(p_j), p the softmax of the scores."""
    shifted = scores_NC - scores_NC.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    roots = np.exp(0.5 * log_p)
    return np.asarray(roots @ roots.T)


def label_affinity(labels_HW: NDArray[np.uint8], pixels_N2: LabelPixels) -> Floats:
    """N x N: 1 where two points have the same label, 0 where not, NaN where one is void."""
    labels = labels_HW[pixels_N2[:, 0], pixels_N2[:, 1]]
    affinity: Floats = (labels[:, None] == labels[None]).astype(np.float64)
    void = labels == VOID
    affinity[void] = np.nan
    affinity[:, void] = np.nan
    return affinity
