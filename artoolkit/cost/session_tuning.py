"""ONNX Runtime's session options chosen by measurement, on the CPU that will run the bundle.

One option after another: the values of an option are timed in turns, in one process, on the same
images, and the fastest stays for the next option. ONNX Runtime's own default stays unless another
value is faster by more than the noise that a median of a few runs has. All that was measured is
kept, with the machine: on another one the choice may not be the best, but it is never a guess.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.cores import usable_cores
from artoolkit.cost.latency import time_block
from artoolkit.evidence.records import Environment, current_environment
from artoolkit.spec import Frozen, SessionOptions

Progress = Callable[[str, float], None]
# A change must be faster by this share; below it ONNX Runtime's default stays.
LEAST_GAIN = 0.02
_ROUNDS = 5


class Tried(Frozen):
    """Options and the milliseconds of their runs, in the order in which they were timed."""

    options: SessionOptions
    milliseconds: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return median(self.milliseconds)


class SessionTuning(Frozen):
    """The options that were chosen, all that were tried, and where."""

    chosen: SessionOptions
    least_gain: float
    tried: tuple[tuple[Tried, ...], ...]
    environment: Environment


def tuned_session(
    model: Path,
    images: NDArray[np.uint8],
    *,
    threads: int | None = None,
    rounds: int = _ROUNDS,
    progress: Progress = lambda what, share: None,
) -> SessionTuning:
    """Measure threads, spinning, arena and memory pattern with `images`, as `model` takes them.

    `threads`: not measured but given. Raises `BackendError` where the model cannot be opened.
    """
    counts = (threads,) if threads else thread_counts(usable_cores())
    best = SessionOptions()
    stages: tuple[tuple[str, Sequence[object]], ...] = (
        ("threads", counts),
        ("spinning", (True, False)),
        ("cpu_arena", (True, False)),
        ("memory_pattern", (True, False)),
    )
    tried = []
    for done, (name, values) in enumerate(stages):
        progress("session options", done / len(stages))
        options = [best.model_copy(update={name: value}) for value in values]
        stage = _timed(model, images, options, rounds) if len(options) > 1 else ()
        best = fastest(stage) if stage else options[0]
        tried.append(stage)
    return SessionTuning(
        chosen=best,
        least_gain=LEAST_GAIN,
        tried=tuple(stage for stage in tried if stage),
        environment=current_environment(),
    )


def thread_counts(cores: int) -> tuple[int | None, ...]:
    """Every core first (None, on any machine), then half of these, a quarter and so on to one."""
    fewer = []
    while cores > 1:
        cores //= 2
        fewer.append(cores)
    return (None, *fewer)


def fastest(tried: Sequence[Tried]) -> SessionOptions:
    """The options with the least median; the first ones unless it gains `LEAST_GAIN` on them."""
    default, best = tried[0], min(tried, key=lambda one: one.median_ms)
    gains = best.median_ms < (1 - LEAST_GAIN) * default.median_ms
    return best.options if gains else default.options


def _timed(
    model: Path, images: NDArray[np.uint8], options: Sequence[SessionOptions], rounds: int
) -> tuple[Tried, ...]:
    """Each in turn, `rounds` times after one to warm up, every other time in reverse.

    A turn begins with an inference that is not timed: threads of the one before may still spin.
    """
    with ExitStack() as stack:
        runners = [stack.enter_context(open_onnxruntime(model, chosen=one)) for one in options]
        samples: list[list[float]] = [[] for _ in options]
        for index in range(rounds + 1):
            order = range(len(options)) if index % 2 else reversed(range(len(options)))
            for which in order:
                _, elapsed_ms = time_block(runners[which], [images], 2, clock=time.perf_counter)
                if index:
                    samples[which].append(elapsed_ms)
    return tuple(
        Tried(options=one, milliseconds=tuple(values))
        for one, values in zip(options, samples, strict=True)
    )
