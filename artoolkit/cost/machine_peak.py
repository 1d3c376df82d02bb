"""Peak of this machine: multiply-adds a second as a backend reaches them, and copied bytes.

Read `roofline.py` for what they are compared with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from artoolkit.backends.backend import Backend
from artoolkit.spec import Frozen
from artoolkit.words import Precision

# Large enough to leave every cache, small enough for a small machine.
_COPY_BYTES = 64 * 2**20


class MachinePeak(Frozen):
    """The best of several tries: multiply-adds a second by precision, and copied bytes."""

    macs_per_s: dict[Precision, float]
    bytes_per_s: float
    threads: int


def machine_peak(backend: Backend, threads: int) -> MachinePeak:
    """Measure all, in a few seconds; errors as `Backend.peaks`."""
    return MachinePeak(
        macs_per_s=backend.peaks(threads), bytes_per_s=copy_bandwidth(threads), threads=threads
    )


def copy_bandwidth(threads: int, *, tries: int = 7) -> float:
    """Bytes a second, read and written, of the fastest copy by so many threads at once."""
    pairs = [
        (np.ones(_COPY_BYTES // threads, np.uint8), np.empty(_COPY_BYTES // threads, np.uint8))
        for _ in range(threads)
    ]
    with ThreadPoolExecutor(threads) as pool:
        seconds = fastest(lambda: list(pool.map(lambda p: np.copyto(p[1], p[0]), pairs)), tries)
    return 2 * sum(source.nbytes for source, _ in pairs) / seconds


def fastest(call: Callable[[], Any], tries: int) -> float:
    """The shortest of `tries` calls in seconds, after one more to warm up."""
    call()
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
