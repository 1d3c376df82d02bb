"""How much the sparse head computed, which its latency depends on (`deploy/sparse_head.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.errors import MissingLibraryError
from artoolkit.evidence.bundle import Bundle


def disagreeing_share(scores: NDArray[np.floating[Any]]) -> float:
    """The share of cells of N x C x h x w scores that the sparse head has to compute: 0 to 1.

    A cell lies between four neighbouring positions and is computed unless all four have the same
    best class.
    """
    best = scores.argmax(1)
    upper, lower = best[:, :-1], best[:, 1:]
    same = (upper == lower)[:, :, 1:] & (upper == lower)[:, :, :-1]
    same &= upper[:, :, 1:] == upper[:, :, :-1]
    return float(1 - same.mean())


def computed_share(bundle: Bundle, batches: Sequence[NDArray[np.uint8]]) -> float:
    """The mean share over uint8 N x H x W x 3. Raises `MissingLibraryError` without onnx."""
    with open_onnxruntime(bundle.model, outputs=("scores",), threads=1) as runner:
        return float(np.mean([disagreeing_share(runner.infer(b)["scores"]) for b in batches]))


def limits_of_latency(
    baseline: Bundle, candidate: Bundle, batches: Sequence[NDArray[np.uint8]]
) -> str:
    """What a latency is worth whose work depends on the images, and on the weights."""
    try:
        shares = "{:.1f} % (baseline) and {:.1f} % (candidate)".format(
            *(100 * computed_share(bundle, batches) for bundle in (baseline, candidate))
        )
    except MissingLibraryError:
        shares = "a share that is not known without onnx"
    return (
        "the sparse head's time depends on the image: this holds for these images only, of whose "
        f"cells it computed {shares}; of noise it computes all"
    )
